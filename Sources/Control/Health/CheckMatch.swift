// A `match NAME {}` with its expressions compiled: what answers of servers are held against.
// Made by the directive, kept by `Routes`; asked by the prober's thread, and the expressions are not changed any more.

import AdminAPI
import Bytes
import ConfigurationFile
import Engine
import Health

package final class CheckMatch: @unchecked Sendable {
    let rules: MatchRules
    /// As they were said, in the order of `HealthMatch.lines`.
    let lines: [[String]]
    private let expressions: [CompiledExpression]
    /// Keeps names of groups.
    private let arena: Arena

    init(_ rules: MatchRules, lines: [[String]], _ expressions: [CompiledExpression], _ arena: Arena) {
        self.rules = rules
        self.lines = lines
        self.expressions = expressions
        self.arena = arena
    }

    /// Whether the expression of this number matches. A match that takes too long is none.
    func matches(_ number: Int, _ bytes: ArraySlice<UInt8>, _ matcher: borrowing Matcher) -> Bool {
        guard expressions.indices.contains(number) else { return false }
        return bytes.withUnsafeBufferPointer { buffer in
            let view = buffer.baseAddress.map { ByteView($0, buffer.count) } ?? .empty
            if case .match = matcher.match(expressions[number].expression, view) { return true }
            return false
        }
    }

    /// Why it is nothing for checks of this kind; nil: it is.
    func misfit(_ kind: HealthCheck.Kind) -> String? {
        let isPlain = !rules.send.isEmpty || rules.expect != nil
        let isOfHTTP = rules.status != nil || !rules.fields.isEmpty || !rules.bodies.isEmpty
        if kind.isHTTP, isPlain { return "has send or expect, which are for the type tcp" }
        if kind == .tcp, isOfHTTP { return "has status, header or body, which are for the types http and https" }
        return nil
    }
}

/// Reads the lines of a block, or those that stand in a check itself.
struct MatchReader {
    private var rules = MatchRules()
    private var expressions: [CompiledExpression] = []
    private let arena = Arena(blockBytes: 1024)
    private var seen: [String: Position] = [:]
    private var said: [[String]] = []

    static func read(_ d: Directive) throws(Diagnostic) -> CheckMatch {
        var reader = MatchReader()
        for line in d.block ?? [] { try reader.take(line) }
        return reader.made
    }

    /// - Throws: `bad-check`, with a pointer into the match.
    static func read(_ match: HealthMatch) throws(Problem) -> CheckMatch {
        var reader = MatchReader()
        for (pointer, words) in match.lines {
            let position = Position(file: "match")
            let line = Directive(name: Word(words[0], position: position), arguments: words.dropFirst().map { Word($0, position: position) })
            do throws(Diagnostic) { try reader.take(line) } catch {
                throw Problem(.badCheck, "\(error.message), expected \(error.expected)", hint: error.hint ?? "", pointer: pointer)
            }
        }
        return reader.made
    }

    private var made: CheckMatch {
        let lines = HealthMatch.kinds.flatMap { kind in said.filter { $0[0] == kind } }
        return CheckMatch(rules, lines: lines, expressions, arena)
    }

    private mutating func take(_ line: Directive) throws(Diagnostic) {
        if line.block != nil { throw .notTerminated(line) }
        let name = line.name.text
        said.append([name] + line.arguments.map(\.text))
        if ["status", "send", "expect"].contains(name) {
            if let first = seen[name] { throw .duplicate(line, first: first) }
            seen[name] = line.position
        }
        switch name {
        case "status": rules.status = try status(line)
        case "header": rules.fields.append(try field(line))
        case "body": rules.bodies.append(try body(line))
        case "send":
            guard line.arguments.count == 1 else { throw .wrongArgumentCount(line, expected: "one text") }
            rules.send = Self.unescaped(line.arguments[0].bytes)
        case "expect": rules.expect = try expect(line)
        case "require":
            throw Diagnostic(
                at: line.position, directive: "match", "\"require\" is not supported in a match block", found: "require",
                expected: "status, header, body, send or expect")
        default:
            let known = ["status", "header", "body", "send", "expect"]
            throw Diagnostic(
                at: line.position, directive: "match", "unknown line \"\(line.name.shown)\" in a match block", found: line.name.shown,
                expected: known.joined(separator: ", "), hint: nearestName(to: name, among: known).map { "did you mean \"\($0)\"?" })
        }
    }

    /// `200`, `200-299`, `! 500`, `200-299 !204`. A `!` by itself is for all that follows.
    private func status(_ line: Directive) throws(Diagnostic) -> StatusRule {
        if line.arguments.isEmpty { throw .wrongArgumentCount(line, expected: "codes such as 200, 200-299 or !404") }
        var rule = StatusRule()
        var refusesRest = false
        for word in line.arguments {
            if word == "!" {
                refusesRest = true
                continue
            }
            let isRefused = refusesRest || word.text.hasPrefix("!")
            let text = word.text.hasPrefix("!") ? String(word.text.dropFirst()) : word.text
            let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { $0.utf8.count == 3 ? Int($0) : nil }
            guard (1...2).contains(ends.count), let first = ends.first.flatMap(\.self), let last = ends.last.flatMap(\.self), first >= 100, first <= last else {
                throw .invalidValue(word, of: "status", expected: "a code such as 200, or a range such as 200-299, behind \"!\" or without")
            }
            if isRefused { rule.refused.append(first...last) } else { rule.accepted.append(first...last) }
        }
        return rule
    }

    private mutating func field(_ line: Directive) throws(Diagnostic) -> FieldRule {
        let words = line.arguments
        let expected = "NAME, ! NAME, or NAME with =, !=, ~ or !~ and a value"
        // Behind a "!" by itself, too.
        if let name = words.first(where: { !($0 == "!") }), name.bytes.isEmpty { throw .invalidValue(name, of: "header", expected: expected) }
        switch words.count {
        case 1: return FieldRule(words[0].text)
        case 2 where words[0] == "!": return FieldRule(words[1].text, isAbsent: true)
        case 3:
            switch words[1].text {
            case "=": return FieldRule(words[0].text, .equals(words[2].text))
            case "!=": return FieldRule(words[0].text, .differs(words[2].text))
            case "~", "~*", "!~", "!~*": return FieldRule(words[0].text, try expression(words[1], words[2], "header"))
            default: throw .invalidValue(words[1], of: "header", expected: expected)
            }
        default: throw .wrongArgumentCount(line, expected: expected)
        }
    }

    private mutating func body(_ line: Directive) throws(Diagnostic) -> TextTest {
        guard line.arguments.count == 2 else { throw .wrongArgumentCount(line, expected: "~ or !~ and an expression") }
        guard ["~", "~*", "!~", "!~*"].contains(line.arguments[0].text) else {
            throw .invalidValue(line.arguments[0], of: "body", expected: "~ or !~")
        }
        return try expression(line.arguments[0], line.arguments[1], "body")
    }

    private mutating func expect(_ line: Directive) throws(Diagnostic) -> TextTest {
        switch line.arguments.count {
        case 1: return .isBytes(Self.unescaped(line.arguments[0].bytes))
        case 2 where line.arguments[0] == "~" || line.arguments[0] == "~*": return try expression(line.arguments[0], line.arguments[1], "expect")
        default: throw .wrongArgumentCount(line, expected: "a text, or ~ and an expression")
        }
    }

    private mutating func expression(_ sign: Word, _ pattern: Word, _ name: String) throws(Diagnostic) -> TextTest {
        let text = (sign.text.hasSuffix("*") ? "(?i)" : "") + pattern.text
        do throws(CompiledExpression.Failure) {
            expressions.append(try CompiledExpression(Array(text.utf8), ignoringCase: false, arena: arena))
        } catch {
            throw Diagnostic(
                at: pattern.position, directive: name, "pcre2_compile() failed: \(error.reason) at offset \(error.offset)", found: pattern.shown,
                expected: "a regular expression of PCRE2")
        }
        let number = expressions.count - 1
        return sign.text.hasPrefix("!") ? .misses(number, pattern: text) : .matches(number, pattern: text)
    }

    /// `\xHH` stands for a byte.
    static func unescaped(_ bytes: [UInt8]) -> [UInt8] {
        func digit(_ i: Int) -> UInt8? { bytes.indices.contains(i) ? Character(Unicode.Scalar(bytes[i])).hexDigitValue.map { UInt8($0) } : nil }
        var out: [UInt8] = []
        var i = 0
        while i < bytes.count {
            if bytes[i] == UInt8(ascii: "\\"), i + 1 < bytes.count, bytes[i + 1] == UInt8(ascii: "x"), let high = digit(i + 2), let low = digit(i + 3) {
                out.append(high << 4 | low)
                i += 4
            } else {
                out.append(bytes[i])
                i += 1
            }
        }
        return out
    }
}
