// Fields of a state's objects as JSON text, to compare and to show: what differences and conflicts hold.
// Called by differences and merge. Ids of servers are left out: they mean nothing to a reader.

/// A field by its name in JSON. One that may be absent and is has none.
struct FieldText: Equatable {
    var name: String
    var text: String
}

extension JSON {
    /// The members as texts, sorted by name, without those named.
    fileprivate func fieldTexts(without names: Set<String>) -> [FieldText] {
        (object ?? []).filter { !names.contains($0.name) }.map { FieldText(name: $0.name, text: $0.value.text(pretty: false)) }
    }

    /// Without the members that `defaults` has alike and without the id, on one line.
    fileprivate func brief(_ defaults: JSON) -> JSON {
        let usual = Dictionary((defaults.object ?? []).map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
        return .object((object ?? []).filter { $0.name != "id" && usual[$0.name] != $0.value })
    }
}

extension ServerState {
    /// Fields besides `server` and `id`.
    var fieldTexts: [FieldText] { json.fieldTexts(without: ["id", "server"]) }

    /// The whole server; fields that have their defaults are left out.
    var briefJSON: JSON { json.brief(ServerState(server: "").json) }
    var briefText: String { briefJSON.text(pretty: false) }
}

extension UpstreamState {
    /// Fields besides the servers.
    var fieldTexts: [FieldText] {
        var bare = self
        bare.servers = []
        return bare.json.fieldTexts(without: ["servers"])
    }

    /// The whole upstream; fields that have their defaults are left out.
    var briefText: String {
        var bare = self
        bare.servers = []
        let servers = JSON.members(["servers": .array(servers.map(\.briefJSON))])
        return bare.json.brief(UpstreamState().json).merging(servers).text(pretty: false)
    }

    /// The addresses in their order.
    var orderText: String { JSON.array(servers.map { .string($0.server) }).text(pretty: false) }
}

extension SplitState {
    /// Fields besides the weights.
    var fieldTexts: [FieldText] { json.fieldTexts(without: ["weights"]) }

    /// The whole split; fields that have their defaults are left out.
    var briefText: String { json.brief(SplitState(weights: [:]).json).text(pretty: false) }
}
