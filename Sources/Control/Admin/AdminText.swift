// The texts around a request's body: percent-encoded paths and queries, conditions, media types.
// Called by the dispatch for what anybody may send. It knows no route.

import AdminAPI
import ConfigurationFile

enum AdminText {
    /// The segments of a path, decoded. A slash that is percent-encoded parts nothing.
    static func segments(_ path: String) throws(Problem) -> [String] {
        var segments: [String] = []
        for bytes in path.utf8.split(separator: UInt8(ascii: "/")) {
            let part = Substring(bytes)
            guard let text = bytes.contains(UInt8(ascii: "%")) ? decoded(part) : String(part) else {
                throw Problem(.notFound, "found \(shown(String(part))) in the path, expected percent-encoded UTF-8")
            }
            segments.append(text)
            if segments.count > ControlLimits.adminSegmentsMax { throw Problem(.notFound, "the path has too many segments") }
        }
        return segments
    }

    /// The parameters by name.
    /// - Throws: `badQuery` for those that are not known, given twice or badly encoded.
    static func query(_ query: String, known: [String]) throws(Problem) -> [String: String] {
        var values: [String: String] = [:]
        for part in query.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = decoded(pair[0], plusIsSpace: true), let value = decoded(pair.count > 1 ? pair[1] : "", plusIsSpace: true) else {
                throw Problem(.badQuery, "found \(shown(String(part))), expected percent-encoded UTF-8")
            }
            guard known.contains(name) else {
                let hint = nearestName(to: name, among: known).map { "did you mean \"\($0)\"?" }
                let expected = known.isEmpty ? "no parameters here" : "one of " + known.sorted().joined(separator: ", ")
                throw Problem(.badQuery, "found the parameter \(shown(name)), expected \(expected)", hint: hint ?? "")
            }
            if values.updateValue(value, forKey: name) != nil { throw Problem(.badQuery, "found the parameter \(name) twice") }
        }
        return values
    }

    static func flag(_ value: String?, _ name: String) throws(Problem) -> Bool {
        switch value {
        case nil, "0", "false": return false
        case "1", "true": return true
        case let text?: throw Problem(.badQuery, "found \(name)=\(shown(text)), expected 1 or 0")
        }
    }

    /// `If-Match` (RFC 9110 13.1.1): `"42"`, 42 or `*`. Nil: any revision will do.
    static func revision(ofCondition field: String?) throws(Problem) -> UInt64? {
        guard let field else { return nil }
        let text = trimmed(field)
        if text == "*" { return nil }
        if text.hasPrefix("W/") {
            throw Problem(.badHeader, "found the weak ETag \(shown(text)) in If-Match, expected a strong one such as \"42\"")
        }
        let isQuoted = text.count >= 2 && text.hasPrefix("\"") && text.hasSuffix("\"")
        let digits = isQuoted ? text.dropFirst().dropLast() : Substring(text)
        guard digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = UInt64(digits) else {
            throw Problem(.badHeader, "found \(shown(text)) in If-Match, expected one revision such as \"42\", or *", hint: "it is the ETag of an answer")
        }
        return number
    }

    /// `Last-Event-ID`, or nil when there is none.
    static func eventID(_ field: String?) throws(Problem) -> UInt64? {
        guard let field, !field.isEmpty else { return nil }
        guard let id = UInt64(trimmed(field)) else {
            throw Problem(.badHeader, "found \(shown(field)) in Last-Event-ID, expected the id of an event")
        }
        return id
    }

    static func checkMediaType(_ field: String?) throws(Problem) {
        guard let field, field != "application/json" else { return }
        let type = trimmed(String(field.prefix { $0 != ";" })).lowercased()
        if type == "application/json" { return }
        throw Problem(
            .badHeader, status: 415, "found a body of the type \(shown(type)), expected application/json",
            hint: "send \"Content-Type: application/json\"")
    }

    // MARK: Signs

    /// Nil: a `%` without two digits behind it, or no UTF-8.
    static func decoded(_ text: some StringProtocol, plusIsSpace: Bool = false) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8.makeIterator()
        while let byte = rest.next() {
            if byte == UInt8(ascii: "%") {
                guard let high = rest.next().flatMap(digit), let low = rest.next().flatMap(digit) else { return nil }
                bytes.append(high << 4 | low)
            } else {
                bytes.append(plusIsSpace && byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    static func trimmed(_ text: String) -> String {
        var part = Substring(text)
        while let first = part.first, first == " " || first == "\t" { part.removeFirst() }
        while let last = part.last, last == " " || last == "\t" { part.removeLast() }
        return String(part)
    }

    /// What somebody sent, for a message: in quotes, on one line, at most 64 signs.
    static func shown(_ text: String) -> String {
        let signs = text.unicodeScalars.prefix(64).map { $0.value < 0x20 || $0.value == 0x7F ? "?" : Character($0) }
        return "\"" + String(signs) + (signs.count < text.unicodeScalars.count ? "..." : "") + "\""
    }
}
