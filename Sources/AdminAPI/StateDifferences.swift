// How two states differ, field by field, as /revisions/{a}/diff/{b} and plans tell it.
// Called by the controller. Ids of servers are no difference, nor is another spelling of the same address.

/// What is other in `to`, sorted by the words of the pointers; servers are named by their normalised address.
/// An upstream, split, variant or server that one side lacks is one difference with the whole of it as its value.
/// Servers in another order are a change of `/upstreams/NAME/servers`: balancing by hash goes by it.
public func differences(from: ProxyState, to: ProxyState) -> [StateDifference] {
    var found: [StateDifference] = []
    for name in Set(from.splits.keys).union(to.splits.keys).sorted() where from.splits[name] != to.splits[name] {
        let place = StateText.pointer("splits", name)
        if let old = from.splits[name], let new = to.splits[name] {
            appendFields(old.fieldTexts, new.fieldTexts, at: place, to: &found)
            for variant in Set(old.weights.keys).union(new.weights.keys).sorted() {
                append(
                    from: old.weights[variant].map { "\($0)" }, to: new.weights[variant].map { "\($0)" },
                    place + StateText.pointer("weights", variant),
                    to: &found)
            }
        } else {
            append(from: from.splits[name]?.jsonText, to: to.splits[name]?.jsonText, place, to: &found)
        }
    }
    for name in Set(from.upstreams.keys).union(to.upstreams.keys).sorted() where from.upstreams[name] != to.upstreams[name] {
        let place = StateText.pointer("upstreams", name)
        if let old = from.upstreams[name], let new = to.upstreams[name] {
            let isBeforeServers = { (field: (name: String, text: String?)) in field.name < "servers" }
            appendFields(old.fieldTexts.filter(isBeforeServers), new.fieldTexts.filter(isBeforeServers), at: place, to: &found)
            appendServers(of: old, new, at: place + "/servers", to: &found)
            appendFields(
                old.fieldTexts.filter { !isBeforeServers($0) }, new.fieldTexts.filter { !isBeforeServers($0) }, at: place,
                to: &found)
        } else {
            append(from: from.upstreams[name]?.jsonText, to: to.upstreams[name]?.jsonText, place, to: &found)
        }
    }
    return found
}

private func appendServers(of old: UpstreamState, _ new: UpstreamState, at place: String, to found: inout [StateDifference]) {
    let oldNames = old.serverNames
    let newNames = new.serverNames
    let oldServers = Dictionary(zip(oldNames, old.servers), uniquingKeysWith: { first, _ in first })
    let newServers = Dictionary(zip(newNames, new.servers), uniquingKeysWith: { first, _ in first })
    if oldNames.filter({ newServers[$0] != nil }) != newNames.filter({ oldServers[$0] != nil }) {
        append(from: old.orderText, to: new.orderText, place, to: &found)
    }
    for name in Set(oldNames).union(newNames).sorted() {
        let serverPlace = place + StateText.pointer(name)
        if let before = oldServers[name], let after = newServers[name] {
            if before != after { appendFields(before.fieldTexts, after.fieldTexts, at: serverPlace, to: &found) }
        } else {
            append(from: oldServers[name]?.jsonText, to: newServers[name]?.jsonText, serverPlace, to: &found)
        }
    }
}

/// Both lists have the same names in the same order.
private func appendFields(
    _ old: [(name: String, text: String?)], _ new: [(name: String, text: String?)], at place: String,
    to found: inout [StateDifference]
) {
    for (before, after) in zip(old, new) {
        append(from: before.text, to: after.text, place + StateText.pointer(before.name), to: &found)
    }
}

private func append(from: String?, to: String?, _ pointer: String, to found: inout [StateDifference]) {
    if from == to { return }
    let kind: StateDifference.Kind = from == nil ? .added : to == nil ? .removed : .changed
    found.append(StateDifference(kind, pointer, from: from, to: to))
}
