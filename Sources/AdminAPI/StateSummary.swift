// What differs between two states in one line, as the history of revisions and the answers to writes show it.
// Called by the controller for each change, however large: it words no more of the servers than the line has room for.

/// The line where nothing differs.
public let noChange = "no change"

/// `split app: blue 90 -> 50, green 10 -> 50; upstream blue: +127.0.0.1:3003`: what the operator wants to know first, in some 200
/// characters; then `and N more`, counted as `differences` counts. `no change` for none.
public func summary(from: ProxyState, to: ProxyState) -> String {
    var line = SummaryLine()
    for name in changedNames(from.certificates, to.certificates) {
        let text = to.certificates[name].map { "\($0.shortFingerprint), valid to \($0.lastDay)" } ?? "the file's again"
        line.append(Phrase(subject: "certificate \(name)", text: text))
    }
    for name in changedNames(from.splits, to.splits) {
        if let old = from.splits[name], let new = to.splits[name], old.hasTemplates(of: new) {
            line.appendWeights(name, old.weights, new.weights)
            continue
        }
        for change in splitChanges(name, from.splits[name], to.splits[name]) { line.append(splitPhrase(change)) }
    }
    for name in changedNames(from.upstreams, to.upstreams) {
        if let old = from.upstreams[name], let new = to.upstreams[name] {
            line.appendUpstream(name, old, new)
        } else {
            line.append(Phrase(text: (from.upstreams[name] == nil ? "+" : "-") + "upstream \(name)"))
        }
    }
    return line.text
}

/// A part of the line.
private struct Phrase {
    /// `split app`; empty: the text stands for itself.
    var subject = ""
    var text: String
    /// Differences it tells of.
    var count = 1
}

private func splitPhrase(_ change: FieldChange) -> Phrase {
    let path = change.path
    if path.count == 2 { return Phrase(text: sign(change) + "split \(path[1])") }
    let subject = "split \(path[1])"
    if path.count == 4 {
        switch change.kind {
        case .added: return Phrase(subject: subject, text: "+\(path[3]) \(shown(change.to))")
        case .removed: return Phrase(subject: subject, text: "-\(path[3])")
        case .changed: return Phrase(subject: subject, text: "\(path[3]) \(transition(change))")
        }
    }
    return Phrase(subject: subject, text: "\(path[2]) \(transition(change))")
}

private struct SummaryLine {
    private static let lengthMax = 200
    /// More names than this, each with its comma and sign, are more than the line has room for.
    private static let namesMax = lengthMax / 4
    private var said = ""
    private var hidden = 0
    private var lastSubject = ""

    var text: String {
        if said.isEmpty { return noChange }
        let line = said.utf8.contains { $0 < 0x20 || $0 == 0x7F } ? oneLine(said) : said
        return hidden > 0 ? line + ", and \(hidden) more" : line
    }

    mutating func append(_ phrase: Phrase) {
        if hidden > 0 {
            hidden += phrase.count
            return
        }
        let isSame = phrase.subject == lastSubject && !phrase.subject.isEmpty
        var addition = said.isEmpty ? "" : isSame ? ", " : "; "
        if !isSame, !phrase.subject.isEmpty {
            addition += phrase.subject
            addition += ": "
        }
        addition += phrase.text
        // Characters are counted where bytes are too many.
        if !said.isEmpty, said.utf8.count + addition.utf8.count > Self.lengthMax, said.count + addition.count > Self.lengthMax {
            hidden += phrase.count
            return
        }
        said += addition
        lastSubject = phrase.subject
    }

    /// Variants whose weights changed.
    mutating func appendWeights(_ name: String, _ old: [String: Int], _ new: [String: Int]) {
        let subject = "split " + name
        for variant in changedNames(old, new) {
            switch (old[variant], new[variant]) {
            case (let before?, let after?): append(Phrase(subject: subject, text: Self.joined([variant, " ", String(before), " -> ", String(after)])))
            case (_, let after?): append(Phrase(subject: subject, text: Self.joined(["+", variant, " ", String(after)])))
            default: append(Phrase(subject: subject, text: "-" + variant))
            }
        }
    }

    private static func joined(_ parts: [String]) -> String {
        var text = ""
        text.reserveCapacity(parts.reduce(0) { $0 + $1.utf8.count })
        for part in parts { text += part }
        return text
    }

    /// Its fields, servers that changed, those that came, those that went.
    mutating func appendUpstream(_ name: String, _ old: UpstreamState, _ new: UpstreamState) {
        let subject = "upstream \(name)"
        // Most often many servers change alike, and none comes or goes.
        let isAligned = new.hasAddresses(of: old)
        let servers = isAligned ? ServerChanges() : ServerChanges(from: old, to: new)
        let phrases = isAligned
            ? serverPhrases(old.servers, new.servers, subject: subject)
            : serverPhrases(servers.changed.map(\.old), servers.changed.map(\.new), names: servers.changed.map(\.name), subject: subject)
        var fields = fieldChanges([], old.fieldTexts, new.fieldTexts).map { (name: $0.path[0], text: transition($0)) }
        if servers.isReordered {
            fields.insert(("servers", "reordered"), at: fields.firstIndex { $0.name > "servers" } ?? fields.count)
        }
        for field in fields { append(Phrase(subject: subject, text: "\(field.name) \(field.text)")) }
        for phrase in phrases { append(phrase) }
        append("+", servers.added.map(\.name), subject)
        append("-", servers.removed.map(\.name), subject)
    }

    private mutating func append(_ sign: String, _ names: [String], _ subject: String) {
        for name in smallest(Self.namesMax, of: names, name: { $0 }) { append(Phrase(subject: subject, text: sign + name)) }
        hidden += max(0, names.count - Self.namesMax)
    }
}

/// What is told of servers alike: which they are, by their places.
private struct ServerGroup {
    var words: String
    /// Differences of each.
    var count: Int
    var places: [Int] = []
}

/// Servers of which the same is told share a phrase: `servers a:80, b:80 and 3 more drain`.
/// - Parameters:
///   - old: in the same order as `new`.
///   - names: of the servers; nil: they are all there are, and named by their addresses.
private func serverPhrases(_ old: [ServerState], _ new: [ServerState], names: [String]? = nil, subject: String) -> [Phrase] {
    let namedMax = 3
    let knownMax = 16
    var groups: [ServerGroup] = []
    // Changes that were put into words already: most are like one of the last few, and words are dear where there are 10,000.
    var known: [(place: Int, group: Int)] = []
    var next = 0
    for i in new.indices where !old[i].isAlike(new[i]) {
        if let like = known.first(where: { old[$0.place].isAlike(old[i]) && new[$0.place].isAlike(new[i]) }) {
            groups[like.group].places.append(i)
            continue
        }
        let fields = fieldChanges([], old[i].fieldTexts, new[i].fieldTexts)
        let words = fields.map { fieldWords($0) }.joined(separator: " and ")
        let group = groups.firstIndex { $0.words == words } ?? groups.count
        if group == groups.count { groups.append(ServerGroup(words: words, count: fields.count)) }
        groups[group].places.append(i)
        if known.count < knownMax { known.append((i, group)) } else { known[next] = (i, group) }
        next = (next + 1) % knownMax
    }
    let phrases = groups.map { group in
        let places = smallest(namedMax, of: group.places) { names?[$0] ?? new[$0].server }
        let named = places.map { names?[$0] ?? name(of: $0, in: new) }
        var list = named.joined(separator: ", ")
        if group.places.count > namedMax {
            list = named[..<(namedMax - 1)].joined(separator: ", ") + " and \(group.places.count - namedMax + 1) more"
        }
        let text = "server\(named.count == 1 ? "" : "s") \(list) \(group.words)"
        return (first: named[0], phrase: Phrase(subject: subject, text: text, count: group.count * group.places.count))
    }
    return phrases.sorted { $0.first < $1.first }.map(\.phrase)
}

/// As `serverNames` has it: of thousands only those few are looked at that are named.
private func name(of place: Int, in servers: [ServerState]) -> String {
    let text = servers[place].server
    var count = 1
    for i in 0..<place where servers[i].server == text { count += 1 }
    return ServerNames.name(normalisedAddress(text), count)
}

/// The first `count` in the order of their names, without putting all of them in order.
private func smallest<Item>(_ count: Int, of items: [Item], name: (Item) -> String) -> [Item] {
    var first = items.prefix(count).map { (name: name($0), item: $0) }.sorted { $0.name < $1.name }
    for item in items.dropFirst(count) {
        let name = name(item)
        guard let last = first.last, name < last.name else { continue }
        first.removeLast()
        first.insert((name, item), at: first.firstIndex { name < $0.name } ?? first.count)
    }
    return first.map(\.item)
}

/// `drain`, `drain off`, `weight 1 -> 5`.
private func fieldWords(_ change: FieldChange) -> String {
    let name = change.path.last ?? ""
    return switch (change.from, change.to) {
    case ("false", "true"): name
    case ("true", "false"): "\(name) off"
    default: "\(name) \(transition(change))"
    }
}

private func transition(_ change: FieldChange) -> String { "\(shown(change.from)) -> \(shown(change.to))" }

private func sign(_ change: FieldChange) -> String {
    switch change.kind {
    case .added: "+"
    case .removed: "-"
    case .changed: "changed "
    }
}

/// A JSON text as the line has it: short, a plain string without its quotes.
private func shown(_ value: String?) -> String {
    let lengthMax = 48
    guard var text = value else { return "none" }
    if text.utf8.count > 2, text.utf8.first == UInt8(ascii: "\""), text.utf8.last == UInt8(ascii: "\"") { text = plain(text.dropFirst().dropLast()) }
    return text.utf8.count > lengthMax && text.count > lengthMax ? text.prefix(lengthMax) + "..." : text
}

/// The inside of a JSON string; escapes of what is no sign stay.
private func plain(_ inside: Substring) -> String {
    var text = ""
    var isEscape = false
    for character in inside {
        if isEscape, character != "\"", character != "\\" { text.append("\\") }
        if isEscape || character != "\\" { text.append(character) }
        isEscape = !isEscape && character == "\\"
    }
    return text
}

/// Whatever names and addresses hold, the line stays one line.
private func oneLine(_ text: String) -> String {
    var line = ""
    for scalar in text.unicodeScalars {
        line.unicodeScalars.append(scalar.value < 0x20 || scalar.value == 0x7F ? "?" : scalar)
    }
    return line
}
