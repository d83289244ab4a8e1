// The rewrite phase: set, return, rewrite, break, and the conditions of if. They run in the order of the configuration.

import Bytes
import ConfigurationFile
import Engine

enum RewriteDirectives {
    static let places: Set<Context> = [.server, .location, .ifInServer, .ifInLocation]

    static let all: [DirectiveRule] = [
        DirectiveRule("set", places, 2...2, isRewriteStep: true, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.steps.append(try setting(scope, d))
        },
        DirectiveRule("return", places, 1...2, isRewriteStep: true, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.steps.append(try answer(scope, d))
        },
        DirectiveRule("break", places, 0...0, isRewriteStep: true, isUnique: false) { (scope, _) throws(Diagnostic) in
            scope.location.steps.append(.stop)
        },
        DirectiveRule("rewrite", places, 2...3, isRewriteStep: true, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.steps.append(try rewrite(scope, d))
        },
        .acceptedFlag("rewrite_log", [.http, .server, .location, .ifInServer, .ifInLocation], why: "use error_log with level debug"),
        .acceptedFlag("uninitialized_variable_warn", [.http, .server, .location], why: "nothing is said of empty variables"),
    ]

    /// `set $NAME VALUE`, or another directive that sets a variable so.
    static func setting(_ scope: Scope, _ d: Directive) throws(Diagnostic) -> RewriteStep {
        let name = try VariableNames.name(d.arguments[0], of: d)
        let value = try scope.builder.template(d.arguments[1], of: d.name.text)
        switch Variable.builtIn[name] {
        case .args where name == "args": return .setArguments(value)
        case .limitRate: return .setRate(value)
        default: break
        }
        guard let variable = scope.builder.variables.find(name), variable.kind == .set || variable.kind == .namedCapture else {
            throw .invalidValue(d.arguments[0], of: d.name.text, expected: "a variable that nothing else defines")
        }
        return .set(slot: variable.index, value)
    }

    private static func answer(_ scope: Scope, _ d: Directive) throws(Diagnostic) -> RewriteStep {
        let first = d.arguments[0]
        let text = first.text
        if d.arguments.count == 1, text.hasPrefix("http://") || text.hasPrefix("https://") || text.hasPrefix("$scheme") {
            return .answer(status: 302, try scope.builder.template(first, of: "return"))
        }
        let status = UInt16(try first.integer(in: 0...999, of: "return"))
        let body = d.arguments.count > 1 ? try scope.builder.template(d.arguments[1], of: "return") : .empty
        return .answer(status: status, body)
    }

    private static func rewrite(_ scope: Scope, _ d: Directive) throws(Diagnostic) -> RewriteStep {
        var flags = RewriteFlags()
        var replacement = d.arguments[1]
        if replacement.bytes.isEmpty { throw .invalidValue(replacement, of: "rewrite", expected: "a path, a URL or \"?\"") }
        let text = replacement.text
        flags.isAbsolute = text.hasPrefix("http://") || text.hasPrefix("https://") || text.hasPrefix("$scheme")
        if replacement.bytes.last == UInt8(ascii: "?") {
            replacement.bytes.removeLast()
            flags.dropsArguments = true
        }
        if d.arguments.count == 3 {
            guard let after: RewriteFlags.After = ["last": .last, "break": .stop, "redirect": .redirect, "permanent": .permanent][d.arguments[2].text]
            else { throw .invalidValue(d.arguments[2], of: "rewrite", expected: "\"last\", \"break\", \"redirect\" or \"permanent\"") }
            flags.after = after
        }
        let regex = try scope.builder.regex(d.arguments[0], ignoringCase: false, of: "rewrite")
        return .rewrite(regex: regex, replacement: try scope.builder.template(replacement, of: "rewrite"), flags)
    }

    /// The words between `if (` and `)`.
    static func condition(_ builder: SnapshotBuilder, _ d: Directive) throws(Diagnostic) -> Condition {
        var words = d.arguments
        guard var first = words.first, first.bytes.first == UInt8(ascii: "("), var last = words.last, last.bytes.last == UInt8(ascii: ")") else {
            throw Diagnostic(
                at: d.position, directive: "if", "invalid condition \"\(words.first?.shown ?? "")\"", found: words.first?.shown ?? "nothing",
                expected: "a condition in parentheses")
        }
        if words.count == 1 {
            first.bytes = Array(first.bytes.dropFirst().dropLast())
            words = [first]
        } else {
            first.bytes.removeFirst()
            last.bytes.removeLast()
            words[0] = first
            words[words.count - 1] = last
            // Parentheses may stand apart from the words: `( $a = b )`.
            if first.bytes.isEmpty, !first.isQuoted { words.removeFirst() }
            if last.bytes.isEmpty, !last.isQuoted, words.count > 1 { words.removeLast() }
        }
        func invalid(_ word: Word) -> Diagnostic {
            Diagnostic(
                at: word.position, directive: "if", "invalid condition \"\(word.shown)\"", found: word.shown,
                expected: "a variable, a comparison with =, !=, ~, ~*, !~ or !~*, or a file test")
        }
        guard let subject = words.first else { throw invalid(d.name) }
        if words.count == 1 {
            guard case .variable(let name)? = try subject.template(of: "if").first else { throw invalid(subject) }
            return .isSet(try builder.variable(name, at: subject, of: "if"))
        }
        if words.count == 2, let test = fileTest(subject.text) {
            return .file(try builder.template(words[1], of: "if"), test.test, negated: test.negated)
        }
        guard words.count == 3 else { throw invalid(subject) }
        let left = try builder.template(subject, of: "if")
        switch words[1].text {
        case "=": return .equal(left, try builder.template(words[2], of: "if"), negated: false)
        case "!=": return .equal(left, try builder.template(words[2], of: "if"), negated: true)
        case "~": return .matches(left, regex: try builder.regex(words[2], ignoringCase: false, of: "if"), negated: false)
        case "~*": return .matches(left, regex: try builder.regex(words[2], ignoringCase: true, of: "if"), negated: false)
        case "!~": return .matches(left, regex: try builder.regex(words[2], ignoringCase: false, of: "if"), negated: true)
        case "!~*": return .matches(left, regex: try builder.regex(words[2], ignoringCase: true, of: "if"), negated: true)
        default: throw invalid(words[1])
        }
    }

    private static func fileTest(_ text: String) -> (test: FileTest, negated: Bool)? {
        let negated = text.hasPrefix("!")
        guard let test: FileTest = ["-f": .isFile, "-d": .isDirectory, "-e": .exists, "-x": .isExecutable][String(text.dropFirst(negated ? 1 : 0))]
        else { return nil }
        return (test, negated)
    }
}
