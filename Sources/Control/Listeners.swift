// Opens the listening sockets of a configuration and keeps them over reloads, so that no connection is refused in between.
// Owned by the supervisor; the sockets are shared with the workers and close with their last owner.

import CLinux
import Engine

package struct ListenFailure: Error, CustomStringConvertible {
    package let description: String
}

package final class Listeners {
    private var open: [ListenAddress: ListeningSocket] = [:]

    package init() {}

    package var sockets: [ListeningSocket] { Array(open.values) }

    /// The sockets of a configuration, open already: those that stay, and new ones. Dropped, the new ones close again, and their paths go.
    package struct Opening {
        fileprivate let sockets: [ListenAddress: ListeningSocket]
        fileprivate let modes: [ListenAddress: UInt32]
        fileprivate let fresh: FreshPaths
    }

    /// Paths of unix sockets that were just made, and that nobody is to find if it was for nothing.
    fileprivate final class FreshPaths {
        var paths: [String] = []
        deinit { for path in paths { _ = clinux_unlink(path) } }
    }

    /// Opens what is new and lets go what is not wanted any more; on a failure everything stays as it was.
    package func adjust(to wanted: [ListenAddress: ListenOptions]) throws(ListenFailure) { take(try opening(for: wanted)) }

    /// Opens what is new. Nothing is let go before `take`: what else belongs to the configuration may still be refused.
    package func opening(for wanted: [ListenAddress: ListenOptions]) throws(ListenFailure) -> Opening {
        var next: [ListenAddress: ListeningSocket] = [:]
        let fresh = FreshPaths()
        for (address, options) in wanted {
            if let kept = open[address] {
                next[address] = kept
                continue
            }
            // A wildcard and an address on one port bind beside each other only if both say so.
            let overlaps = wanted.keys.contains { $0 != address && $0.port == address.port && !$0.isUnix && ($0.isWildcard || address.isWildcard) }
            next[address] = try listen(address, options, overlaps: overlaps && !address.isUnix)
            if address.isUnix { fresh.paths.append(address.unixPath) }
        }
        return Opening(sockets: next, modes: wanted.filter { $0.key.isUnix }.mapValues(\.mode), fresh: fresh)
    }

    /// Lets go what is not wanted any more.
    package func take(_ opening: Opening) {
        for (address, _) in open where opening.sockets[address] == nil && address.isUnix { _ = clinux_unlink(address.unixPath) }
        for (address, mode) in opening.modes where open[address] != nil { _ = chmod(address.unixPath, mode) }
        open = opening.sockets
        opening.fresh.paths = []
    }

    /// Lets all sockets go, and removes the paths of unix sockets.
    package func close() {
        for address in open.keys where address.isUnix { _ = clinux_unlink(address.unixPath) }
        open = [:]
    }

    private func listen(_ address: ListenAddress, _ options: ListenOptions, overlaps: Bool) throws(ListenFailure) -> ListeningSocket {
        let family = Int32(address.bytes[0]) | Int32(address.bytes[1]) << 8
        let fd = clinux_socket(family, Int32(SOCK_STREAM.rawValue))
        if fd < 0 { throw ListenFailure(description: "socket() for \(address.text) failed (\(errnoWords(-fd)))") }
        func fail(_ call: String, _ r: Int32) -> ListenFailure {
            _ = clinux_close(fd)
            return ListenFailure(description: "\(call)() to \(address.text) failed (\(errnoWords(-r)))")
        }
        set(fd, family, options, sharesPort: overlaps || options.isReusePort)
        if !address.isUnix { setForConnections(fd, isLocal: address.isLocal) }
        var r = bind(fd, address, options)
        if r == -EADDRINUSE, address.isUnix, isStale(address) {
            _ = clinux_unlink(address.unixPath)
            r = bind(fd, address, options)
        }
        if r < 0 { throw fail("bind", r) }
        if address.isUnix { _ = chmod(address.unixPath, options.mode) }
        r = clinux_listen(fd, options.backlog)
        if r < 0 {
            if address.isUnix { _ = clinux_unlink(address.unixPath) }
            throw fail("listen", r)
        }
        return ListeningSocket(descriptor: fd, address: address.text) { _ = clinux_close($0) }
    }

    private func bind(_ fd: Int32, _ address: ListenAddress, _ options: ListenOptions) -> Int32 {
        if !address.isUnix { return clinux_bind(fd, address.bytes, UInt32(address.bytes.count)) }
        // Nobody gets in between bind and chmod who is not meant to.
        let mask = umask(0o777 & ~options.mode)
        defer { umask(mask) }
        return clinux_bind(fd, address.bytes, UInt32(address.bytes.count))
    }

    private func set(_ fd: Int32, _ family: Int32, _ options: ListenOptions, sharesPort: Bool) {
        if family != AF_UNIX { _ = clinux_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) }
        if sharesPort { _ = clinux_set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) }
        if family == AF_INET6 { _ = clinux_set_option(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, options.ipv6Only ? 1 : 0) }
        if let n = options.receiveBufferBytes { _ = clinux_set_option(fd, SOL_SOCKET, SO_RCVBUF, n) }
        if let n = options.sendBufferBytes { _ = clinux_set_option(fd, SOL_SOCKET, SO_SNDBUF, n) }
        if let keepalive = options.keepalive { _ = clinux_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, keepalive ? 1 : 0) }
        if let n = options.deferSeconds { _ = clinux_set_option(fd, Int32(IPPROTO_TCP), TCP_DEFER_ACCEPT, n) }
        if let n = options.fastOpen { _ = clinux_set_option(fd, Int32(IPPROTO_TCP), TCP_FASTOPEN, n) }
    }

    /// What connections have from their listener, so that no call is spent on each. Clients of this very host are answered by Reno:
    /// a model of the network between (BBR's) is work for nothing.
    private func setForConnections(_ fd: Int32, isLocal: Bool) {
        _ = clinux_set_option(fd, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        if isLocal { _ = clinux_set_congestion_control(fd, "reno") }
    }

    /// The file of a unix socket that nobody listens on: left behind by a process that died. Any other file refuses connections just so.
    private func isStale(_ address: ListenAddress) -> Bool {
        var facts = stat()
        if lstat(address.unixPath, &facts) != 0 || facts.st_mode & UInt32(S_IFMT) != UInt32(S_IFSOCK) { return false }
        let probe = clinux_socket(AF_UNIX, Int32(SOCK_STREAM.rawValue))
        if probe < 0 { return false }
        defer { _ = clinux_close(probe) }
        return clinux_connect(probe, address.bytes, UInt32(address.bytes.count)) == -ECONNREFUSED
    }
}

extension ListenOptions {
    /// Of a unix socket; as nginx makes them unless told otherwise.
    fileprivate var mode: UInt32 { unixMode ?? 0o666 }
}
