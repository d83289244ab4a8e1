// How two states differ, field by field, as /revisions/{a}/diff/{b} and plans tell it.
// Called by the controller. Ids of servers are no difference, nor is another spelling of the same address.

/// What is other in `to`, sorted by the words of the pointers; servers are named by their normalised address.
/// An upstream, split, variant or server that one side lacks is one difference with the whole of it as its value.
/// Servers in another order are a change of `/upstreams/NAME/servers`: balancing by hash goes by it.
public func differences(from: ProxyState, to: ProxyState) -> [StateDifference] {
    var changes: [FieldChange] = []
    for name in changedNames(from.certificates, to.certificates) {
        changes.append(["certificates", name], from.certificates[name]?.briefText, to.certificates[name]?.briefText)
    }
    for name in changedNames(from.splits, to.splits) { changes += splitChanges(name, from.splits[name], to.splits[name]) }
    for name in changedNames(from.upstreams, to.upstreams) {
        if let old = from.upstreams[name], let new = to.upstreams[name] {
            changes += upstreamChanges(name, old, new)
        } else {
            changes.append(["upstreams", name], from.upstreams[name]?.briefText, to.upstreams[name]?.briefText)
        }
    }
    return changes.map { StateDifference($0.kind, JSONPointer($0.path).text, from: $0.from, to: $0.to) }
}

/// One value that differs, where it is in the JSON of a state, and its JSON on both sides.
struct FieldChange {
    var path: [String]
    var from: String?
    var to: String?
    var kind: StateDifference.Kind { from == nil ? .added : to == nil ? .removed : .changed }
}

extension [FieldChange] {
    fileprivate mutating func append(_ path: [String], _ from: String?, _ to: String?) {
        if from != to { append(FieldChange(path: path, from: from, to: to)) }
    }
}

/// Sorted.
func changedNames<Value: Equatable>(_ old: [String: Value], _ new: [String: Value]) -> [String] {
    if old == new { return [] }
    var names: [String] = []
    for (name, value) in new where old[name] != value { names.append(name) }
    for name in old.keys where new[name] == nil { names.append(name) }
    return names.sorted()
}

/// By the names of the fields.
func fieldChanges(_ path: [String], _ old: [FieldText], _ new: [FieldText]) -> [FieldChange] {
    let oldTexts = Dictionary(old.map { ($0.name, $0.text) }, uniquingKeysWith: { first, _ in first })
    let newTexts = Dictionary(new.map { ($0.name, $0.text) }, uniquingKeysWith: { first, _ in first })
    return changedNames(oldTexts, newTexts).map { FieldChange(path: path + [$0], from: oldTexts[$0], to: newTexts[$0]) }
}

extension SplitState {
    /// Whether nothing but weights is other.
    public func hasTemplates(of other: SplitState) -> Bool {
        key == other.key && force == other.force && assign == other.assign && shadow == other.shadow
    }
}

func splitChanges(_ name: String, _ old: SplitState?, _ new: SplitState?) -> [FieldChange] {
    let path = ["splits", name]
    guard let old, let new else { return [FieldChange(path: path, from: old?.briefText, to: new?.briefText)] }
    // Templates change seldom.
    var changes: [FieldChange] = []
    if !old.hasTemplates(of: new) {
        changes = fieldChanges(path, old.fieldTexts, new.fieldTexts)
    }
    for variant in changedNames(old.weights, new.weights) {
        changes.append(path + ["weights", variant], old.weights[variant].map { "\($0)" }, new.weights[variant].map { "\($0)" })
    }
    return changes
}

private func upstreamChanges(_ name: String, _ old: UpstreamState, _ new: UpstreamState) -> [FieldChange] {
    let path = ["upstreams", name]
    let servers = ServerChanges(from: old, to: new)
    var inside: [FieldChange] = []
    for (server, before) in servers.removed { inside.append(path + ["servers", server], before.briefText, nil) }
    for (server, after) in servers.added { inside.append(path + ["servers", server], nil, after.briefText) }
    for change in servers.changed {
        inside += fieldChanges(path + ["servers", change.name], change.old.fieldTexts, change.new.fieldTexts)
    }
    inside.sort { ($0.path[3], $0.path.last ?? "") < ($1.path[3], $1.path.last ?? "") }
    if servers.isReordered { inside.insert(FieldChange(path: path + ["servers"], from: old.orderText, to: new.orderText), at: 0) }
    var changes = fieldChanges(path, old.fieldTexts, new.fieldTexts)
    changes.insert(contentsOf: inside, at: changes.firstIndex { $0.path[2] > "servers" } ?? changes.count)
    return changes
}

/// Which servers of an upstream came, went and changed, by name, in no order.
struct ServerChanges {
    private(set) var changed: [(name: String, old: ServerState, new: ServerState)] = []
    private(set) var added: [(name: String, server: ServerState)] = []
    private(set) var removed: [(name: String, server: ServerState)] = []
    /// Those that stay stand otherwise among each other.
    private(set) var isReordered = false

    init() {}

    init(from old: UpstreamState, to new: UpstreamState) {
        if old.servers == new.servers { return }
        if new.hasAddresses(of: old) {
            let differing = new.servers.indices.filter { !old.servers[$0].isAlike(new.servers[$0]) }
            if differing.isEmpty { return }
            let names = new.serverNames
            changed = differing.map { (names[$0], old.servers[$0], new.servers[$0]) }
            return
        }
        let names = ServerNames(old.servers)
        var stays = [Bool](repeating: false, count: old.servers.count)
        var last = -1
        for (name, server) in zip(new.serverNames, new.servers) {
            guard let place = names[name] else {
                added.append((name, server))
                continue
            }
            stays[place] = true
            isReordered = isReordered || place < last
            last = place
            if !old.servers[place].isAlike(server) { changed.append((name, old.servers[place], server)) }
        }
        for place in stays.indices where !stays[place] { removed.append((names.list[place], old.servers[place])) }
    }
}
