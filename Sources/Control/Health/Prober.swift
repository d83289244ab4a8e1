// The thread that asks servers after their health: a small loop of its own, so that no worker and no change ever waits for a server.
// Started and ended by the supervisor. The board says whom to ask and is told what they answered.

import CLinux
import Engine
import Health
import Synchronization

final class Prober: @unchecked Sendable {
    private let board: HealthBoard
    /// Where what is known is kept; nil: nowhere.
    private let folder: String?
    private let tell: @Sendable (LogLevel, String) -> Void
    private let isStopping = Atomic<Bool>(false)
    private let life = Mutex(Life())
    private struct Life {
        var thread: pthread_t?
        /// An eventfd; -1: the thread has not begun.
        var wake: Int32 = -1
    }

    // The thread's own.
    private var epoll: Int32 = -1
    private var probes: [Probe?] = []
    private var generations: [UInt32] = []
    private var free: [Int] = []
    private var memory = ProbeMemory()
    private var tls: ProbeTLS?
    /// No deadline is before.
    private var deadlineMs = Int64.max
    private var random: UInt64 = 0
    private var savedMs: Int64 = 0
    private var hasToldOfDisk = false
    private var toldOfLackMs = Int64.min

    private static let wakeWord = UInt64.max

    init(_ board: HealthBoard, folder: String?, tell: @escaping @Sendable (LogLevel, String) -> Void) {
        self.board = board
        self.folder = folder
        self.tell = tell
    }

    /// Begins with the first check there is, now or later.
    func start() {
        board.onChecks { [weak self] in self?.wake() }
        if board.isWatching { wake() }
    }

    private func wake() {
        life.withLock { life in
            if isStopping.load(ordering: .relaxed) { return }
            if life.thread == nil { startThread(&life) }
            if life.wake >= 0 { Self.signal(life.wake) }
        }
    }

    private static func signal(_ fd: Int32) {
        var one: UInt64 = 1
        _ = clinux_write(fd, &one, 8)
    }

    private func startThread(_ life: inout Life) {
        let fd = clinux_eventfd()
        if fd < 0 { return tell(.alert, "no health checks: eventfd() failed (\(errnoWords(-fd)))") }
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let r = pthread_create(&thread, nil, { context in
            if let context { Unmanaged<Prober>.fromOpaque(context).takeRetainedValue().run() }
            return nil
        }, context)
        if r != 0 {
            Unmanaged<Prober>.fromOpaque(context).release()
            _ = clinux_close(fd)
            return tell(.alert, "no health checks: cannot start a thread (\(errnoWords(r)))")
        }
        life.thread = thread
        life.wake = fd
    }

    /// Returns when the thread has ended.
    func stop() {
        board.onChecks(nil)
        let thread = life.withLock { life -> pthread_t? in
            isStopping.store(true, ordering: .relaxed)
            if life.wake >= 0 { Self.signal(life.wake) }
            defer { life.thread = nil }
            return life.thread
        }
        if let thread { pthread_join(thread, nil) }
        life.withLock { life in
            if life.wake >= 0 { _ = clinux_close(life.wake) }
            life.wake = -1
        }
    }

    // MARK: The loop

    private func run() {
        epoll = clinux_epoll_create()
        let wake = life.withLock { $0.wake }
        if epoll < 0 || clinux_epoll_add(epoll, wake, Readiness.readable, Self.wakeWord) < 0 {
            return tell(.alert, "no health checks: epoll_create() failed")
        }
        random = UInt64(bitPattern: board.nowMs) &* 0x9E37_79B9_7F4A_7C15 | 1
        savedMs = board.nowMs
        var events = [epoll_event](repeating: epoll_event(), count: 256)
        while !isStopping.load(ordering: .relaxed) {
            let n = clinux_epoll_wait(epoll, &events, Int32(events.count), waitMs())
            for i in 0..<max(0, Int(n)) {
                if events[i].data.u64 == Self.wakeWord { Self.drain(wake) } else { goOn(events[i].data.u64) }
            }
            expire(board.nowMs)
            beginDue(board.nowMs)
            save(board.nowMs)
        }
        if let folder, board.isWatching { _ = board.save(to: folder) }
        probes = []
        _ = clinux_close(epoll)
    }

    private static func drain(_ fd: Int32) {
        var count: UInt64 = 0
        _ = clinux_read(fd, &count, 8)
    }

    private func waitMs() -> Int32 {
        let nowMs = board.nowMs
        var due = min(board.dueMs ?? .max, deadlineMs)
        if folder != nil { due = min(due, savedMs + (board.isUnsaved ? ControlLimits.healthSaveMs : ControlLimits.healthRefreshMs)) }
        return due == .max ? -1 : Int32(clamping: max(0, due - nowMs))
    }

    private func nextRandom() -> UInt64 {
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
        return random
    }

    // MARK: Checks

    private func beginDue(_ nowMs: Int64) {
        while let job = board.takeDue(nowMs) {
            if job.gate.check.kind.usesTLS, tls == nil { tls = ProbeTLS() }
            let probe = Probe(job, nowMs: nowMs)
            if let outcome = probe.begin(tls) {
                end(job, outcome, nowMs)
                continue
            }
            guard let stream = probe.stream else { continue }
            let place = free.popLast() ?? probes.count
            if place == probes.count {
                probes.append(nil)
                generations.append(0)
            }
            let word = UInt64(generations[place]) << 32 | UInt64(place)
            let interest = Readiness.readable | Readiness.writable | Readiness.peerClosed | Readiness.edgeTriggered
            let r = clinux_epoll_add(epoll, stream.descriptor, interest, word)
            probes[place] = probe
            if r < 0 {
                finish(place, .impossible("epoll_ctl() failed (\(errnoWords(-r)))"), nowMs)
                continue
            }
            deadlineMs = min(deadlineMs, probe.deadlineMs)
            advance(place, nowMs)
        }
    }

    private func goOn(_ word: UInt64) {
        let place = Int(word & 0xFFFF_FFFF)
        guard probes.indices.contains(place), generations[place] == UInt32(truncatingIfNeeded: word >> 32) else { return }
        advance(place, board.nowMs)
    }

    private func advance(_ place: Int, _ nowMs: Int64) {
        guard let probe = probes[place] else { return }
        let outcome = probe.advance(&memory)
        if case .waits = outcome { return }
        finish(place, outcome, nowMs)
    }

    private func finish(_ place: Int, _ outcome: Probe.Outcome, _ nowMs: Int64) {
        guard let probe = probes[place] else { return }
        probes[place] = nil
        generations[place] &+= 1
        free.append(place)
        end(probe.job, outcome, nowMs)
    }

    private func end(_ job: CheckJob, _ outcome: Probe.Outcome, _ nowMs: Int64) {
        switch outcome {
        case .waits: break
        case .passed: board.finish(job.handle, nil, nowMs: nowMs, random: nextRandom())
        case .failed(let reason): board.finish(job.handle, reason, nowMs: nowMs, random: nextRandom())
        case .impossible(let reason):
            board.postpone(job.handle, nowMs: nowMs)
            if nowMs - ControlLimits.healthRefreshMs >= toldOfLackMs {
                toldOfLackMs = nowMs
                tell(.crit, "a health check could not be made: \(reason)")
            }
        }
    }

    /// Ends those that have come to their deadline. Looks at all only when one may have.
    private func expire(_ nowMs: Int64) {
        if nowMs < deadlineMs { return }
        deadlineMs = .max
        for place in probes.indices {
            guard let probe = probes[place] else { continue }
            if probe.deadlineMs <= nowMs { finish(place, .failed(probe.overdue), nowMs) } else { deadlineMs = min(deadlineMs, probe.deadlineMs) }
        }
    }

    // MARK: The file

    private func save(_ nowMs: Int64) {
        guard let folder else { return }
        let isUnsaved = board.isUnsaved
        if nowMs < savedMs + (isUnsaved ? ControlLimits.healthSaveMs : ControlLimits.healthRefreshMs) { return }
        savedMs = nowMs
        if let problem = board.save(to: folder), !hasToldOfDisk {
            hasToldOfDisk = true
            tell(.warn, "what is known of the health of servers cannot be kept: \(problem)")
        }
    }
}
