// limit_req and limit_conn with their zones: how many requests a second and at a time a key may have, and what becomes of others.

import Balancing
import Bytes
import ConfigurationFile
import Engine

/// A zone while the configuration is read: it may be named before it is defined.
struct LimitZoneDraft {
    struct Definition {
        var key: Template
        var keyText: String
        var bytes: Int
        /// Thousandths of a request a second; 0 for connections.
        var ratePerSecond: Int64
        var position: Position
    }
    var name: String
    var isOfConnections: Bool
    var definition: Definition?
    /// Where it was first named.
    var word: Word
}

enum LimitDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("limit_req_zone", [.http], 3...3, isUnique: false) { (scope, d) throws(Diagnostic) in
            try zone(scope, d, isOfConnections: false)
        },
        DirectiveRule("limit_conn_zone", [.http], 2...2, isUnique: false) { (scope, d) throws(Diagnostic) in
            try zone(scope, d, isOfConnections: true)
        },
        DirectiveRule("limit_req", .httpLevels, 1...3, isUnique: false) { (scope, d) throws(Diagnostic) in try limitRequests(scope, d) },
        DirectiveRule("limit_conn", .httpLevels, 2...2, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("limit_conn", \.connectionLimits)
            let index = try scope.builder.limitZone(d.arguments[0].text, at: d.arguments[0], of: d, isOfConnections: true)
            let most = try d.arguments[1].integer(in: 1...65_535, of: "limit_conn")
            if scope.location.connectionLimits.contains(where: { $0.zone == index }) { throw .duplicate(d, first: nil) }
            try expectRoom(scope.location.connectionLimits.count, d)
            scope.location.connectionLimits.append(ConnectionLimit(zone: index, most: UInt32(most)))
        },
        status("limit_req_status", \.limits.requestRefusal.status), status("limit_conn_status", \.limits.connectionRefusal.status),
        level("limit_req_log_level", \.limits.requestRefusal.level), level("limit_conn_log_level", \.limits.connectionRefusal.level),
        .flag("limit_req_dry_run", .httpLevels, \.limits.requestRefusal.isDryRun),
        .flag("limit_conn_dry_run", .httpLevels, \.limits.connectionRefusal.isDryRun),
    ]

    private static func status(_ name: String, _ path: DirectiveRule.LocationPath<UInt16>) -> DirectiveRule {
        DirectiveRule(name, .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings[keyPath: path] = UInt16(try d.arguments[0].integer(in: 400...599, of: name))
        }
    }

    private static func level(_ name: String, _ path: DirectiveRule.LocationPath<LogLevel>) -> DirectiveRule {
        DirectiveRule(name, .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            guard let level: LogLevel = ["info": .info, "notice": .notice, "warn": .warn, "error": .error][d.arguments[0].text] else {
                throw .invalidValue(d.arguments[0], of: name, expected: "\"info\", \"notice\", \"warn\" or \"error\"")
            }
            scope.location.settings[keyPath: path] = level
        }
    }

    private static func expectRoom(_ count: Int, _ d: Directive) throws(Diagnostic) {
        if count < Limits.limitsOfLocationMax { return }
        throw Diagnostic(
            at: d.position, directive: d.name.text, "too many \"\(d.name.text)\" directives in one block", found: "\(count + 1)",
            expected: "at most \(Limits.limitsOfLocationMax)")
    }

    // MARK: Zones

    private static func zone(_ scope: Scope, _ d: Directive, isOfConnections: Bool) throws(Diagnostic) {
        let name = d.name.text
        let key = try scope.builder.template(d.arguments[0], of: name)
        var zone: (name: String, bytes: Int, word: Word)?
        var rate: Int64 = isOfConnections ? 0 : 1000
        for word in d.arguments.dropFirst() {
            switch word.parameter {
            case ("zone", let value)?: zone = try nameAndSize(value, word, of: name)
            case ("rate", let value)? where !isOfConnections: rate = try perSecond(value, word)
            default: throw invalid(word, of: name)
            }
        }
        guard let zone else { throw missingZone(d) }
        let index = Int(try scope.builder.limitZone(zone.name, at: zone.word, of: d, isOfConnections: isOfConnections))
        if let first = scope.builder.limitZones[index].definition {
            throw Diagnostic(
                at: d.position, directive: name, "\(name) \"\(zone.name)\" is already bound to key \"\(first.keyText)\"", found: zone.name,
                expected: "each zone once", hint: "the first is at \(first.position)")
        }
        scope.builder.limitZones[index].definition = LimitZoneDraft.Definition(
            key: key, keyText: d.arguments[0].text, bytes: zone.bytes, ratePerSecond: rate, position: d.position)
    }

    private static func nameAndSize(_ value: Word, _ word: Word, of directive: String) throws(Diagnostic) -> (String, Int, Word) {
        let parts = value.bytes.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty else {
            throw Diagnostic(
                at: word.position, directive: directive, "invalid zone size \"\(word.shown)\"", found: word.shown, expected: "zone=NAME:SIZE")
        }
        var size = value
        size.bytes = Array(parts[1])
        let bytes = try size.sizeBytes(of: directive)
        if bytes < 32 << 10 {
            throw Diagnostic(
                at: word.position, directive: directive, "zone \"\(word.shown)\" is too small", found: word.shown, expected: "at least 32k")
        }
        return (String(decoding: parts[0], as: UTF8.self), bytes, word)
    }

    /// `10r/s` or `30r/m`, in thousandths of a request a second.
    private static func perSecond(_ value: Word, _ word: Word) throws(Diagnostic) -> Int64 {
        var number = value
        let isMinutes = value.text.hasSuffix("r/m")
        if isMinutes || value.text.hasSuffix("r/s") { number.bytes.removeLast(3) }
        guard let n = Int64(number.text), n > 0, n <= RequestRate.perSecondMax / 1000 else {
            throw Diagnostic(
                at: word.position, directive: "limit_req_zone", "invalid rate \"\(word.shown)\"", found: word.shown,
                expected: "a rate such as 10r/s or 30r/m")
        }
        return n * 1000 / (isMinutes ? 60 : 1)
    }

    private static func invalid(_ word: Word, of directive: String) -> Diagnostic {
        Diagnostic(
            at: word.position, directive: directive, "invalid parameter \"\(word.shown)\"", found: word.shown,
            expected: "a parameter of \(directive)")
    }

    private static func missingZone(_ d: Directive) -> Diagnostic {
        Diagnostic(
            at: d.position, directive: d.name.text, "\"\(d.name.text)\" must have \"zone\" parameter", found: "none", expected: "zone=NAME")
    }

    // MARK: limit_req

    private static func limitRequests(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        scope.location.begin("limit_req", \.requestLimits)
        var index: Int32?
        var limit = RequestLimit(zone: 0, burst: 0, undelayed: 0)
        for word in d.arguments {
            switch word.parameter {
            case ("zone", let value)?:
                index = try scope.builder.limitZone(value.text, at: word, of: d, isOfConnections: false)
            case ("burst", let value)?: limit.burst = Int64(try value.integer(in: 1...1_000_000_000, of: "limit_req")) * 1000
            case ("delay", let value)?: limit.undelayed = Int64(try value.integer(in: 1...1_000_000_000, of: "limit_req")) * 1000
            default:
                if !(word == "nodelay") { throw invalid(word, of: "limit_req") }
                limit.undelayed = .max
            }
        }
        guard let index else { throw missingZone(d) }
        if scope.location.requestLimits.contains(where: { $0.zone == index }) { throw .duplicate(d, first: nil) }
        try expectRoom(scope.location.requestLimits.count, d)
        limit.zone = index
        scope.location.requestLimits.append(limit)
    }
}

extension SnapshotBuilder {
    /// The place of a zone, which may be defined further down.
    func limitZone(_ name: String, at word: Word, of d: Directive, isOfConnections: Bool) throws(Diagnostic) -> Int32 {
        guard let known = limitZones.firstIndex(where: { $0.name == name }) else {
            limitZones.append(LimitZoneDraft(name: name, isOfConnections: isOfConnections, definition: nil, word: word))
            return Int32(limitZones.count - 1)
        }
        if limitZones[known].isOfConnections == isOfConnections { return Int32(known) }
        throw Diagnostic(
            at: word.position, directive: d.name.text, "the shared memory zone \"\(name)\" is already declared for a different use",
            found: name, expected: "zones of requests and of connections under different names")
    }

    /// The zones, once all are known.
    func limitZoneSettings() throws(Diagnostic) -> [LimitZoneSettings] {
        var list: [LimitZoneSettings] = []
        for draft in limitZones {
            guard let definition = draft.definition else {
                let directive = draft.isOfConnections ? "limit_conn" : "limit_req"
                throw Diagnostic(
                    at: draft.word.position, directive: directive, "zero size shared memory zone \"\(draft.name)\"", found: draft.name,
                    expected: "a zone that \(directive)_zone defines",
                    hint: nearestName(to: draft.name, among: limitZones.filter { $0.definition != nil }.map(\.name)).map { "did you mean \"\($0)\"?" })
            }
            let zone = zones.zone(
                LimitZoneRegistry.Form(
                    name: draft.name, isOfConnections: draft.isOfConnections, key: definition.keyText, bytes: definition.bytes))
            owned.append(zone)
            list.append(
                LimitZoneSettings(name: arena.freeze(draft.name), zone: zone, key: definition.key, ratePerSecond: definition.ratePerSecond))
        }
        return list
    }
}
