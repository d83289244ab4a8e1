// A thread that makes a worker, runs it to its end and drops it, all inside itself.
// Started and joined by the supervisor, which talks to the worker through its mailbox.

import CLinux
import Engine

final class WorkerThread: @unchecked Sendable {
    let mailbox: Mailbox
    let counters: WorkerCounters
    private let parameters: WorkerParameters
    private let publisher: SnapshotPublisher
    /// Handed to the worker; kept here no longer than that, so that a socket closes when it has left the configuration.
    private var sockets: [ListeningSocket]
    private var thread = pthread_t()
    private var isStarted = false

    init(
        _ parameters: WorkerParameters, _ publisher: SnapshotPublisher, _ counters: WorkerCounters, _ sockets: [ListeningSocket],
        mailbox: Mailbox = WorkerThread.makeMailbox()
    ) {
        self.mailbox = mailbox
        self.parameters = parameters
        self.publisher = publisher
        self.counters = counters
        self.sockets = sockets
    }

    static func makeMailbox() -> Mailbox {
        Mailbox { fd in
            var one: UInt64 = 1
            _ = clinux_write(fd, &one, 8)
        }
    }

    func start() throws(StartFailure) {
        let context = Unmanaged.passRetained(self).toOpaque()
        let r = pthread_create(&thread, nil, { context in
            if let context { Unmanaged<WorkerThread>.fromOpaque(context).takeRetainedValue().body() }
            return nil
        }, context)
        if r != 0 {
            Unmanaged<WorkerThread>.fromOpaque(context).release()
            throw .process("cannot start a worker thread (\(errnoWords(r)))")
        }
        isStarted = true
    }

    func join() {
        if isStarted { pthread_join(thread, nil) }
        isStarted = false
    }

    private func body() {
        if parameters.duty != nil { _ = clinux_set_slice(ControlLimits.controlSliceNs) }
        let worker = Worker(
            kernel: LinuxKernel(), parameters: parameters, publisher: publisher, mailbox: mailbox, counters: counters, listeners: sockets)
        sockets = []
        worker.run()
    }
}
