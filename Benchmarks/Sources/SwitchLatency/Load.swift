// Owns the clients of the run: busy, slow and tunnelled connections with their pauses. Traffic drives it.
// Judges each answer by the board: right, stale, lost. Knows no command; the commander reads what it notes down.

import CKernel

final class Load {
    private let options: Options
    private let board: Board
    /// Whether the system acknowledges: only then can an answer be stale.
    private let hasAcknowledgements: Bool
    private let epoll: Int32
    private let timer = kernel_timer_create()
    private var armedNs: Int64 = 0
    private var clients: [Client] = []
    private var chance: Chance
    private static let timerData = UInt64.max >> 1

    init(options: Options, board: Board, epoll: Int32) {
        self.options = options
        self.board = board
        self.epoll = epoll
        hasAcknowledgements = options.system != .reload
        chance = Chance(seed: options.seed &+ 1)
    }

    /// Whether requests are still unanswered.
    var isWaiting: Bool { clients.contains(where: \.isWaiting) }

    /// One event of a descriptor that this object registered.
    func handle(_ data: UInt64) {
        if data == Self.timerData {
            kernel_counter_clear(timer)
            armedNs = 0
        } else {
            receive(data)
        }
    }

    func close() {
        for client in clients {
            if client.isWaiting { lose(client, "no answer at the end of the run") }
            kernel_close(client.fd)
        }
        kernel_close(timer)
    }

    /// Opens all connections.
    func start() {
        _ = kernel_epoll_add(epoll, timer, Self.timerData)
        let kinds =
            [Client.Kind](repeating: .busy, count: options.busyConnections)
            + [Client.Kind](repeating: .slow, count: options.slowRequests)
            + [Client.Kind](repeating: .tunnel, count: options.tunnels)
        let now = kernel_now_ns()
        for (i, kind) in kinds.enumerated() {
            let client = Client(index: i, kind: kind)
            // Not all at once: the pauses begin spread out.
            client.dueNs = now + Int64(chance.next(in: 0...max(1, options.pauseUs))) * 1000
            clients.append(client)
            connect(client)
        }
    }

    // MARK: Asking

    /// Sends every request whose time has come, and sees to it that epoll returns for the next.
    func askAllDue() {
        let now = kernel_now_ns()
        var next = Int64.max
        for client in clients where !client.isWaiting {
            if client.dueNs <= now {
                ask(client)
            } else {
                next = min(next, client.dueNs)
            }
        }
        if next != .max, armedNs == 0 || next < armedNs {
            armedNs = next
            _ = kernel_timer_arm(timer, next)
        }
    }

    private func ask(_ client: Client) {
        guard client.fd >= 0 || connect(client) else { return }
        client.number += 1
        client.sentAcknowledged = board.acknowledged.load(ordering: .sequentiallyConsistent)
        client.isWaiting = true
        client.sentNs = kernel_now_ns()
        let request = client.request
        let count = kernel_send(client.fd, request, request.count, 0)
        if count != request.count {
            lose(client, "send answered \(count)")
            reopen(client)
        }
    }

    @discardableResult
    private func connect(_ client: Client) -> Bool {
        client.open(kernel_connect(options.proxyPort))
        guard client.fd >= 0 else {
            board.fault(.failed, "connect answered \(client.fd)")
            client.dueNs = kernel_now_ns() + 10_000_000
            return false
        }
        _ = kernel_epoll_add(epoll, client.fd, client.data)
        return true
    }

    private func reopen(_ client: Client) {
        kernel_close(client.fd)
        client.isWaiting = false
        connect(client)
    }

    // MARK: Answers

    private func receive(_ data: UInt64) {
        let client = clients[Int(data & 0xffff_ffff)]
        // Of a connection that this turn closed already.
        guard client.data == data else { return }
        let count = client.receive()
        if count == -Int(EAGAIN) { return }
        let now = kernel_now_ns()
        guard count > 0 else {
            if client.isWaiting || client.isTunnelOpen {
                lose(client, count == 0 ? "closed before its answer" : "receive answered \(count)")
            } else {
                board.count(.closed)
            }
            return reopen(client)
        }
        switch client.parse() {
        case .more: break
        case .wrong(let why):
            lose(client, why)
            reopen(client)
        case .opened: pause(client, from: now)
        case .echo:
            board.count(.tunnelMessage)
            pause(client, from: now)
        case .answer(let variant, let commanded, let closes):
            judge(client, variant, commanded: commanded, at: now)
            client.isWaiting = false
            pause(client, from: now)
            if closes {
                board.count(.closed)
                reopen(client)
            }
        }
    }

    private func pause(_ client: Client, from now: Int64) {
        client.isWaiting = false
        let us =
            switch client.kind {
            case .busy: options.pauseUs
            case .slow: 0
            case .tunnel: 5000
            }
        client.dueNs = us == 0 ? now : now + Int64(chance.next(in: us / 2...us + us / 2)) * 1000
    }

    /// Notes a faultless answer. It is stale if its pool was not the acknowledged one when it was asked for, and no later
    /// command was on its way when the upstream got it.
    private func judge(_ client: Client, _ pool: Int, commanded atUpstream: Int, at now: Int64) {
        let acknowledged = client.sentAcknowledged
        if hasAcknowledgements, atUpstream == acknowledged, pool != variant(of: acknowledged) {
            board.fault(.stale, "switch \(acknowledged): asked after its acknowledgement, answered by the old pool")
        }
        guard client.kind == .busy else { return board.count(.slowRequest) }
        board.count(.request)
        board.tookUs(Int((now - client.sentNs) / 1000))
        let epoch = board.commanded.load(ordering: .sequentiallyConsistent)
        guard epoch > 0 else { return }
        if pool != variant(of: epoch) {
            board.lastOldNs[epoch] = now
        } else if board.firstNewNs[epoch] == 0, atUpstream == epoch, !hasAcknowledgements || acknowledged >= epoch - 1 {
            // Asked after the switch before, so that this one alone can have chosen the pool.
            board.firstNewNs[epoch] = now
            kernel_event_signal(board.firstSeen)
        }
    }

    private func lose(_ client: Client, _ why: String) {
        let words = "\(client.kind) connection \(client.index), request \(client.number): \(why)"
        switch client.kind {
        case .busy: board.fault(.failed, words)
        case .slow: board.fault(.slowLost, words)
        case .tunnel: board.fault(.cut, words)
        }
    }
}
