// map and split_clients: blocks whose lines are data.

import Bytes
import ConfigurationFile
import Engine

enum MapDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("map", [.http], 2...2, takesBlock: true, isUnique: false) { (scope, d) throws(Diagnostic) in try map(scope, d) },
        DirectiveRule("split_clients", [.http], 2...2, takesBlock: true, isUnique: false) { (scope, d) throws(Diagnostic) in
            try splitClients(scope, d)
        },
        .accepted("map_hash_max_size", [.http], 1...1, why: "tables are sized to fit"),
        .accepted("map_hash_bucket_size", [.http], 1...1, why: "tables are sized to fit"),
    ]

    private struct Lines {
        var exact: [(String, Int32)] = []
        var suffixes: [(String, Int32)] = []
        var prefixes: [(String, Int32)] = []
        var regexes: [MapRegex] = []
        var values: [Template] = []
        var defaultValue: Template?
        var isVolatile = false
        var hasHostnames = false
        var seen: [String: Position] = [:]
    }

    private static func map(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let builder = scope.builder
        let name = try VariableNames.name(d.arguments[1], of: d)
        let source = try builder.template(d.arguments[0], of: "map")
        var lines = Lines()
        lines.hasHostnames = (d.block ?? []).contains { $0.name.text == "hostnames" && !$0.name.isQuoted && $0.arguments.isEmpty }
        for entry in d.block ?? [] { try line(entry, &lines, builder) }
        let index = builder.mapIndex(name)
        var settings = MapSettings(source: source, slot: lines.isVolatile ? -1 : builder.maps[index].slot)
        settings.takesHostnames = lines.hasHostnames
        settings.exact = NameTable(lines.exact.map { ($0.0, $0.1) }, arena: builder.arena)
        settings.suffixes = NameTable(lines.suffixes.map { ($0.0, $0.1) }, arena: builder.arena)
        settings.prefixes = NameTable(lines.prefixes.map { ($0.0, $0.1) }, arena: builder.arena)
        settings.regexes = builder.arena.freeze(lines.regexes)
        settings.values = builder.arena.freeze(lines.values)
        settings.defaultValue = lines.defaultValue ?? .empty
        builder.maps[index] = settings
    }

    private static func line(_ entry: Directive, _ lines: inout Lines, _ builder: SnapshotBuilder) throws(Diagnostic) {
        let key = entry.name
        if entry.arguments.isEmpty, !key.isQuoted {
            if key == "volatile" {
                lines.isVolatile = true
                return
            }
            if key == "hostnames" { return }
        }
        guard entry.arguments.count == 1, entry.block == nil else { throw .wrongArgumentCount(entry, expected: "a key and a value") }
        let value = try builder.template(entry.arguments[0], of: "map")
        var text = key.text
        if text == "default", !key.isQuoted {
            if lines.defaultValue != nil { throw .duplicate(entry, first: nil) }
            lines.defaultValue = value
            return
        }
        if text.hasPrefix("~") {
            let star = text.hasPrefix("~*")
            let regex = try builder.regex(Array(key.bytes.dropFirst(star ? 2 : 1)), at: key, ignoringCase: star, of: "map")
            lines.regexes.append(MapRegex(regex: regex, value: value))
            return
        }
        if text.hasPrefix("\\") { text.removeFirst() }
        // ".name" is the name and what ends in it.
        let isBoth = lines.hasHostnames && text.hasPrefix(".")
        for said in isBoth ? [String(text.dropFirst()), "*" + text] : [text] {
            if let first = lines.seen[said.lowercased()] {
                throw Diagnostic(
                    at: key.position, directive: "map", "conflicting parameter \"\(key.shown)\"", found: key.shown, expected: "each key once",
                    hint: "the first is at \(first)")
            }
            lines.seen[said.lowercased()] = key.position
        }
        lines.values.append(value)
        let index = Int32(lines.values.count - 1)
        if lines.hasHostnames, text.hasPrefix("*.") {
            lines.suffixes.append((String(text.dropFirst(2)), index))
        } else if lines.hasHostnames, text.hasPrefix(".") {
            lines.exact.append((String(text.dropFirst()), index))
            lines.suffixes.append((String(text.dropFirst()), index))
        } else if lines.hasHostnames, text.hasSuffix(".*") {
            lines.prefixes.append((String(text.dropLast(2)), index))
        } else {
            lines.exact.append((text, index))
        }
    }

    private static func splitClients(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let builder = scope.builder
        let name = try VariableNames.name(d.arguments[1], of: d)
        let source = try builder.template(d.arguments[0], of: "split_clients")
        var parts: [SplitClientsSettings.Part] = []
        var total = 0
        for entry in d.block ?? [] {
            guard entry.arguments.count == 1 else { throw .wrongArgumentCount(entry, expected: "a share and a value") }
            let value = try builder.template(entry.arguments[0], of: "split_clients")
            if entry.name == "*" {
                parts.append(SplitClientsSettings.Part(below: 0, value: value))
                continue
            }
            guard let share = hundredths(entry.name.text) else {
                throw .invalidValue(entry.name, of: "split_clients", expected: "a percentage with at most two digits behind the point, or \"*\"")
            }
            // Of nothing the end is the end of the rest, which is everything.
            if share == 0 { throw .invalidValue(entry.name, of: "split_clients", expected: "more than 0 %") }
            if parts.contains(where: { $0.below == 0 }) {
                throw .invalidValue(entry.name, of: "split_clients", expected: "in front of \"*\", which takes the rest")
            }
            total += share
            if total > 10_000 {
                throw .invalidValue(entry.name, of: "split_clients", expected: "shares that sum to at most 100 %")
            }
            // As nginx computes the end of the part.
            let end = UInt64(total) * UInt64(UInt32.max) / 10_000
            parts.append(SplitClientsSettings.Part(below: UInt32(end), value: value))
        }
        let index = builder.splitIndex(name)
        builder.splitClients[index] = SplitClientsSettings(source: source, parts: builder.arena.freeze(parts), slot: -1)
    }

    /// `12.34%` as 1234.
    private static func hundredths(_ text: String) -> Int? {
        guard text.hasSuffix("%") else { return nil }
        let parts = text.dropLast().split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, let whole = Int(parts[0]), whole >= 0, whole <= 100 else { return nil }
        let fraction = parts.count == 2 ? parts[1] : ""
        guard fraction.count <= 2, fraction.allSatisfy(\.isNumber) else { return nil }
        return whole * 100 + (Int(fraction.padding(2)) ?? 0)
    }
}

extension Substring {
    fileprivate func padding(_ n: Int) -> String { String(self) + String(repeating: "0", count: Swift.max(0, n - count)) }
}
