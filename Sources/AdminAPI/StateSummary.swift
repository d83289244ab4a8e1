// Differences in one line, as the history of revisions and the answers to writes show them.
// Called by the controller. It knows differences alone, not the states.

/// `split app: blue 90 -> 50, green 10 -> 50; upstream blue: +127.0.0.1:3003`: what the operator wants to know first, in some 200
/// characters; then `and N more`. `no change` for none.
/// `differences`: sorted as `differences(from:to:)` gives them.
public func summary(of differences: [StateDifference]) -> String {
    let lengthMax = 200
    var text = ""
    var hidden = 0
    var lastSubject: String?
    for phrase in phrases(of: differences) {
        let isSame = phrase.subject == lastSubject && !phrase.subject.isEmpty
        let start = text.isEmpty ? "" : isSame ? ", " : "; "
        let subject = isSame || phrase.subject.isEmpty ? "" : "\(phrase.subject): "
        let addition = start + subject + phrase.text
        if hidden > 0 || (!text.isEmpty && text.count + addition.count > lengthMax) {
            hidden += phrase.count
            continue
        }
        text += addition
        lastSubject = phrase.subject
    }
    if text.isEmpty { return "no change" }
    return oneLine(text) + (hidden > 0 ? ", and \(hidden) more" : "")
}

/// A part of the line.
private struct Phrase {
    /// `split app`; empty: the text stands for itself.
    var subject = ""
    var text: String
    /// Differences it tells of.
    var count = 1
}

private func phrases(of differences: [StateDifference]) -> [Phrase] {
    var all: [Phrase] = []
    var i = 0
    let paths = differences.map { words(of: $0.pointer) }
    while i < differences.count {
        var end = i + 1
        while end < differences.count, paths[end].prefix(2) == paths[i].prefix(2) { end += 1 }
        let path = paths[i]
        switch path.first {
        case "splits" where path.count >= 2:
            all += zip(paths[i..<end], differences[i..<end]).map { splitPhrase($0, $1) }
        case "upstreams" where path.count >= 2:
            all += upstreamPhrases(Array(zip(paths[i..<end], differences[i..<end])))
        default:
            all += differences[i..<end].map { Phrase(text: "\($0.pointer) \(transition($0))") }
        }
        i = end
    }
    return all
}

private func splitPhrase(_ path: [String], _ difference: StateDifference) -> Phrase {
    if path.count == 2 { return Phrase(text: sign(difference) + "split \(path[1])") }
    let subject = "split \(path[1])"
    if path.count == 4, path[2] == "weights" {
        switch difference.kind {
        case .added: return Phrase(subject: subject, text: "+\(path[3]) \(shown(difference.to))")
        case .removed: return Phrase(subject: subject, text: "-\(path[3])")
        case .changed: return Phrase(subject: subject, text: "\(path[3]) \(transition(difference))")
        }
    }
    return Phrase(subject: subject, text: "\(path[2]) \(transition(difference))")
}

/// A pointer that is none is one word.
private func words(of pointer: String) -> [String] { JSONPointer(pointer)?.tokens ?? [pointer] }

/// Of one upstream: its fields, servers that changed, those that came, those that went.
private func upstreamPhrases(_ differences: [(path: [String], difference: StateDifference)]) -> [Phrase] {
    var fields: [Phrase] = []
    var changes: [(server: String, words: String, count: Int)] = []
    var added: [Phrase] = []
    var removed: [Phrase] = []
    for (path, difference) in differences {
        let subject = "upstream \(path[1])"
        switch (path.count, difference.kind) {
        case (2, _): fields.append(Phrase(text: sign(difference) + subject))
        case (3, _):
            let text = path[2] == "servers" ? "servers reordered" : "\(path[2]) \(transition(difference))"
            fields.append(Phrase(subject: subject, text: text))
        case (4, .added): added.append(Phrase(subject: subject, text: "+\(path[3])"))
        case (4, .removed): removed.append(Phrase(subject: subject, text: "-\(path[3])"))
        default:
            let words = path.count > 4 ? fieldWords(path[4], difference) : transition(difference)
            if let last = changes.last, last.server == path[3] {
                changes[changes.count - 1] = (last.server, "\(last.words) and \(words)", last.count + 1)
            } else {
                changes.append((path[3], words, 1))
            }
        }
    }
    return fields + serverPhrases(changes, subject: "upstream \(differences[0].path[1])") + added + removed
}

/// Servers of which the same is told share a phrase: `servers a:80, b:80 and 3 more drain`.
private func serverPhrases(_ changes: [(server: String, words: String, count: Int)], subject: String) -> [Phrase] {
    let namedMax = 3
    var order: [String] = []
    var groups: [String: (servers: [String], count: Int)] = [:]
    for change in changes {
        if groups[change.words] == nil { order.append(change.words) }
        groups[change.words, default: ([], 0)].servers.append(change.server)
        groups[change.words, default: ([], 0)].count += change.count
    }
    return order.compactMap { words in
        guard let group = groups[words] else { return nil }
        var named = group.servers.joined(separator: ", ")
        if group.servers.count > namedMax {
            named = group.servers.prefix(namedMax - 1).joined(separator: ", ") + " and \(group.servers.count - namedMax + 1) more"
        }
        return Phrase(
            subject: subject, text: "server\(group.servers.count == 1 ? "" : "s") \(named) \(words)", count: group.count)
    }
}

/// `drain`, `drain off`, `weight 1 -> 5`.
private func fieldWords(_ name: String, _ difference: StateDifference) -> String {
    switch (difference.from, difference.to) {
    case ("false", "true"): name
    case ("true", "false"): "\(name) off"
    default: "\(name) \(transition(difference))"
    }
}

private func transition(_ difference: StateDifference) -> String { "\(shown(difference.from)) -> \(shown(difference.to))" }

private func sign(_ difference: StateDifference) -> String {
    switch difference.kind {
    case .added: "+"
    case .removed: "-"
    case .changed: "changed "
    }
}

/// A JSON text as the line has it: short, a plain string without its quotes.
private func shown(_ value: String?) -> String {
    let lengthMax = 48
    guard var text = value else { return "none" }
    if text.count > 2, text.first == "\"", text.last == "\"" { text = plain(text.dropFirst().dropLast()) }
    return text.count > lengthMax ? text.prefix(lengthMax) + "..." : text
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
