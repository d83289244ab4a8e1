// Files of the simulated kernel beside Linux's, and the faults that Linux shows too seldom.

import CLinux
import Engine
import Simulation
import Testing

@Suite struct FileTests {
    @Test func filesAnswerAsLinuxDoes() {
        let directory = "/tmp/switchback-files-\(getpid())"
        mkdir(directory, 0o755)
        mkdir(directory + "/sub", 0o755)
        defer {
            rmdir(directory + "/sub")
            rmdir(directory)
        }
        let expected = script(RealKernel(), directory)
        let world = World(seed: 1)
        world.files.makeDirectory(directory + "/sub")
        let actual = script(world.kernel, directory)
        #expect(actual == expected, "\(differences(actual, expected))")
        #expect(world.kernel.openDescriptors == 0)
        #expect(world.files.usedBytes == 0)
    }

    private func script(_ kernel: any Kernel, _ directory: String) -> [String] {
        let p = Probe(kernel, listenAt: .loopback(0))
        func open(_ name: String, _ path: String, _ flags: Int32, _ mode: UInt32 = 0o644) {
            p.keep(name, kernel.open(directory + path, flags: flags, mode: mode))
        }
        func write(_ name: String, _ text: String) {
            p.say("write \(name) \(p.word(kernel.write(p.fd(name), text, text.utf8.count)))")
        }
        func read(_ name: String, _ count: Int, _ offset: Int64) {
            var memory = [UInt8](repeating: 0, count: count)
            let result = kernel.readAt(p.fd(name), &memory, count, offset: offset)
            p.say("read \(name) \(p.word(result)) '\(String(decoding: memory.prefix(max(0, result)), as: UTF8.self))'")
        }
        func facts(_ name: String) {
            var facts = FileFacts()
            let result = kernel.fileFacts(p.fd(name), &facts)
            let size = facts.mode & UInt32(S_IFMT) == UInt32(S_IFREG) ? facts.size : 0
            p.say("facts \(name) \(p.word(Int(result))) \(size) \(String(facts.mode, radix: 8))")
        }
        func unlink(_ path: String) { p.say("unlink \(path) \(p.word(Int(kernel.unlink(directory + path))))") }

        open("missing", "/missing", O_RDONLY)
        open("missing directory", "/missing/file", O_RDWR | O_CREAT)
        open("log", "/log", O_WRONLY | O_CREAT | O_APPEND)
        write("log", "one ")
        write("log", "two ")
        facts("log")
        read("log", 10, 0)
        open("reader", "/log", O_RDONLY)
        write("reader", "x")
        read("reader", 100, 0)
        read("reader", 3, 4)
        read("reader", 3, 8)
        read("reader", 3, 100)
        p.say("writeAt with append \(p.word(kernel.writeAt(p.fd("log"), "three", 5, offset: 0)))")
        read("reader", 100, 0)
        open("exclusive", "/log", O_RDWR | O_CREAT | O_EXCL)
        open("new", "/new", O_RDWR | O_CREAT | O_EXCL, 0o600)
        p.say("writeAt \(p.word(kernel.writeAt(p.fd("new"), "abc", 3, offset: 4)))")
        write("new", "12")
        write("new", "3")
        read("new", 100, 0)
        facts("new")
        open("truncated", "/new", O_WRONLY | O_TRUNC)
        facts("truncated")
        read("new", 100, 0)
        open("directory", "/sub", O_RDONLY)
        facts("directory")
        read("directory", 1, 0)
        open("directory to write", "/sub", O_WRONLY)
        open("directory with a slash", "/sub/", O_RDONLY)
        open("file as a directory", "/log", O_RDONLY | O_DIRECTORY)
        open("under a file", "/log/x", O_RDONLY)
        open("temporary", "/sub", 0o20_000_000 | O_DIRECTORY | O_RDWR, 0o600)
        write("temporary", "temporary")
        read("temporary", 100, 0)
        p.watch("log")
        unlink("/log")
        unlink("/log")
        unlink("/new")
        unlink("/sub")
        read("reader", 100, 0)

        p.pair()
        var offset: Int64 = 4
        p.say("sendFile \(p.word(kernel.sendFile(p.fd("a"), file: p.fd("reader"), offset: &offset, 6))) \(offset)")
        p.say("sendFile \(p.word(kernel.sendFile(p.fd("a"), file: p.fd("reader"), offset: &offset, 600))) \(offset)")
        p.say("sendFile \(p.word(kernel.sendFile(p.fd("a"), file: p.fd("reader"), offset: &offset, 600))) \(offset)")
        p.receive("b")
        return p.finish()
    }

    @Test func aFullDiskTakesWhatFits() {
        let world = World(seed: 1)
        world.files.bytesMax = 10
        let kernel = world.kernel
        let fd = kernel.open("/tmp/log", flags: O_WRONLY | O_CREAT | O_APPEND, mode: 0o644)
        #expect(kernel.write(fd, "12345678", 8) == 8)
        #expect(kernel.write(fd, "12345678", 8) == 2)
        #expect(kernel.write(fd, "12345678", 8) == Int(-ENOSPC))
        #expect(world.files.text("/tmp/log") == "1234567812")
        _ = kernel.unlink("/tmp/log")
        #expect(world.files.usedBytes == 10)
        kernel.close(fd)
        #expect(world.files.usedBytes == 0)
    }

    @Test func faultsComeAsPlanned() {
        let world = World(seed: 1)
        let kernel = world.kernel
        world.files.put("/srv/page", "hello")
        let fd = kernel.open("/srv/page", flags: O_RDWR, mode: 0)
        world.faults.ioError = 1
        var byte: UInt8 = 0
        #expect(kernel.readAt(fd, &byte, 1, offset: 0) == Int(-EIO))
        world.faults.noSpace = 1
        #expect(kernel.write(fd, "x", 1) == Int(-ENOSPC))
        world.faults.noDescriptor = 1
        #expect(kernel.open("/srv/page", flags: O_RDONLY, mode: 0) == -EMFILE)
        #expect(kernel.socket(family: AF_INET, type: Int32(SOCK_STREAM.rawValue)) == -EMFILE)
        world.faults = FaultPlan()
        kernel.descriptorsMax = 1
        #expect(kernel.eventCreate() == -EMFILE)
        kernel.close(fd)
        kernel.close(fd)
        #expect(kernel.closedTwice == 1 && kernel.openDescriptors == 0)
    }
}
