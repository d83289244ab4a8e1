// The file calls of the simulated kernel: they check the descriptor, draw the faults and leave the rest to the file system.
// Called by the engine under test through `Kernel`.

import CLinux
import Engine

extension SimulatedKernel {
    private var nowSeconds: Int64 { (Int64(world.nowNs) + world.wallOffsetNs) / 1_000_000_000 }

    package func open(_ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32) -> Int32 {
        begin()
        let name = String(cString: path)
        if isOutOfDescriptors { return end("open", Int(flags), 0, -EMFILE) }
        let result = world.files.open(name, flags: flags, permissions: mode & 0o777, nowSeconds: nowSeconds)
        guard let file = result.file else { return end("open", Int(flags), 0, result.error) }
        return end("open", Int(flags), 0, install(.file(file)))
    }

    package func duplicate(_ fd: Int32) -> Int32 {
        begin()
        guard let file = openFile(fd) else { return end("duplicate", Int(fd), 0, -EBADF) }
        if isOutOfDescriptors { return end("duplicate", Int(fd), 0, -EMFILE) }
        return end("duplicate", Int(fd), 0, install(.file(world.files.again(file))))
    }

    package func fileFacts(_ fd: Int32, _ facts: inout FileFacts) -> Int32 {
        begin()
        guard let file = openFile(fd) else { return end("fileFacts", Int(fd), 0, -EBADF) }
        facts.size = Int64(file.node.bytes.count)
        facts.modifiedSeconds = file.node.modifiedSeconds
        facts.mode = file.node.mode
        return end("fileFacts", Int(fd), 0, 0 as Int32)
    }

    package func write(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int) -> Int {
        begin()
        guard let file = openFile(fd) else { return end("write", Int(fd), count, Int(-EBADF)) }
        let offset = file.flags & O_APPEND != 0 ? file.node.bytes.count : file.position
        let written = put(file, buffer, count, offset)
        if written > 0 { file.position = offset + written }
        return end("write", Int(fd), count, written)
    }

    package func readAt(_ fd: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int, offset: Int64) -> Int {
        begin()
        guard let file = openFile(fd) else { return end("readAt", Int(fd), count, Int(-EBADF)) }
        if world.dice.chance(world.faults.ioError) { return end("readAt", Int(fd), count, Int(-EIO)) }
        let result = world.files.read(file, offset: Int(offset), count) { bytes in
            if let base = bytes.baseAddress { buffer.copyMemory(from: base, byteCount: bytes.count) }
            return bytes.count
        }
        return end("readAt", Int(fd), count, result)
    }

    package func writeAt(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int, offset: Int64) -> Int {
        begin()
        guard let file = openFile(fd) else { return end("writeAt", Int(fd), count, Int(-EBADF)) }
        // Linux appends even here when the file was opened with O_APPEND (pwrite(2), BUGS).
        let at = file.flags & O_APPEND != 0 ? file.node.bytes.count : Int(offset)
        return end("writeAt", Int(fd), count, at < 0 ? Int(-EINVAL) : put(file, buffer, count, at))
    }

    private func put(_ file: FileSystem.OpenFile, _ buffer: UnsafeRawPointer, _ count: Int, _ offset: Int) -> Int {
        if world.dice.chance(world.faults.noSpace) { return Int(-ENOSPC) }
        if world.dice.chance(world.faults.ioError) { return Int(-EIO) }
        return world.files.write(file, buffer, count, offset: offset, nowSeconds: nowSeconds)
    }

    package func unlink(_ path: UnsafePointer<CChar>) -> Int32 {
        begin()
        return end("unlink", 0, 0, world.files.unlink(String(cString: path)))
    }
}
