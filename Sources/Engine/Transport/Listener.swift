// Listening sockets as a worker sees them: accepting, resting when descriptors run out, closing when the worker stops.
// The sockets belong to Control and are shared by all workers.

import Bytes
import CLinux

/// A listening socket that all workers share. It closes when its last owner lets it go.
package final class ListeningSocket: Sendable {
    package let descriptor: Int32
    /// The text of its address, by which a snapshot's `ListenSettings` is found.
    package let address: String
    private let close: @Sendable (Int32) -> Void

    package init(descriptor: Int32, address: String, close: @escaping @Sendable (Int32) -> Void) {
        self.descriptor = descriptor
        self.address = address
        self.close = close
    }

    deinit { close(descriptor) }
}

struct WorkerListener {
    var socket: ListeningSocket?
    var address: String
    /// The current snapshot's settings for the address; nil when the address has left the configuration.
    var settings: Ref<ListenSettings>?
    var isRegistered = false
    /// How many connections to take at once: doubled while there are more, one again when there are none.
    var appetite = 1

    var descriptor: Int32 { socket?.descriptor ?? -1 }
}

extension Worker {
    func open(_ socket: ListeningSocket) {
        let index = listeners.count
        listeners.append(
            WorkerListener(socket: socket, address: socket.address, settings: listenSettings(for: socket.address)))
        register(index)
    }

    /// Opens what is new and lets go what has left. Places stay, since connections name them.
    func listen(to sockets: [ListeningSocket]) {
        if isStopping { return }
        for i in listeners.indices where !sockets.contains(where: { $0 === listeners[i].socket }) {
            if listeners[i].isRegistered { _ = kernel.epollRemove(epoll, listeners[i].descriptor) }
            listeners[i].isRegistered = false
            listeners[i].socket = nil
        }
        for socket in sockets where !listeners.contains(where: { $0.socket === socket }) {
            if let place = listeners.firstIndex(where: { $0.socket == nil && $0.address == socket.address }) {
                listeners[place].socket = socket
                listeners[place].settings = listenSettings(for: socket.address)
                register(place)
            } else {
                open(socket)
            }
        }
    }

    func listenSettings(for address: String) -> Ref<ListenSettings>? {
        let listens = current.root.listens
        return (0..<listens.count).lazy.map { listens[$0] }.first { $0.address.text.string == address }
    }

    private func register(_ i: Int) {
        if listeners[i].isRegistered || listeners[i].socket == nil { return }
        let word = EventOwner.word(.listener, Handle(index: UInt32(i), generation: 1))
        let r = kernel.epollAdd(epoll, listeners[i].descriptor, events: Readiness.readable | Readiness.exclusive, data: word)
        listeners[i].isRegistered = r >= 0
    }

    func acceptClients(_ i: Int) {
        // The event may be of the very turn in which the listener was let go.
        if listeners[i].socket == nil { return }
        let appetite = listeners[i].appetite
        for _ in 0..<appetite {
            var storage = sockaddr_storage()
            var length = UInt32(MemoryLayout<sockaddr_storage>.size)
            let fd = withUnsafeMutableBytes(of: &storage) { kernel.accept(listeners[i].descriptor, $0.baseAddress!, &length) }
            if fd < 0 {
                listeners[i].appetite = 1
                acceptFailed(-fd)
                return
            }
            let address = withUnsafeBytes(of: &storage) { ClientAddress(sockaddr: $0.baseAddress!, length: length) }
            begin(fd, from: address, listener: i)
        }
        listeners[i].appetite = min(appetite * 2, Limits.acceptsPerTurn)
    }

    private func acceptFailed(_ errno: Int32) {
        if errno == EAGAIN || errno == EINTR || errno == ECONNABORTED { return }
        logProcess(.crit, "accept4() failed", .empty, errno: errno)
        if errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS {
            // Level-triggered listeners would wake the loop without end: rest until some connections have gone.
            counts.acceptRests += 1
            for i in listeners.indices where listeners[i].isRegistered {
                _ = kernel.epollRemove(epoll, listeners[i].descriptor)
                listeners[i].isRegistered = false
            }
            timers.set(acceptRest, at: nowMs + Limits.acceptRestMs)
        }
    }

    func resumeAccepting() {
        if isStopping { return }
        for i in listeners.indices { register(i) }
    }

    func closeListeners() {
        // One that rests for want of descriptors is not registered, and must go as well.
        for i in listeners.indices {
            if listeners[i].isRegistered { _ = kernel.epollRemove(epoll, listeners[i].descriptor) }
            listeners[i].isRegistered = false
            listeners[i].socket = nil
        }
    }

    private func begin(_ fd: Int32, from address: ClientAddress, listener: Int) {
        guard listeners[listener].settings != nil, clients.count - clientStreams < parameters.connectionsMax,
            let (c, handle) = clients.insert(ClientConnection())
        else {
            counts.refusedConnections += 1
            if listeners[listener].settings != nil {
                logProcess(
                    .alert, parameters.duty == nil
                        ? "worker_connections are not enough, a connection was closed"
                        : "admin.sock has as many connections as it may have, one was closed", .empty)
            }
            kernel.close(fd)
            return
        }
        nextConnectionNumber += 1
        counts.acceptedConnections += 1
        current.account.add(.accepted)
        c.handle = handle
        c.phase = .idle
        c.stream.fd = fd
        c.stream.isWritable = true
        c.listener = Int32(listener)
        c.number = nextConnectionNumber * UInt64(max(1, counters.workerCount)) + UInt64(parameters.number)
        c.acceptedMs = nowMs
        c.address = address
        let word = EventOwner.word(.client, handle)
        c.timer = timers.make(owner: word)
        let bits = Readiness.readable | Readiness.writable | Readiness.peerClosed | Readiness.edgeTriggered
        if kernel.epollAdd(epoll, fd, events: bits, data: word) < 0 {
            closeClient(c)
            return
        }
        let server = c.defaultServer(in: self)
        timers.set(c.timer, at: nowMs + (server?.clientHeaderTimeoutMs ?? 60_000))
        guard let listen = listeners[listener].settings else { return }
        if listen.acceptsProxyProtocol { c.phase = .proxyHeader } else if listen.isTLS { beginHandshake(c) }
    }
}

extension Ref where T == ClientConnection {
    /// The server whose settings hold before a Host is known.
    func defaultServer(in worker: Worker) -> Ref<ServerSettings>? {
        guard let listen = worker.listeners[Int(self.listener)].settings else { return nil }
        return worker.current.root.servers[Int(listen.defaultServer)]
    }
}
