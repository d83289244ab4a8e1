// Failures in a row of something that is looked at on both sides: health checks, a dependency's address, a metric.
// Kept by the machine. It tells a failure of the new variant alone from one that the old variant shares.

/// How often in a row each side failed.
struct FailureRun: Sendable, Equatable {
    var old = 0
    var new = 0
    /// Failures of the new variant in a row while the old one's last look was good: a common cause that ends on one side a moment
    /// earlier is not the other side's fault.
    var newAlone = 0

    static let most = 1_000_000

    mutating func take(_ side: Side, isGood: Bool) {
        switch (side, isGood) {
        case (.old, true): old = 0
        case (.old, false):
            old = min(old + 1, Self.most)
            newAlone = 0
        case (.new, true):
            new = 0
            newAlone = 0
        case (.new, false):
            new = min(new + 1, Self.most)
            if old == 0 { newAlone = min(newAlone + 1, Self.most) }
        }
    }

    enum Standing { case good, alone, common }

    /// - Parameter max: failures in a row that are too many.
    func standing(_ max: Int) -> Standing {
        if newAlone >= max { return .alone }
        return new >= max && old > 0 ? .common : .good
    }
}
