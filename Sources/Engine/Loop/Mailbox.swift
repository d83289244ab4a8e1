// The one way into a running loop from another thread: a list behind a mutex and an eventfd that wakes the loop.
// Written by Control (stop, reopen, a new snapshot), emptied by the worker at the start of a turn.

import Bytes
import CLinux
import Synchronization

/// What another thread asks of a worker.
package enum WorkerCommand: Sendable {
    /// Look at the published snapshot now rather than at the next request: an idle worker would hold the old one for ever.
    case adoptSnapshot
    /// Wait on these sockets and on no others.
    case listen([ListeningSocket])
    /// An answer of the control side, or a part of one, for the exchange that handed its request over.
    case admin(Handle, AdminPart)
    /// How many held requests a second go on once their split is released.
    case releaseRate(Int)
    /// End what lives long on the upstream of this name, spread over this time.
    case drain(String, durationMs: Int64)
    /// An exchange of this worker is at the head of the line for a peer that another worker has let go.
    case called(Handle)
    /// What a responder says of the certificate of a client whose handshake waits for it.
    case certificateStatus(Handle, ResponderVerdict, untilSeconds: Int64)
    /// Nothing but to wake the loop, whose duty has something to do.
    case wake
    /// Finish what is in flight, close idle connections, then end the loop.
    case stopGracefully
    /// Close everything and end the loop.
    case stopNow
}

package final class Mailbox: Sendable {
    private let commands = Mutex<[WorkerCommand]>([])
    private let wake = Atomic<Int32>(-1)
    private let signal: @Sendable (Int32) -> Void
    /// The thread that looks into the box at the end of each of its turns, and needs no signal from itself; 0: none does.
    private let owner = Atomic<UInt>(0)

    /// `signal` makes the eventfd it is given readable.
    package init(signal: @escaping @Sendable (Int32) -> Void) { self.signal = signal }

    package func post(_ command: WorkerCommand) {
        commands.withLock { $0.append(command) }
        if owner.load(ordering: .relaxed) == UInt(bitPattern: clinux_thread()) { return }
        let fd = wake.load(ordering: .acquiring)
        if fd >= 0 { signal(fd) }
    }

    /// Called by the worker once its eventfd exists; what was posted before wakes the first turn.
    func attach(_ fd: Int32) {
        wake.store(fd, ordering: .releasing)
        if commands.withLock({ !$0.isEmpty }) { signal(fd) }
    }

    /// From here on the calling thread empties the box at the end of its turns, too.
    func own() { owner.store(UInt(bitPattern: clinux_thread()), ordering: .relaxed) }

    func takeAll() -> [WorkerCommand] {
        commands.withLock {
            let all = $0
            $0 = []
            return all
        }
    }
}
