// Threads that wait for others, so that no worker ever does: for responders, for receivers of news, for programs.
// Owned by who sends them; bounded in threads and in jobs. A job has its own deadline.

import CLinux
import Synchronization

final class ErrandThreads: Sendable {
    typealias Job = @Sendable () -> Void

    private struct Work {
        var waiting: [Job] = []
        var threads = 0
    }

    /// Starts a detached thread that calls the function with the context. 0, or an errno.
    typealias Starter = @Sendable (@escaping Start, UnsafeMutableRawPointer) -> Int32
    typealias Start = @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?

    private let work = Mutex(Work())
    private let threadsMax: Int
    private let jobsMax: Int
    private let starter: Starter

    init(threadsMax: Int, jobsMax: Int, starter: @escaping Starter = ErrandThreads.startDetached) {
        self.threadsMax = threadsMax
        self.jobsMax = jobsMax
        self.starter = starter
    }

    /// False: too many wait, or there is no thread; the job is not done then.
    func run(_ job: @escaping Job) -> Bool {
        work.withLock { work in
            if work.waiting.count >= jobsMax { return false }
            // Under the lock: a thread that is counted is one that runs, and takes what waits before it ends.
            if work.threads < threadsMax, startThread() { work.threads += 1 }
            if work.threads == 0 { return false }
            work.waiting.append(job)
            return true
        }
    }

    private func startThread() -> Bool {
        let context = Unmanaged.passRetained(self).toOpaque()
        let r = starter({ context in
            if let context { Unmanaged<ErrandThreads>.fromOpaque(context).takeRetainedValue().serve() }
            return nil
        }, context)
        if r != 0 { Unmanaged<ErrandThreads>.fromOpaque(context).release() }
        return r == 0
    }

    private static let startDetached: Starter = { start, context in
        var thread = pthread_t()
        let r = pthread_create(&thread, nil, start, context)
        if r == 0 { pthread_detach(thread) }
        return r
    }

    private func serve() {
        while let job = work.withLock({ work -> Job? in
            if !work.waiting.isEmpty { return work.waiting.removeFirst() }
            work.threads -= 1
            return nil
        }) {
            job()
        }
    }
}
