// split: a named, weighted choice among upstreams. A word of our own; nginx's split_clients stands in MapDirectives.

import AdminAPI
import ConfigurationFile

/// One `split {}` while the configuration is read.
struct SplitDraft {
    var name: String
    var state = SplitState(weights: [:])
    var positions: [String: Position] = [:]
    var position: Position
}

enum SplitDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("split", [.http], 1...1, takesBlock: true, isUnique: false, isOwn: true) { (scope, d) throws(Diagnostic) in
            try split(scope, d)
        }
    ]

    private static func split(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let builder = scope.builder
        let name = d.arguments[0].text
        try builder.refuseTaken(name, d)
        var draft = SplitDraft(name: name, position: d.position)
        for entry in d.block ?? [] {
            if entry.block != nil { throw .notTerminated(entry) }
            switch entry.name.text {
            case "key":
                if entry.arguments.isEmpty { throw .wrongArgumentCount(entry, expected: "at least one variable") }
                for word in entry.arguments {
                    _ = try builder.template(word, of: "key")
                    draft.state.key.append(word.text)
                }
            case "force":
                guard entry.arguments.count == 1 else { throw .wrongArgumentCount(entry, expected: "one variable") }
                if draft.state.force != nil { throw .duplicate(entry, first: nil) }
                _ = try builder.template(entry.arguments[0], of: "force")
                draft.state.force = entry.arguments[0].text
            case "assign":
                if draft.state.assign != nil { throw .duplicate(entry, first: nil) }
                draft.state.assign = try assign(entry)
            case "shadow":
                if draft.state.shadow != nil { throw .duplicate(entry, first: nil) }
                draft.state.shadow = try shadow(entry)
            default: try variant(entry, &draft)
            }
        }
        builder.splits[name] = draft
    }

    private static func variant(_ entry: Directive, _ draft: inout SplitDraft) throws(Diagnostic) {
        guard entry.arguments.count == 1 else { throw .wrongArgumentCount(entry, expected: "a weight") }
        let name = entry.name.text
        if let first = draft.positions[name] { throw .duplicate(entry, first: first) }
        draft.positions[name] = entry.name.position
        draft.state.weights[name] = try entry.arguments[0].integer(in: 0...1_000_000, of: "split")
    }

    private static func assign(_ entry: Directive) throws(Diagnostic) -> AssignState {
        var cookie: String?
        var age: Int64 = 30 * 86_400
        for word in entry.arguments {
            guard let (name, value) = word.parameter else { throw .invalidValue(word, of: "assign", expected: "cookie=NAME or max_age=TIME") }
            switch name {
            case "cookie":
                let isToken = !value.bytes.isEmpty && value.bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"()<>@,;:\\\"/[]?={}".utf8.contains($0) }
                if !isToken { throw .invalidValue(value, of: "assign", expected: "the name of a cookie (RFC 6265)") }
                cookie = value.text
            case "max_age": age = Int64(try value.seconds(of: "assign"))
            default: throw .invalidValue(word, of: "assign", expected: "cookie=NAME or max_age=TIME")
            }
        }
        guard let cookie else { throw .wrongArgumentCount(entry, expected: "cookie=NAME, and perhaps max_age=TIME") }
        return AssignState(cookie: cookie, maxAgeSeconds: age)
    }

    private static func shadow(_ entry: Directive) throws(Diagnostic) -> ShadowState {
        guard let to = entry.arguments.first else { throw .wrongArgumentCount(entry, expected: "the name of a variant") }
        var shadow = ShadowState(to: to.text)
        for word in entry.arguments.dropFirst() {
            let expected = "share=PERCENT%, noise=PERCENT% or header=NAME"
            guard let (name, value) = word.parameter else { throw .invalidValue(word, of: "shadow", expected: expected) }
            switch name {
            case "share", "noise":
                guard value.bytes.last == UInt8(ascii: "%") else { throw .invalidValue(word, of: "shadow", expected: expected) }
                var digits = value
                digits.bytes.removeLast()
                let percent = try digits.integer(in: 0...100, of: "shadow")
                if name == "share" { shadow.share = percent } else { shadow.noise = percent }
            case "header":
                shadow.headers.append(String(decoding: try AnswerDirectives.headerName(value, of: "shadow"), as: UTF8.self))
            default: throw .invalidValue(word, of: "shadow", expected: expected)
            }
        }
        return shadow
    }

    /// What can be said only when all upstreams are known.
    static func check(_ draft: SplitDraft, upstreams: Set<String>) throws(Diagnostic) {
        for (name, position) in draft.positions.sorted(by: { $0.value.line < $1.value.line }) where !upstreams.contains(name) {
            throw Diagnostic(
                at: position, directive: "split", "unknown upstream \"\(name)\" in split \"\(draft.name)\"", found: name,
                expected: "the name of an upstream", hint: nearestName(to: name, among: Array(upstreams)).map { "did you mean \"\($0)\"?" })
        }
        if let shadow = draft.state.shadow {
            do throws(Problem) { try StateRules.check(shadow, of: draft.state.weights) } catch {
                throw Diagnostic(
                    at: draft.position, directive: "split", "shadow in split \"\(draft.name)\": \(error.detail)", found: shadow.to,
                    expected: "one of its variants")
            }
        }
        if draft.state.weights.values.allSatisfy({ $0 == 0 }) {
            throw Diagnostic(
                at: draft.position, directive: "split", "no variant of split \"\(draft.name)\" has a weight above 0", found: "weights of 0",
                expected: "at least one that is more")
        }
    }
}
