// The last seconds of observations as one sum that moves: what guards look at.
// Called by the machine. Time comes in with each observation.

/// The sum over the last `lengthMs`, in pieces of a fifteenth: as exact as that at its far end.
struct ObservationWindow: Sendable, Equatable {
    struct Piece: Sendable, Equatable {
        var fromMs: Int64
        var seen: Observations
    }
    static let piecesMax = 15

    let lengthMs: Int64
    var pieces: [Piece] = []
    private(set) var sum = Observations()

    init(lengthMs: Int64) { self.lengthMs = lengthMs }

    init(lengthMs: Int64, pieces: [Piece]) {
        self.lengthMs = lengthMs
        self.pieces = pieces
        for piece in pieces { sum.add(piece.seen) }
    }

    private var pieceMs: Int64 { max(lengthMs / Int64(Self.piecesMax), 1) }

    /// - Parameter nowMs: not before the time of an earlier call.
    mutating func add(_ seen: Observations, atMs nowMs: Int64) {
        forget(beforeMs: nowMs - lengthMs)
        if let last = pieces.last, nowMs - last.fromMs < pieceMs {
            pieces[pieces.count - 1].seen.add(seen)
        } else if !seen.isEmpty {
            pieces.append(Piece(fromMs: nowMs, seen: seen))
        }
        sum.add(seen)
    }

    mutating func forget(beforeMs: Int64) {
        while let first = pieces.first, first.fromMs < beforeMs {
            sum.subtract(first.seen)
            pieces.removeFirst()
        }
    }

    mutating func clear() { self = ObservationWindow(lengthMs: lengthMs) }
}
