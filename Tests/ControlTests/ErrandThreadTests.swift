// Owns that a job which was taken is done, whatever becomes of the threads that were to do it.

import CLinux
import Synchronization
import Testing

@testable import Control

@Suite("errand threads")
struct ErrandThreadTests {
    private final class Figures: Sendable {
        let left: Atomic<Int>
        let tried = Atomic<Int>(0)
        let taken = Atomic<Int>(0)
        let done = Atomic<Int>(0)
        init(threadsLeft: Int) { left = Atomic(threadsLeft) }
    }

    /// Several ask at once, and there is no thread for most: whoever is told that the job was taken sees it done.
    @Test(arguments: [0, 1]) func whatIsTakenIsDone(threadsLeft: Int) {
        let callers = 8
        let figures = Figures(threadsLeft: threadsLeft)
        let threads = ErrandThreads(threadsMax: callers, jobsMax: 100) { start, context in
            // Nobody comes back from here before the others are on their way, if they can be.
            figures.tried.wrappingAdd(1, ordering: .relaxed)
            Self.wait(ms: 20) { figures.tried.load(ordering: .relaxed) == callers }
            if figures.left.wrappingSubtract(1, ordering: .relaxed).oldValue <= 0 { return EAGAIN }
            var thread = pthread_t()
            let r = pthread_create(&thread, nil, start, context)
            if r == 0 { pthread_detach(thread) }
            return r
        }
        Callers {
            if threads.run({ figures.done.wrappingAdd(1, ordering: .relaxed) }) { figures.taken.wrappingAdd(1, ordering: .relaxed) }
        }.call(callers)
        let taken = figures.taken.load(ordering: .relaxed)
        Self.wait(ms: 5000) { figures.done.load(ordering: .relaxed) == taken }
        #expect(figures.done.load(ordering: .relaxed) == taken)
        if threadsLeft == 0 { #expect(taken == 0) }
    }

    private static func wait(ms: UInt64, _ isDone: () -> Bool) {
        let end = ControlClock.system.monotonicNs() + ms * 1_000_000
        while !isDone(), ControlClock.system.monotonicNs() < end { sched_yield() }
    }
}

/// Calls from several threads at once, and waits for them.
private final class Callers: Sendable {
    private let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }

    func call(_ count: Int) {
        var threads: [pthread_t] = []
        for _ in 0..<count {
            var thread = pthread_t()
            let context = Unmanaged.passRetained(self).toOpaque()
            let r = pthread_create(&thread, nil, { context in
                if let context { Unmanaged<Callers>.fromOpaque(context).takeRetainedValue().body() }
                return nil
            }, context)
            if r == 0 { threads.append(thread) } else { Unmanaged<Callers>.fromOpaque(context).release() }
        }
        for thread in threads { pthread_join(thread, nil) }
    }
}
