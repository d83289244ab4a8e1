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

    private let work = Mutex(Work())
    private let threadsMax: Int
    private let jobsMax: Int

    init(threadsMax: Int, jobsMax: Int) {
        self.threadsMax = threadsMax
        self.jobsMax = jobsMax
    }

    /// False: too many wait, or there is no thread; the job is not done then.
    func run(_ job: @escaping Job) -> Bool {
        let (isTaken, needsThread) = work.withLock { work -> (Bool, Bool) in
            if work.waiting.count >= jobsMax { return (false, false) }
            work.waiting.append(job)
            let needsThread = work.threads < threadsMax
            if needsThread { work.threads += 1 }
            return (true, needsThread)
        }
        return isTaken && (!needsThread || startThread())
    }

    private func startThread() -> Bool {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let r = pthread_create(&thread, nil, { context in
            if let context { Unmanaged<ErrandThreads>.fromOpaque(context).takeRetainedValue().serve() }
            return nil
        }, context)
        if r == 0 {
            pthread_detach(thread)
            return true
        }
        Unmanaged<ErrandThreads>.fromOpaque(context).release()
        // Those that run take what waits; without any there is nobody, and nothing else waits.
        return work.withLock { work in
            work.threads -= 1
            if work.threads > 0 { return true }
            work.waiting = []
            return false
        }
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
