// Who listens where, and how connections are made: bind, listen, connect and the queue before accept.
// Called by the kernel for the engine and by the world for actors. What flows afterwards is the sockets' own affair.

import CLinux
import Engine

/// The table of bound addresses of the one simulated network.
struct Places {
    /// In order of binding, so that nothing depends on the order of a hash table.
    var bound: [StreamSocket] = []
    var nextEphemeralPort: UInt16 = 32_768

    mutating func remove(_ socket: StreamSocket) { bound.removeAll { $0 === socket } }
}

extension World {
    private static var reusePort: Int { Int(SOL_SOCKET) << 16 | Int(SO_REUSEPORT) }
    private static var reuseAddress: Int { Int(SOL_SOCKET) << 16 | Int(SO_REUSEADDR) }
    private static var onlyV6: Int { Int(IPPROTO_IPV6) << 16 | Int(IPV6_V6ONLY) }

    func bind(_ socket: StreamSocket, _ wanted: Address) -> Int32 {
        if wanted.family != socket.family { return socket.isLocal ? -EINVAL : -EAFNOSUPPORT }
        if socket.local != nil { return -EINVAL }
        var address = wanted
        if case .local(let path) = wanted {
            if path.isEmpty { return -EINVAL }
            if path[0] != 0 {
                let result = files.makeSocket(String(decoding: path, as: UTF8.self))
                if result < 0 { return result }
            } else if places.bound.contains(where: { $0.local == wanted }) {
                return -EADDRINUSE
            }
        } else {
            if address.port == 0 { address = address.with(port: ephemeralPort()) }
            for other in places.bound where conflicts(socket, address, with: other) { return -EADDRINUSE }
        }
        socket.local = address
        places.bound.append(socket)
        return 0
    }

    private func ephemeralPort() -> UInt16 {
        repeat {
            places.nextEphemeralPort = places.nextEphemeralPort >= 60_999 ? 32_768 : places.nextEphemeralPort + 1
        } while places.bound.contains { $0.local?.port == places.nextEphemeralPort }
        return places.nextEphemeralPort
    }

    private func conflicts(_ socket: StreamSocket, _ address: Address, with other: StreamSocket) -> Bool {
        guard let taken = other.local, taken.port == address.port, !other.isLocal else { return false }
        let sameFamily = taken.family == address.family
        if sameFamily {
            if taken != address && !taken.isWildcard && !address.isWildcard { return false }
        } else {
            let (six, its, four) = socket.family == AF_INET6 ? (socket, address, taken) : (other, taken, address)
            if six.options[Self.onlyV6] ?? 0 != 0 { return false }
            if !its.isWildcard && its.unmapped != four { return false }
        }
        func both(_ option: Int) -> Bool { socket.options[option] ?? 0 != 0 && other.options[option] ?? 0 != 0 }
        if both(Self.reusePort) { return false }
        return !(both(Self.reuseAddress) && other.phase != .listening)
    }

    func listen(_ socket: StreamSocket, backlog: Int32) -> Int32 {
        switch socket.phase {
        case .fresh:
            if socket.local == nil {
                if socket.isLocal { return -EINVAL }
                let result = bind(socket, socket.family == AF_INET ? .v4(0, 0) : .v6(0, 0, 0))
                if result < 0 { return result }
            }
            socket.phase = .listening
        case .listening: break
        case .connecting, .connected, .dead: return -EINVAL
        }
        socket.backlog = max(0, Int(backlog))
        return 0
    }

    /// The listener that a connection to `address` reaches. Several that share a port (SO_REUSEPORT) are drawn from.
    private func listener(at address: Address) -> StreamSocket? {
        var exact: [StreamSocket] = []
        var wild: [StreamSocket] = []
        let plain = address.unmapped
        for socket in places.bound where socket.phase == .listening {
            guard let place = socket.local else { continue }
            if place == address || place == plain {
                exact.append(socket)
            } else if place.isWildcard && place.port == address.port {
                let onlyV6 = socket.options[Self.onlyV6] ?? 0 != 0
                if place.family == plain.family || (place.family == AF_INET6 && !onlyV6) { wild.append(socket) }
            }
        }
        let found = exact.isEmpty ? wild : exact
        return found.isEmpty ? nil : found[dice.pick(0...(found.count - 1))]
    }

    func connect(_ socket: StreamSocket, to address: Address) -> Int32 {
        switch socket.phase {
        case .fresh: break
        case .connecting: return -EALREADY
        case .connected:
            // Linux lets the first call after the connection was made succeed, as the answer to the one in progress.
            defer { socket.connectWasAnswered = true }
            return socket.connectWasAnswered ? -EISCONN : 0
        case .listening: return socket.isLocal ? -EINVAL : -EISCONN
        case .dead: return socket.pendingError != 0 ? -socket.takeError() : -ECONNABORTED
        }
        if address.family != socket.family { return socket.isLocal ? -EINVAL : -EAFNOSUPPORT }
        if socket.isLocal { return connectLocally(socket, address) }
        socket.remote = address
        if socket.local == nil {
            let host: Address = address.isWildcard || address.unmapped.family == AF_INET ? .loopback(0) : address
            let mine = host.with(port: ephemeralPort())
            socket.local = socket.family == AF_INET6 ? mine.mappedToV6 : mine
        }
        socket.phase = .connecting
        let delayNs = dice.pick(network.latencyNs) + dice.pick(faults.connectDelayNs)
        if dice.chance(faults.silentConnect) {
            after(faults.connectTimeoutNs) { if socket.phase == .connecting { socket.fail(ETIMEDOUT) } }
        } else if dice.chance(faults.refusedConnect) {
            after(delayNs) { if socket.phase == .connecting { socket.fail(ECONNREFUSED) } }
        } else if delayNs == 0 {
            attempt(socket, retryNs: 1_000_000_000, startedNs: nowNs)
        } else {
            let startedNs = nowNs
            after(delayNs) { self.attempt(socket, retryNs: 1_000_000_000, startedNs: startedNs) }
        }
        return -EINPROGRESS
    }

    /// A connection request arrives. A full queue ignores it, and it comes again after 1, 2, 4 s and so on.
    private func attempt(_ socket: StreamSocket, retryNs: UInt64, startedNs: UInt64) {
        guard socket.phase == .connecting, let address = socket.remote else { return }
        if silentPlaces.contains(address) {
            after(faults.connectTimeoutNs) { if socket.phase == .connecting { socket.fail(ETIMEDOUT) } }
            return
        }
        guard let listener = listener(at: address) else { return socket.fail(ECONNREFUSED) }
        if listener.waiting.count > listener.backlog {
            if nowNs - startedNs + retryNs > faults.connectTimeoutNs { return socket.fail(ETIMEDOUT) }
            after(retryNs) { self.attempt(socket, retryNs: retryNs * 2, startedNs: startedNs) }
            return
        }
        queue(socket, at: listener)
        let backNs = dice.pick(network.latencyNs)
        if backNs == 0 { return established(socket) }
        after(backNs) { self.established(socket) }
    }

    private func queue(_ socket: StreamSocket, at listener: StreamSocket) {
        let accepted = StreamSocket(world: self, family: listener.family)
        accepted.options = listener.options
        if socket.isLocal {
            accepted.local = listener.local
            accepted.remote = socket.local ?? .local([])
        } else {
            let six = listener.family == AF_INET6
            accepted.local = six ? socket.remote?.mappedToV6 : socket.remote?.unmapped
            accepted.remote = six ? socket.local?.mappedToV6 : socket.local?.unmapped
        }
        StreamSocket.join(socket, accepted)
        socket.phase = .connecting
        listener.waiting.append(accepted)
        listener.wake(Readiness.readable)
    }

    private func established(_ socket: StreamSocket) {
        guard socket.phase == .connecting else { return }
        socket.phase = .connected
        if !socket.isLocal { socket.wake(0) }
        socket.connectionWasMade()
    }

    private func connectLocally(_ socket: StreamSocket, _ address: Address) -> Int32 {
        guard case .local(let path) = address, !path.isEmpty else { return -EINVAL }
        let isFile = path[0] != 0
        if isFile && !files.isSocket(String(decoding: path, as: UTF8.self)) {
            return files.exists(String(decoding: path, as: UTF8.self)) ? -ECONNREFUSED : -ENOENT
        }
        if dice.chance(faults.refusedConnect) { return -ECONNREFUSED }
        let listeners = places.bound.filter { $0.phase == .listening && $0.local == address }
        guard let listener = listeners.last else { return -ECONNREFUSED }
        if listener.waiting.count > listener.backlog { return -EAGAIN }
        socket.remote = address
        socket.connectWasAnswered = true
        queue(socket, at: listener)
        established(socket)
        return 0
    }

    func accept(_ listener: StreamSocket) -> StreamSocket? {
        listener.waiting.isEmpty ? nil : listener.waiting.removeFirst()
    }

    func close(_ socket: StreamSocket) {
        places.remove(socket)
        socket.close()
    }
}
