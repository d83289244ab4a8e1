// Which peers are out because of their health, and when so many are that all are used again. A part of `Balancer`.
// Health is set in the shared rows, by others and by Outliers.swift; a balancer looks at all of it only when something has changed.

/// What decides over the health of an upstream's peers.
public struct HealthPolicy: Sendable, Equatable, BitwiseCopyable {
    /// With a smaller share of healthy peers all are used, whatever is known of their health; 0: never. Peers that have not
    /// passed their first check are not among them.
    public var panicPercent = 50
    /// Nil: nobody is ejected.
    public var outliers: OutlierPolicy?
    public init() {}
}

/// What a balancer knows of the health of its peers.
struct Sickness: BitwiseCopyable {
    /// The pool's, when it was last looked at; -1: never.
    var epoch = -1
    var lookedMs: Int64 = .min
    /// Up to then it holds while the epoch does: afterwards an ejection is over.
    var validUntilMs: Int64 = .min
    var sick = 0
}

extension Balancer {
    /// How often all of a large upstream is looked at, at most; a peer that is sick is not picked meanwhile.
    private static var looksEveryMs: Int64 { 100 }
    /// How long all peers are used when, sick ones aside, there was none.
    private static var usesAllMs: Int64 { 1000 }

    /// Looks at the health of all peers, if something has changed.
    @inline(__always)
    mutating func lookAfterSickness(_ nowMs: Int64) {
        let epoch = pool.epoch
        if epoch == sickness.epoch && nowMs <= sickness.validUntilMs { return }
        let isFirst = sickness.epoch < 0
        if !isFirst && !(primary.isLinear && backup.isLinear) && nowMs < sickness.lookedMs + Self.looksEveryMs { return }
        look(epoch, nowMs)
    }

    /// With no peer to be had: whether there are some if sickness does not count. Then it does not, for a while.
    /// - Parameter healthyAreBusy: there are healthy ones, at their `maxConns`. They are waited for.
    mutating func usesAll(_ nowMs: Int64, healthyAreBusy: Bool) -> Bool {
        let epoch = pool.epoch
        if epoch != sickness.epoch {
            look(epoch, nowMs)
            return true
        }
        if healthyAreBusy || isPanicking || sickness.sick == 0 || panicPercent <= 0 { return false }
        setPanic(true, nowMs)
        sickness.validUntilMs = min(sickness.validUntilMs, nowMs + Self.usesAllMs)
        return true
    }

    private mutating func look(_ epoch: Int, _ nowMs: Int64) {
        var validUntilMs = Int64.max
        var (taking, sick, healthyBackups, sickBackups) = (0, 0, 0, 0)
        for slot in 0..<primary.count where !primary.slots[slot].isOut {
            let place = primary.slots[slot].sickness(nowMs)
            if place == .unchecked { continue }
            taking += 1
            if place == .standing { continue }
            sick += 1
            if !primary.slots[slot].isUnhealthy { validUntilMs = min(validUntilMs, primary.slots[slot].ejectedUntilMs) }
        }
        for slot in 0..<backup.count where !backup.slots[slot].isOut {
            let place = backup.slots[slot].sickness(nowMs)
            if place == .standing { healthyBackups += 1 } else if place == .sick { sickBackups += 1 }
        }
        sickness.epoch = epoch
        sickness.lookedMs = nowMs
        sickness.validUntilMs = validUntilMs
        sickness.sick = sick + sickBackups
        setPanic(sick > 0 && healthyBackups == 0 && (taking - sick) * 100 < taking * panicPercent, nowMs)
    }

    private mutating func setPanic(_ isPanic: Bool, _ nowMs: Int64) {
        isPanicking = isPanic
        primary.ignoresSickness = isPanic
        backup.ignoresSickness = isPanic
        if !primary.isLinear { primary.refreshAll(nowMs) }
        if !backup.isLinear { backup.refreshAll(nowMs) }
    }
}
