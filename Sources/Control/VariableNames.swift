// The variables that a configuration defines: by set, map, split_clients and named groups of expressions.
// Collected before anything is built, since a variable may be used above the place that defines it.

import Bytes
import ConfigurationFile
import Engine

struct VariableNames {
    private var table: [String: Variable] = [:]
    /// How many slots an exchange needs for them.
    private(set) var slots = 0
    private(set) var groups: [String: Int32] = [:]
    /// Where each map keeps its value.
    private(set) var mapSlots: [Int32] = []
    private(set) var splitCount = 0

    var names: [String] { Array(table.keys) }

    func find(_ name: String) -> Variable? { table[name.lowercased()] }

    mutating func declare(_ directives: [Directive]) throws(Diagnostic) {
        for d in directives {
            switch d.name.text {
            case "set", "auth_request_set": if let word = d.arguments.first, let name = try Self.settable(word, of: d) { declareSlot(name, .set) }
            case "map", "split_clients":
                if d.arguments.count > 1, let name = try Self.settable(d.arguments[1], of: d) { declareTable(name, isMap: d.name.text == "map") }
                // The block's entries are no directives.
                for entry in d.block ?? [] { declareGroups(of: [entry.name]) }
                continue
            default: declareGroups(of: d.arguments)
            }
            if let block = d.block { try declare(block) }
        }
    }

    /// The name that `set` or `map` gives a value; nil for the built-in ones that `set` changes in the exchange itself.
    private static func settable(_ word: Word, of d: Directive) throws(Diagnostic) -> String? {
        let name = try Self.name(word, of: d)
        guard let kind = Variable.builtIn[name] else { return name }
        if d.name.text != "map", d.name.text != "split_clients", name == "args" || kind == .limitRate { return nil }
        // nginx lets these be replaced.
        if kind == .proxyHost || kind == .proxyPort || name.hasPrefix("ssl_") { return name }
        throw Diagnostic(
            at: word.position, directive: d.name.text, "the duplicate \"\(name)\" variable", found: word.shown,
            expected: "a name that no variable of nginx has")
    }

    /// The name behind "$".
    static func name(_ word: Word, of d: Directive) throws(Diagnostic) -> String {
        let text = word.text
        let rest = text.dropFirst()
        if text.hasPrefix("$"), !rest.isEmpty, rest.utf8.allSatisfy({ $0 == 0x5F || asciiLower($0) &- 0x61 < 26 || $0 &- 0x30 < 10 }) {
            return rest.lowercased()
        }
        throw Diagnostic(
            at: word.position, directive: d.name.text, "invalid variable name \"\(word.shown)\"", found: word.shown,
            expected: "a name that begins with \"$\"")
    }

    mutating func declareSlot(_ name: String, _ kind: VariableKind) {
        if table[name] != nil { return }
        table[name] = Variable(kind, index: Int32(slots))
        slots += 1
    }

    /// The place of each map in the snapshot is the order of their names; a second map of one name replaces the first.
    private mutating func declareTable(_ name: String, isMap: Bool) {
        if let known = table[name], known.kind == (isMap ? .map : .splitClients) { return }
        if isMap {
            table[name] = Variable(.map, index: Int32(mapSlots.count))
            mapSlots.append(Int32(slots))
            slots += 1
        } else {
            table[name] = Variable(.splitClients, index: Int32(splitCount))
            splitCount += 1
        }
    }

    /// `(?<name>`, `(?P<name>` and `(?'name'` in any word that may be an expression.
    private mutating func declareGroups(of words: [Word]) {
        for word in words where word.bytes.contains(UInt8(ascii: "?")) {
            let text = word.text
            for opening in ["(?<", "(?P<", "(?'"] {
                var from = text.startIndex
                while let at = text[from...].firstRange(of: opening) {
                    let name = text[at.upperBound...].prefix { $0.isLetter || $0.isNumber || $0 == "_" }
                    if !name.isEmpty, !name.hasPrefix("=") {
                        let lower = name.lowercased()
                        declareSlot(lower, .namedCapture)
                        if let v = table[lower] { groups[String(name)] = v.index }
                    }
                    from = at.upperBound
                }
            }
        }
    }
}
