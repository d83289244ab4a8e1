// What a reload makes of a file that was edited and a running state that was changed too: a three-way merge, field by field.
// Called by the controller at HUP, at /reload and at a restart. It decides; telling the operator is for others.

/// `running` with what `file` changed since `base`. Of upstreams, their fields, servers (by normalised address), their fields,
/// splits, their weights by variant, key, force and assign, each on its own, a side that did not change yields to the one that
/// did. What both changed, and not to the same, is a conflict: the running value wins, or the file's if `preferringFile`.
///
/// The merged state holds together whatever the sides did, each being a good state: an upstream that a split names stays; an
/// upstream that the rules refuse, such as one without servers, and a split without weight are those of the winning side as
/// a whole. Each is told as a conflict.
/// Servers are numbered after those of `running`.
/// - Parameters:
///   - base: what the file said when it was last read.
///   - file: what it says now.
/// - Returns: the state, and the conflicts sorted by pointer, at most one a pointer.
public func merge(
    base: ProxyState, file: ProxyState, running: ProxyState, preferringFile: Bool = false
) -> (merged: ProxyState, conflicts: [MergeConflict]) {
    var merger = StateMerger(base: base, file: file, running: running, preferringFile: preferringFile)
    var merged = merger.merged()
    merger.settle(&merged)
    return (merged.numbered(after: running), merger.conflicts.values.sorted { $0.pointer < $1.pointer })
}

/// What is merged as a whole where a side lacks it.
private protocol Mergeable: Equatable {
    /// Equal for values that mean the same.
    var meaning: Self { get }
    var briefText: String { get }
}

/// What is merged field by field where all have it.
private protocol MergeableObject: Mergeable {
    var fieldTexts: [FieldText] { get }
}

extension Int: Mergeable {
    fileprivate var meaning: Int { self }
    fileprivate var briefText: String { "\(self)" }
}

extension ServerState: MergeableObject {
    fileprivate var meaning: ServerState {
        var server = self
        server.id = -1
        server.server = normalisedAddress(self.server)
        return server
    }
}

extension UpstreamState: MergeableObject {
    fileprivate var meaning: UpstreamState {
        var upstream = self
        upstream.nextServerID = 0
        upstream.servers = servers.map(\.meaning)
        return upstream
    }
}

extension UpstreamState {
    fileprivate var isGood: Bool { (try? StateRules.check(upstream: self)) != nil }
}

extension SplitState: MergeableObject {
    fileprivate var meaning: SplitState { self }

    fileprivate var isGood: Bool {
        if let shadow, weights[shadow.to] == nil { return false }
        return weights.values.contains { $0 > 0 } && weights.count <= StateBounds.variantsMax
    }
}

/// The three values of one thing.
private struct Sides<Value> {
    var base: Value
    var file: Value
    var running: Value

    func map<Other>(_ other: (Value) -> Other) -> Sides<Other> {
        Sides<Other>(base: other(base), file: other(file), running: other(running))
    }
}

private struct StateMerger {
    let states: Sides<ProxyState>
    let preferringFile: Bool
    /// By pointer.
    private(set) var conflicts: [String: MergeConflict] = [:]

    init(base: ProxyState, file: ProxyState, running: ProxyState, preferringFile: Bool) {
        states = Sides(base: base, file: file, running: running)
        self.preferringFile = preferringFile
    }

    private var winner: ProxyState { preferringFile ? states.file : states.running }
    private var loser: ProxyState { preferringFile ? states.running : states.file }

    mutating func merged() -> ProxyState {
        // What was put at run time has nothing in the file that it could be merged with: see `Controller.certificatesThatStay`.
        var merged = ProxyState(certificates: states.running.certificates)
        for name in names(states.map(\.splits)) {
            let place = JSONPointer(["splits", name])
            merged.splits[name] = object(states.map { $0.splits[name] }, place) { $0.split($1, place) }
        }
        for name in names(states.map(\.upstreams)) {
            let place = JSONPointer(["upstreams", name])
            merged.upstreams[name] = object(states.map { $0.upstreams[name] }, place) { $0.upstream($1, place) }
        }
        return merged
    }

    private func names<Value>(_ sides: Sides<[String: Value]>) -> [String] {
        Set(sides.file.keys).union(sides.running.keys).sorted()
    }

    // MARK: One thing

    /// The side to take; nil: both changed, and not to the same.
    private func taken<Value>(_ sides: Sides<Value>, _ isSame: (Value, Value) -> Bool) -> Value? {
        if isSame(sides.file, sides.base) { return sides.running }
        if isSame(sides.running, sides.base) { return sides.file }
        return isSame(sides.file, sides.running) ? sides.running : nil
    }

    private mutating func conflict<Value>(_ sides: Sides<Value>, _ place: JSONPointer, _ text: (Value) -> String?) -> Value {
        if conflicts[place.text] == nil {
            let texts = sides.map(text)
            conflicts[place.text] = MergeConflict(
                pointer: place.text, was: texts.base, inFile: texts.file, running: texts.running)
        }
        return preferringFile ? sides.file : sides.running
    }

    /// `merge`: where all three have one.
    private mutating func object<Value: Mergeable>(
        _ sides: Sides<Value?>, _ place: JSONPointer, _ merge: (inout StateMerger, Sides<Value>) -> Value
    ) -> Value? {
        if let base = sides.base, let file = sides.file, let running = sides.running {
            return merge(&self, Sides(base: base, file: file, running: running))
        }
        if let value = taken(sides, { $0?.meaning == $1?.meaning }) { return value }
        return conflict(sides, place) { $0?.briefText }
    }

    private mutating func value<Value: Mergeable>(_ sides: Sides<Value>, _ place: JSONPointer) -> Value {
        taken(sides, ==) ?? conflict(sides, place) { $0.briefText }
    }

    private mutating func field<Object: MergeableObject, Value: Equatable>(
        _ path: WritableKeyPath<Object, Value>, _ name: String, _ sides: Sides<Object>, _ place: JSONPointer,
        into merged: inout Object
    ) {
        if let value = taken(sides.map { $0[keyPath: path] }, ==) {
            merged[keyPath: path] = value
            return
        }
        let side = conflict(sides, place.appending(name)) { $0.fieldTexts.first { $0.name == name }?.text }
        merged[keyPath: path] = side[keyPath: path]
    }

    // MARK: Objects

    private mutating func split(_ sides: Sides<SplitState>, _ place: JSONPointer) -> SplitState {
        var merged = sides.running
        merged.weights = [:]
        for variant in names(sides.map(\.weights)) {
            let place = place.appending("weights").appending(variant)
            merged.weights[variant] = object(sides.map { $0.weights[variant] }, place) { $0.value($1, place) }
        }
        field(\.key, "key", sides, place, into: &merged)
        field(\.force, "force", sides, place, into: &merged)
        field(\.assign, "assign", sides, place, into: &merged)
        field(\.shadow, "shadow", sides, place, into: &merged)
        return merged.isGood ? merged : conflict(sides, place) { $0.briefText }
    }

    private mutating func upstream(_ sides: Sides<UpstreamState>, _ place: JSONPointer) -> UpstreamState {
        var merged = sides.running
        merged.nextServerID = max(sides.file.nextServerID, sides.running.nextServerID)
        field(\.balance, "balance", sides, place, into: &merged)
        field(\.keepalive, "keepalive", sides, place, into: &merged)
        field(\.keepaliveIsLocal, "keepalive_local", sides, place, into: &merged)
        field(\.keepaliveRequests, "keepalive_requests", sides, place, into: &merged)
        field(\.keepaliveTimeMs, "keepalive_time", sides, place, into: &merged)
        field(\.keepaliveTimeoutMs, "keepalive_timeout", sides, place, into: &merged)
        field(\.sticky, "sticky", sides, place, into: &merged)
        field(\.circuitBreaker, "circuit_breaker", sides, place, into: &merged)
        field(\.outlierDetection, "outlier_detection", sides, place, into: &merged)
        field(\.healthChecks, "health_checks", sides, place, into: &merged)
        field(\.panicThreshold, "panic_threshold", sides, place, into: &merged)
        field(\.queue, "queue", sides, place, into: &merged)
        field(\.retryBudget, "retry_budget", sides, place, into: &merged)
        merged.servers = servers(sides, place.appending("servers"))
        // A configuration may hold what the rules refuse, such as an address twice: no reason to take all of it.
        let mayBeBad = !(preferringFile ? sides.file : sides.running).isGood && !merged.servers.isEmpty
        return merged.isGood || mayBeBad ? merged : conflict(sides, place) { $0.briefText }
    }

    private mutating func servers(_ sides: Sides<UpstreamState>, _ place: JSONPointer) -> [ServerState] {
        let order = sides.map(\.serverNames)
        let byName = Sides(
            base: Dictionary(zip(order.base, sides.base.servers), uniquingKeysWith: { first, _ in first }),
            file: Dictionary(zip(order.file, sides.file.servers), uniquingKeysWith: { first, _ in first }),
            running: Dictionary(zip(order.running, sides.running.servers), uniquingKeysWith: { first, _ in first }))
        var merged: [String: ServerState] = [:]
        for name in names(byName) {
            let place = place.appending(name)
            merged[name] = object(byName.map { $0[name] }, place) { $0.server($1, place) }
        }
        if ordersDiffer(order) { _ = conflict(sides, place) { $0.orderText } }
        return mergedOrder(order).compactMap { merged[$0] }
    }

    private mutating func server(_ sides: Sides<ServerState>, _ place: JSONPointer) -> ServerState {
        var merged = sides.running
        // Another spelling of the same address: no conflict.
        merged.server = taken(sides.map(\.server), ==) ?? merged.server
        field(\.weight, "weight", sides, place, into: &merged)
        field(\.maxConns, "max_conns", sides, place, into: &merged)
        field(\.maxFails, "max_fails", sides, place, into: &merged)
        field(\.failTimeoutMs, "fail_timeout", sides, place, into: &merged)
        field(\.slowStartMs, "slow_start", sides, place, into: &merged)
        field(\.backup, "backup", sides, place, into: &merged)
        field(\.down, "down", sides, place, into: &merged)
        field(\.drain, "drain", sides, place, into: &merged)
        return merged
    }

    // MARK: The order of servers

    private func isReordered(_ names: [String], since base: [String]) -> Bool {
        let (old, new) = (Set(base), Set(names))
        return base.filter { new.contains($0) } != names.filter { old.contains($0) }
    }

    private func ordersDiffer(_ order: Sides<[String]>) -> Bool {
        isReordered(order.file, since: order.base) && isReordered(order.running, since: order.base)
            && isReordered(order.file, since: order.running)
    }

    /// The names of both sides, each once: in the order of the side that changed it, and those that it lacks behind what they
    /// follow on the other.
    private func mergedOrder(_ order: Sides<[String]>) -> [String] {
        let leadsByFile: Bool
        if order.file == order.base {
            leadsByFile = false
        } else if order.running == order.base {
            leadsByFile = true
        } else {
            let fileIsReordered = isReordered(order.file, since: order.base)
            leadsByFile = fileIsReordered == isReordered(order.running, since: order.base) ? preferringFile : fileIsReordered
        }
        let (leader, follower) = leadsByFile ? (order.file, order.running) : (order.running, order.file)
        let leading = Set(leader)
        var first: [String] = []
        var behind: [String: [String]] = [:]
        var last: String?
        for name in follower {
            if leading.contains(name) {
                last = name
            } else if let last {
                behind[last, default: []].append(name)
            } else {
                first.append(name)
            }
        }
        return first + leader.flatMap { [$0] + (behind[$0] ?? []) }
    }

    // MARK: What objects say of each other

    /// No name twice, and no split with a variant that is not there. Each step takes an object from a side, the winner if it
    /// can, and so there is a last one.
    mutating func settle(_ merged: inout ProxyState) {
        while settleNames(&merged) || settleVariants(&merged) {}
    }

    /// Where one side made an upstream and the other a split of the same name. Whether anything changed.
    private mutating func settleNames(_ merged: inout ProxyState) -> Bool {
        var hasChanged = false
        for name in merged.splits.keys.sorted() {
            let (upstream, split) = (winner.upstreams[name], winner.splits[name])
            guard merged.upstreams[name] != nil, upstream == nil || split == nil else { continue }
            _ = conflict(states.map { $0.upstreams[name] }, JSONPointer(["upstreams", name])) { $0?.briefText }
            _ = conflict(states.map { $0.splits[name] }, JSONPointer(["splits", name])) { $0?.briefText }
            merged.upstreams[name] = upstream
            merged.splits[name] = split
            hasChanged = true
        }
        return hasChanged
    }

    /// Where one side removed an upstream and the other made it a variant. Whether anything changed.
    private mutating func settleVariants(_ merged: inout ProxyState) -> Bool {
        for (name, split) in merged.splits.sorted(by: { $0.key < $1.key }) {
            for variant in split.weights.keys.sorted() where merged.upstreams[variant] == nil {
                let kept = winner.upstreams[variant] ?? (merged.splits[variant] == nil ? loser.upstreams[variant] : nil)
                if let kept {
                    _ = conflict(states.map { $0.upstreams[variant] }, JSONPointer(["upstreams", variant])) { $0?.briefText }
                    merged.upstreams[variant] = kept
                    return true
                }
                // The name belongs to a split by now: this split cannot be as the loser wants it.
                if winner.splits[name] != split {
                    merged.splits[name] = conflict(states.map { $0.splits[name] }, JSONPointer(["splits", name])) {
                        $0?.briefText
                    }
                    return true
                }
            }
        }
        return false
    }
}
