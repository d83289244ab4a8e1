// Owns the thread and the epoll loop that the clients and the pools behind the proxy share: on a machine of two cores a thread
// each would wait for the other more often than for the proxy. The commander has a thread of its own.

import CKernel

final class Traffic {
    /// Set in epoll's data of what belongs to the upstreams.
    static let upstreamBit: UInt64 = 1 << 63

    private let board: Board
    private let epoll: Int32
    private let upstreams: Upstreams
    private let load: Load

    init(options: Options, board: Board) throws(UsageError) {
        self.board = board
        epoll = kernel_epoll_create()
        guard epoll >= 0 else { throw UsageError(text: "no epoll: error \(-epoll)") }
        upstreams = try Upstreams(options: options, board: board, epoll: epoll)
        load = Load(options: options, board: board, epoll: epoll)
    }

    /// Until the board says drain; then until nothing is in flight, at most three seconds.
    func run() {
        load.start()
        var events = [epoll_event](repeating: epoll_event(), count: 256)
        var drainEndNs: Int64 = 0
        while true {
            if board.isDraining.load(ordering: .acquiring) {
                let now = kernel_now_ns()
                if drainEndNs == 0 { drainEndNs = now + 3_000_000_000 }
                if now > drainEndNs || !load.isWaiting { break }
            } else {
                load.askAllDue()
            }
            let count = kernel_epoll_wait(epoll, &events, 256, upstreams.waitMs(most: 20))
            if count > 0 {
                for event in events[..<Int(count)] {
                    let data = event.data.u64
                    if data & Self.upstreamBit != 0 { upstreams.handle(data) } else { load.handle(data) }
                }
            }
            upstreams.answerLate()
        }
        load.close()
        upstreams.close()
        kernel_close(epoll)
    }
}
