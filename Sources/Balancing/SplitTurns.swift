// Whose turn it is in a split without keys: one counter that all workers advance, so that shares hold over all of them.
// Made and kept by the control side beside the split, over revisions; advanced by the exchange.
import Synchronization

/// One cache line of its own, so that the counters of two splits do not slow each other down.
struct TurnRow: ~Copyable {
    let turns = Atomic<UInt64>(0)
}

/// The turns taken in one split. A later revision of the split goes on with the same turns.
@safe public final class SplitTurns: @unchecked Sendable {
    private let row: UnsafeMutablePointer<TurnRow>

    public init() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: PoolRow.lineBytes, alignment: PoolRow.lineBytes)
        unsafe row = memory.bindMemory(to: TurnRow.self, capacity: 1)
        unsafe row.initialize(to: TurnRow())
    }

    deinit {
        unsafe row.deinitialize(count: 1)
        unsafe row.deallocate()
    }

    /// How many turns have been taken.
    public var count: UInt64 { unsafe row.pointee.turns.load(ordering: .relaxed) }

    /// As in `SplitTurnsView`, for whoever holds this object anyway.
    public func next() -> UInt64 { view.next() }

    /// What workers advance; whoever keeps a view keeps its `SplitTurns` alive.
    public var view: SplitTurnsView { unsafe SplitTurnsView(row: row) }
}

/// The turns of a split, reached by address, without counting references.
@safe public struct SplitTurnsView: @unchecked Sendable, BitwiseCopyable {
    private let row: UnsafeMutablePointer<TurnRow>

    init(row: UnsafeMutablePointer<TurnRow>) { unsafe self.row = row }

    /// Takes a turn, for `SplitView.variant(atTurn:)`. No two calls get the same.
    public func next() -> UInt64 { unsafe row.pointee.turns.wrappingAdd(1, ordering: .relaxed).oldValue }
}
