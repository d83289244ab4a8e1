// Small files of a folder, each written whole and durably, or appended to. Behind the stores of certificates and rollouts.
// Called on one thread. It knows nothing of what is in them.

import CLinux

/// Files by name. Without a folder nothing is kept.
struct KeptFiles {
    private static let temporaryName = "new"
    let disk: any JournalDisk
    let bytesMax: Int

    init(_ disk: any JournalDisk, bytesMax: Int = 16 << 20) {
        self.disk = disk
        self.bytesMax = bytesMax
    }

    private func failure(_ call: String, _ name: String, _ result: Int) -> JournalFailure {
        JournalFailure(.writing, "\(call) \"\(disk.folder)/\(name)\" failed (\(errnoWords(Int32(-result))))")
    }

    private func writeAll(_ file: Int32, at offset: Int, _ bytes: [UInt8]) -> Int {
        bytes.withUnsafeBytes { all in
            var done = 0
            while done < all.count {
                let n = disk.write(file, at: offset + done, UnsafeRawBufferPointer(rebasing: all[done...]))
                if n <= 0 { return n < 0 ? n : -Int(EIO) }
                done += n
            }
            return 0
        }
    }

    /// Returns when the file durably has these bytes and no others; when this throws it has those it had.
    func replace(_ name: String, with bytes: [UInt8]) throws(JournalFailure) {
        let file = disk.open(Self.temporaryName, .empty)
        if file < 0 { throw failure("open()", Self.temporaryName, Int(file)) }
        var result = writeAll(file, at: 0, bytes)
        var call = "write()"
        if result == 0 { (call, result) = ("fdatasync()", Int(disk.sync(file))) }
        disk.close(file)
        if result == 0 { (call, result) = ("rename()", Int(disk.rename(Self.temporaryName, to: name))) }
        if result == 0 { (call, result) = ("fsync()", Int(disk.syncFolder())) }
        if result == 0 { return }
        _ = disk.remove(Self.temporaryName)
        throw failure(call, Self.temporaryName, result)
    }

    /// Adds to the end of a file that is there. A power loss may take it back.
    func append(_ name: String, _ bytes: [UInt8]) throws(JournalFailure) {
        let file = disk.open(name, .existing)
        if file < 0 { throw failure("open()", name, Int(file)) }
        defer { disk.close(file) }
        let size = disk.size(file)
        let result = size < 0 ? size : writeAll(file, at: size, bytes)
        if result < 0 {
            if size >= 0 { _ = disk.truncate(file, to: size) }
            throw failure("write()", name, result)
        }
    }

    /// Nil: there is none, or it cannot be read.
    func read(_ name: String) -> [UInt8]? { if case .bytes(let bytes) = find(name) { bytes } else { nil } }

    enum Found {
        case nothing
        case bytes([UInt8])
        /// Why it cannot be read.
        case unreadable(String)
    }

    func find(_ name: String) -> Found {
        let file = disk.open(name, .existing)
        if file == -ENOENT { return .nothing }
        if file < 0 { return .unreadable(errnoWords(-file)) }
        defer { disk.close(file) }
        let size = disk.size(file)
        if size <= 0 || size > bytesMax { return .unreadable("it has \(size) bytes") }
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size {
                let n = disk.read(file, at: count, into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[count..<size]))
                if n <= 0 { return }
                count += n
            }
        }
        return bytes.count == size ? .bytes(bytes) : .unreadable("it ends before its \(size) bytes")
    }

    /// Out of the way of the next that is written under this name.
    /// - Returns: the name it has then; nil: it could not be done.
    func setAside(_ name: String) -> String? { disk.rename(name, to: name + ".damaged") < 0 ? nil : name + ".damaged" }

    func remove(_ name: String) { _ = disk.remove(name) }
}
