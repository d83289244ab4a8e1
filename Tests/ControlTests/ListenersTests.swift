// Owns what sockets are told before they carry anything, over real sockets of this host: what connections have from their listener;
// and whose place listeners and logs take in the file system.

import Bytes
import CLinux
import ConfigurationFile
import Engine
import Glibc
import Testing

@testable import Control

@Suite("listeners")
struct ListenersTests {
    /// A connection that the listener at `host` accepted, given to `body`.
    private func accepted(at host: String, _ body: (Int32) throws -> Void) throws {
        let bytes = try #require(numericAddress(host, port: 0))
        let listeners = Listeners()
        try listeners.adjust(to: [ListenAddress(bytes: bytes, text: addressText(bytes)): ListenOptions()])
        defer { listeners.close() }
        let listener = try #require(listeners.sockets.first).descriptor
        var name = sockaddr_in()
        var length = UInt32(MemoryLayout<sockaddr_in>.size)
        #expect(clinux_socket_name(listener, &name, &length) == 0)
        name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let client = clinux_socket(AF_INET, Int32(SOCK_STREAM.rawValue))
        defer { _ = clinux_close(client) }
        let result = clinux_connect(client, &name, length)
        #expect(result == 0 || result == -EINPROGRESS)
        var ready = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        #expect(poll(&ready, 1, 20_000) == 1)
        let server = clinux_accept(listener, &name, &length)
        #expect(server >= 0)
        defer { _ = clinux_close(server) }
        try body(server)
    }

    private func congestionControl(_ fd: Int32) -> String {
        var name = [UInt8](repeating: 0, count: 16)
        var length = socklen_t(name.count)
        getsockopt(fd, Int32(IPPROTO_TCP), TCP_CONGESTION, &name, &length)
        return String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
    }

    @Test func connectionsSendAtOnceWithoutBeingToldOneByOne() throws {
        for host in ["127.0.0.1", "0.0.0.0"] {
            try accepted(at: host) { #expect(clinux_get_option($0, Int32(IPPROTO_TCP), TCP_NODELAY) == 1, "\(host)") }
        }
    }

    @Test func clientsOfThisHostAreAnsweredByReno() throws {
        try accepted(at: "127.0.0.1") { #expect(congestionControl($0) == "reno") }
        let usual = clinux_socket(AF_INET, Int32(SOCK_STREAM.rawValue))
        defer { _ = clinux_close(usual) }
        try accepted(at: "0.0.0.0") { #expect(congestionControl($0) == congestionControl(usual)) }
    }

    @Test(
        "which addresses are within this host",
        arguments: [
            ("127.0.0.1", true), ("127.255.0.9", true), ("128.0.0.1", false), ("10.0.0.127", false), ("::1", true), ("::", false),
            ("::2", false), ("fe80::1", false), ("1::1", false),
        ])
    func loopback(host: String, isLoopback: Bool) throws {
        let bytes = try #require(numericAddress(host, port: 80))
        bytes.withUnsafeBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return }
            #expect(SocketAddress(bytes: ByteView(start, buffer.count), text: .empty).isLoopback == isLoopback)
        }
    }


    /// Listens at the path of a unix socket. What goes wrong, if anything does.
    private func listen(at path: String) throws -> String? {
        let listeners = Listeners()
        let address = ListenAddress(bytes: try #require(unixAddress(path)), text: "unix:" + path)
        do throws(ListenFailure) { try listeners.adjust(to: [address: ListenOptions()]) } catch { return error.description }
        listeners.close()
        return nil
    }

    @Test func aFileThatIsNoSocketStays() throws {
        let path = "/tmp/listeners-\(getpid())"
        defer { unlink(path) }
        let fd = clinux_open(path, O_WRONLY | O_CREAT | O_EXCL, 0o600)
        try #require(fd >= 0)
        _ = clinux_close(fd)
        #expect(try listen(at: path) == "bind() to unix:\(path) failed (98: Address already in use)")
        #expect(access(path, F_OK) == 0)
    }

    @Test func aSocketThatNobodyListensOnMakesWay() throws {
        let path = "/tmp/listeners-stale-\(getpid())"
        defer { unlink(path) }
        let bytes = try #require(unixAddress(path))
        let fd = clinux_socket(AF_UNIX, Int32(SOCK_STREAM.rawValue))
        try #require(clinux_bind(fd, bytes, UInt32(bytes.count)) == 0)
        _ = clinux_close(fd)
        #expect(try listen(at: path) == nil)
    }

    /// What is refused leaves nothing in the file system: neither what comes behind the sockets, nor one of them that cannot be had.
    @Test func aPathThatIsNotTakenGoesAgain() throws {
        let (path, taken) = ("/tmp/listeners-fresh-\(getpid())", "/tmp/listeners-taken-\(getpid())")
        let wanted = ListenAddress(bytes: try #require(unixAddress(path)), text: "unix:" + path)
        let other = ListenAddress(bytes: try #require(unixAddress(taken)), text: "unix:" + taken)
        let listeners = Listeners()
        var opening: Listeners.Opening? = try listeners.opening(for: [wanted: ListenOptions()])
        #expect(opening != nil && access(path, F_OK) == 0)
        opening = nil
        #expect(access(path, F_OK) != 0)

        let fd = clinux_open(taken, O_WRONLY | O_CREAT | O_EXCL, 0o600)
        try #require(fd >= 0)
        _ = clinux_close(fd)
        defer { unlink(taken) }
        for _ in 0..<8 {
            #expect(throws: ListenFailure.self) { try listeners.opening(for: [wanted: ListenOptions(), other: ListenOptions()]) }
            #expect(access(path, F_OK) != 0)
        }

        try listeners.adjust(to: [wanted: ListenOptions()])
        #expect(access(path, F_OK) == 0)
        // It stays open: nobody takes its path away.
        opening = try listeners.opening(for: [wanted: ListenOptions()])
        opening = nil
        #expect(access(path, F_OK) == 0)
        listeners.close()
        #expect(access(path, F_OK) != 0)
    }

    /// Who writes to a log this very moment has its descriptor: its number never means another file.
    @Test func aLogKeepsItsDescriptorWhenItIsReopened() throws {
        let folder = "/tmp/logs-\(getpid())/"
        try #require(mkdir(folder, 0o700) == 0)
        defer {
            for name in ["a", "b"] { unlink(folder + name) }
            rmdir(folder)
        }
        let logs = LogFiles(system: LinuxSystemFiles(), prefix: folder, defaultErrorLog: "stderr")
        let log = try logs.file("a", at: Word("a", position: Position(file: "test")), of: "access_log")
        let descriptor = log.current
        log.append(Array("before\n".utf8))
        try #require(rename(folder + "a", folder + "b") == 0)
        #expect(logs.reopen() == [])
        #expect(log.current == descriptor)
        log.append(Array("after\n".utf8))
        let system = LinuxSystemFiles()
        #expect(String(decoding: try system.read(folder + "a"), as: UTF8.self) == "after\n")
        #expect(String(decoding: try system.read(folder + "b"), as: UTF8.self) == "before\n")
    }
}
