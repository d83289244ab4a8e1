// What a simulated run is like: sizes and delays of the network, and which faults come how often.
// Set by a test on its world before the run. Nothing here acts by itself.

/// Sizes and delays of the simulated network. Every range is drawn from anew: a socket at its birth, a piece at its sending.
///
/// The defaults resemble loopback: what is sent has arrived when `send` returns.
package struct NetworkPlan: Sendable {
    /// Bytes a socket holds that it has sent and its other end had no room for.
    package var sendBufferBytes: ClosedRange<Int> = 65_536...65_536
    /// Bytes a socket holds that were not yet read.
    package var receiveBufferBytes: ClosedRange<Int> = 65_536...65_536
    /// One way. Order on one connection is always kept.
    package var latencyNs: ClosedRange<UInt64> = 0...0
    /// What is sent at once travels in pieces of this size, each with a latency of its own.
    package var pieceBytes: ClosedRange<Int> = Int.max...Int.max
    /// What each call to the kernel costs on the virtual clock.
    package var callCostNs: ClosedRange<UInt64> = 0...0
    /// How long an actor takes to notice that its socket is ready.
    package var reactionNs: ClosedRange<UInt64> = 0...0

    package init() {}

    /// A network that is never kind: small buffers, small pieces, delays of up to 3 ms.
    package static var rough: NetworkPlan {
        var plan = NetworkPlan()
        plan.sendBufferBytes = 512...16_384
        plan.receiveBufferBytes = 512...16_384
        plan.latencyNs = 0...3_000_000
        plan.pieceBytes = 1...4_096
        plan.callCostNs = 0...2_000
        plan.reactionNs = 0...200_000
        return plan
    }
}

/// Which faults come how often. All are off until a test turns them on; each is a probability from 0 to 1 at its occasion.
///
/// Every fault is one that Linux may show: after a short read or write and after readiness that came to nothing, a later edge
/// reports the rest, as when the rest had arrived (or the room been made) a moment later.
package struct FaultPlan: Sendable {
    /// `receive` gives a part of what is there; the rest becomes readable, with an edge, after `hiddenNs`.
    package var shortRead = 0.0
    /// `send` takes a part; the socket becomes writable, with an edge, after `hiddenNs`.
    package var shortWrite = 0.0
    /// `receive` after an event finds nothing (-EAGAIN); the data becomes readable, with an edge, after `hiddenNs`.
    package var spuriousReadiness = 0.0
    package var hiddenNs: ClosedRange<UInt64> = 0...1_000_000
    /// -EINTR from receive, send, accept or epollWait; nothing was done.
    package var interrupted = 0.0

    /// A connection attempt is refused although somebody listens.
    package var refusedConnect = 0.0
    /// A connection attempt hears nothing until it times out after `connectTimeoutNs`.
    package var silentConnect = 0.0
    /// What a connection attempt takes beyond the latency.
    package var connectDelayNs: ClosedRange<UInt64> = 0...0
    package var connectTimeoutNs: UInt64 = 127_000_000_000

    /// A piece on its way is lost together with its connection: both ends see a reset.
    package var lostConnection = 0.0
    /// A piece on its way takes `stallNs` longer.
    package var stalledPiece = 0.0
    package var stallNs: ClosedRange<UInt64> = 1_000_000_000...30_000_000_000

    /// -EMFILE from accept, socket or open. A hard limit is `SimulatedKernel.descriptorsMax`.
    package var noDescriptor = 0.0
    /// -ENOSPC from write or writeAt. A hard limit is `FileSystem.bytesMax`.
    package var noSpace = 0.0
    /// -EIO from readAt, write, writeAt or sendFile.
    package var ioError = 0.0

    package init() {}

    /// Faults a proxy must get over without any client noticing.
    package static var harmless: FaultPlan {
        var plan = FaultPlan()
        plan.shortRead = 0.1
        plan.shortWrite = 0.1
        plan.spuriousReadiness = 0.05
        plan.interrupted = 0.02
        return plan
    }
}
