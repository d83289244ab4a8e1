// How two states differ, field by field, as /revisions/{a}/diff/{b} and plans tell it.
// Called by the controller. Ids of servers are no difference, nor is another spelling of the same address.

/// What is other in `to`, sorted by the words of the pointers; servers are named by their normalised address.
/// An upstream, split, variant or server that one side lacks is one difference with the whole of it as its value.
/// Servers in another order are a change of `/upstreams/NAME/servers`: balancing by hash goes by it.
public func differences(from: ProxyState, to: ProxyState) -> [StateDifference] {
    var list = DifferenceList()
    for name in Set(from.splits.keys).union(to.splits.keys).sorted() where from.splits[name] != to.splits[name] {
        let place = JSONPointer(["splits", name])
        if let old = from.splits[name], let new = to.splits[name] {
            list.append(old.fieldTexts, new.fieldTexts, place)
            let weights = place.appending("weights")
            for variant in Set(old.weights.keys).union(new.weights.keys).sorted() {
                list.append(
                    old.weights[variant].map { "\($0)" }, new.weights[variant].map { "\($0)" }, weights.appending(variant))
            }
        } else {
            list.append(from.splits[name]?.briefText, to.splits[name]?.briefText, place)
        }
    }
    for name in Set(from.upstreams.keys).union(to.upstreams.keys).sorted() where from.upstreams[name] != to.upstreams[name] {
        let place = JSONPointer(["upstreams", name])
        if let old = from.upstreams[name], let new = to.upstreams[name] {
            list.append(old.fieldTexts, new.fieldTexts, place, before: "servers")
            list.append(old, new, place.appending("servers"))
            list.append(old.fieldTexts, new.fieldTexts, place, after: "servers")
        } else {
            list.append(from.upstreams[name]?.briefText, to.upstreams[name]?.briefText, place)
        }
    }
    return list.differences
}

private struct DifferenceList {
    var differences: [StateDifference] = []

    mutating func append(_ from: String?, _ to: String?, _ place: JSONPointer) {
        if from == to { return }
        let kind: StateDifference.Kind = from == nil ? .added : to == nil ? .removed : .changed
        differences.append(StateDifference(kind, place.text, from: from, to: to))
    }

    /// Fields of the object at `place` whose names sort before `before` and after `after`.
    mutating func append(
        _ old: [FieldText], _ new: [FieldText], _ place: JSONPointer, before: String = "\u{7F}", after: String = ""
    ) {
        let oldTexts = Dictionary(old.map { ($0.name, $0.text) }, uniquingKeysWith: { first, _ in first })
        let newTexts = Dictionary(new.map { ($0.name, $0.text) }, uniquingKeysWith: { first, _ in first })
        for name in Set(oldTexts.keys).union(newTexts.keys).sorted() where name < before && name > after {
            append(oldTexts[name], newTexts[name], place.appending(name))
        }
    }

    /// Servers of an upstream; `place`: of the list.
    mutating func append(_ old: UpstreamState, _ new: UpstreamState, _ place: JSONPointer) {
        let oldNames = old.serverNames
        let newNames = new.serverNames
        let oldServers = Dictionary(zip(oldNames, old.servers), uniquingKeysWith: { first, _ in first })
        let newServers = Dictionary(zip(newNames, new.servers), uniquingKeysWith: { first, _ in first })
        if oldNames.filter({ newServers[$0] != nil }) != newNames.filter({ oldServers[$0] != nil }) {
            append(old.orderText, new.orderText, place)
        }
        for name in Set(oldNames).union(newNames).sorted() {
            if let before = oldServers[name], let after = newServers[name] {
                if before != after { append(before.fieldTexts, after.fieldTexts, place.appending(name)) }
            } else {
                append(oldServers[name]?.briefText, newServers[name]?.briefText, place.appending(name))
            }
        }
    }
}
