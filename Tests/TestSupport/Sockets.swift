// Owns addresses, the making of sockets and the reservation of ports.
// Called by RawClient, Upstream and Proxy. Every descriptor is close-on-exec, or a proxy would inherit it and hold it open.

import CLinux
import Foundation
import Synchronization

/// Where something listens.
public enum Endpoint: Sendable, CustomStringConvertible {
    case tcp(String, Int)
    case unix(String)

    /// As `proxy_pass`, `server` and `listen` spell it.
    public var description: String {
        switch self {
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }

    public var port: Int { if case .tcp(_, let port) = self { port } else { 0 } }
}

public enum Sockets {
    /// Two ends of one connection: the first does not block, the second, for another program, does.
    static func pair() throws -> (Int32, Int32) {
        var ends: [Int32] = [-1, -1]
        _ = try check(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) < 0 ? -errno : 0, "socketpair")
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        return (ends[0], ends[1])
    }

    /// A listening socket, not blocking.
    public static func listen(_ endpoint: Endpoint, backlog: Int32 = 511) throws -> Int32 {
        let fd = try make(endpoint)
        _ = clinux_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1)
        do {
            try bind(fd, endpoint)
            try check(clinux_listen(fd, backlog), "listen \(endpoint)")
        } catch {
            close(fd)
            throw error
        }
        return fd
    }

    /// A connected socket, not blocking. Fails when the peer refuses or `timeoutMs` pass.
    public static func connect(_ endpoint: Endpoint, timeoutMs: Int = 20_000, receiveBufferBytes: Int = 0) throws -> Int32 {
        let fd = try make(endpoint)
        if receiveBufferBytes > 0 { _ = clinux_set_option(fd, SOL_SOCKET, SO_RCVBUF, Int32(receiveBufferBytes)) }
        var result = try withAddress(endpoint) { clinux_connect(fd, $0, $1) }
        if result == -EINPROGRESS {
            var wanted = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
            result = poll(&wanted, 1, Int32(timeoutMs)) == 0 ? -ETIMEDOUT : -clinux_get_option(fd, SOL_SOCKET, SO_ERROR)
        }
        guard result == 0 else {
            close(fd)
            throw StreamEnd.refused("connect \(endpoint): errno \(-result)")
        }
        if case .tcp = endpoint { _ = clinux_set_option(fd, Int32(IPPROTO_TCP), TCP_NODELAY, 1) }
        return fd
    }

    private static func make(_ endpoint: Endpoint) throws -> Int32 {
        let family =
            switch endpoint {
            case .tcp(let host, _): host.contains(":") ? AF_INET6 : AF_INET
            case .unix: AF_UNIX
            }
        return try check(clinux_socket(family, Int32(SOCK_STREAM.rawValue)), "socket")
    }

    static func bind(_ fd: Int32, _ endpoint: Endpoint) throws {
        try check(try withAddress(endpoint) { clinux_bind(fd, $0, $1) }, "bind \(endpoint)")
    }

    static func port(of fd: Int32) -> Int {
        var address = sockaddr_in6()
        var length = UInt32(MemoryLayout<sockaddr_in6>.size)
        _ = clinux_socket_name(fd, &address, &length)
        return Int(UInt16(bigEndian: address.sin6_port))
    }

    @discardableResult
    static func check(_ result: Int32, _ what: String) throws -> Int32 {
        if result < 0 { throw TestFailure("\(what): errno \(-result)") }
        return result
    }

    private static func withAddress(_ endpoint: Endpoint, _ body: (UnsafeRawPointer, UInt32) -> Int32) throws -> Int32 {
        switch endpoint {
        case .unix(let path):
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let bytes = Array(path.utf8)
            guard bytes.count < 108 else { throw TestFailure("unix socket path too long: \(path)") }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
            return body(&address, UInt32(MemoryLayout<sockaddr_un>.size))
        case .tcp(let host, let port) where host.contains(":"):
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = UInt16(port).bigEndian
            guard inet_pton(AF_INET6, host, &address.sin6_addr) == 1 else { throw TestFailure("not an address: \(host)") }
            return body(&address, UInt32(MemoryLayout<sockaddr_in6>.size))
        case .tcp(let host, let port):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(port).bigEndian
            guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { throw TestFailure("not an address: \(host)") }
            return body(&address, UInt32(MemoryLayout<sockaddr_in>.size))
        }
    }
}

/// Ports nobody else gets. Each is held by a socket that is bound but never listens: the kernel gives the port to no other
/// program, a connection to it is refused, and whoever names it with SO_REUSEADDR may still listen there.
public enum Ports {
    private static let held = Mutex<[Int32]>([])

    /// A free port on all addresses of this machine, reserved until the test program ends.
    public static func reserve() throws -> Int {
        let any: Endpoint = Harness.hasIPv6 ? .tcp("::", 0) : .tcp("0.0.0.0", 0)
        let family = Harness.hasIPv6 ? AF_INET6 : AF_INET
        let fd = try Sockets.check(clinux_socket(family, Int32(SOCK_STREAM.rawValue)), "socket")
        // Bound without SO_REUSEADDR the kernel picks a port that nobody uses; set afterwards, it lets a listener join.
        try Sockets.bind(fd, any)
        _ = clinux_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1)
        held.withLock { $0.append(fd) }
        return Sockets.port(of: fd)
    }
}
