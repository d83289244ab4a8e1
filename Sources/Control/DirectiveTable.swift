// The shape of a directive: its name, where it may stand, how many arguments it takes, and what it sets.
// Each file of Directives/ adds a list of them; `SnapshotBuilder` looks them up. The manual's table is held against this one by a test.

import ConfigurationFile
import Engine

/// One directive this proxy supports.
package struct DirectiveRule: Sendable {
    package typealias Setter = @Sendable (Scope, Directive) throws(Diagnostic) -> Void

    package let name: String
    package let contexts: Set<Context>
    package let arguments: ClosedRange<Int>
    /// It takes a block, which its setter reads; the builder's own blocks (http, server ...) are not in the table.
    package let takesBlock: Bool
    /// Order counts among these: they become steps of the rewrite phase.
    package let isRewriteStep: Bool
    /// Once in a block; a second one is refused.
    package let isUnique: Bool
    /// Not a directive of nginx.
    package let isOwn: Bool
    let set: Setter

    init(
        _ name: String, _ contexts: Set<Context>, _ arguments: ClosedRange<Int>, takesBlock: Bool = false, isRewriteStep: Bool = false,
        isUnique: Bool = true, isOwn: Bool = false, set: @escaping Setter
    ) {
        self.name = name
        self.contexts = contexts
        self.arguments = arguments
        self.takesBlock = takesBlock
        self.isRewriteStep = isRewriteStep
        self.isUnique = isUnique
        self.isOwn = isOwn
        self.set = set
    }
}

extension Set<Context> {
    /// `http`, `server` and `location`: where most directives stand.
    static let httpLevels: Set<Context> = [.http, .server, .location]
    static let httpLevelsAndIf: Set<Context> = [.http, .server, .location, .ifInLocation]
    static let httpAndServer: Set<Context> = [.http, .server]
}

/// Rules for plain values, so that most directives are one line.
extension DirectiveRule {
    typealias LocationPath<V> = WritableKeyPath<LocationSettings, V> & Sendable
    typealias ServerPath<V> = WritableKeyPath<ServerSettings, V> & Sendable

    static func flag(_ name: String, _ contexts: Set<Context>, _ path: LocationPath<Bool>) -> DirectiveRule {
        DirectiveRule(name, contexts, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings[keyPath: path] = try d.arguments[0].flag(of: name)
        }
    }

    static func milliseconds(_ name: String, _ contexts: Set<Context>, _ path: LocationPath<Int64>) -> DirectiveRule {
        DirectiveRule(name, contexts, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings[keyPath: path] = Int64(try d.arguments[0].milliseconds(of: name))
        }
    }

    static func size(_ name: String, _ contexts: Set<Context>, _ path: LocationPath<Int>, in range: ClosedRange<Int>) -> DirectiveRule {
        DirectiveRule(name, contexts, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings[keyPath: path] = try d.arguments[0].size(in: range, of: name)
        }
    }

    static func count(_ name: String, _ contexts: Set<Context>, _ path: LocationPath<UInt32>) -> DirectiveRule {
        DirectiveRule(name, contexts, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings[keyPath: path] = UInt32(try d.arguments[0].integer(in: 0...Int(Int32.max), of: name))
        }
    }

    static func serverFlag(_ name: String, _ path: ServerPath<Bool>) -> DirectiveRule {
        DirectiveRule(name, .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.settings[keyPath: path] = try d.arguments[0].flag(of: name)
        }
    }

    /// Known to nginx and without any effect here that a user could miss; `why` goes to the manual.
    static func accepted(_ name: String, _ contexts: Set<Context>, _ arguments: ClosedRange<Int>, why: String) -> DirectiveRule {
        DirectiveRule(name, contexts, arguments) { (_, _) throws(Diagnostic) in }
    }

    /// As above, with "on" or "off".
    static func acceptedFlag(_ name: String, _ contexts: Set<Context>, why: String) -> DirectiveRule {
        DirectiveRule(name, contexts, 1...1) { (_, d) throws(Diagnostic) in _ = try d.arguments[0].flag(of: name) }
    }
}

extension Word {
    func size(in range: ClosedRange<Int>, of directive: String) throws(Diagnostic) -> Int {
        let n = try sizeBytes(of: directive)
        if range.contains(n) { return n }
        throw .invalidValue(self, of: directive, expected: "a size from \(range.lowerBound) to \(range.upperBound) bytes")
    }
}

/// Every directive, by name.
package enum DirectiveTable {
    package static let rules: [String: [DirectiveRule]] = {
        let all = ProcessDirectives.all + CoreDirectives.all + ClientDirectives.all + AnswerDirectives.all + RewriteDirectives.all
            + LogDirectives.all + ProxyDirectives.all + RateDirectives.all + ProxyHeaderDirectives.all + UpstreamDirectives.all + SplitDirectives.all
            + MapDirectives.all + AdminDirectives.all + AddressDirectives.all + LimitDirectives.all + TLSDirectives.all + HTTP2Directives.all
            + UpstreamTLSDirectives.all + GRPCDirectives.all + FilterDirectives.all + HealthDirectives.all
            + InnerDirectives.all
        return Dictionary(grouping: all, by: \.name)
    }()

    /// The rule for a directive of this name in `context`.
    static func rule(_ name: String, in context: Context) -> DirectiveRule? {
        rules[name]?.first { $0.contexts.contains(context) }
    }

    /// Names that nginx has not, with their places: for the words of a refusal.
    static let own: [String: Set<Context>] = {
        rules.compactMapValues { $0.filter(\.isOwn).reduce(into: Set<Context>()) { $0.formUnion($1.contexts) } }.filter { !$0.value.isEmpty }
    }()
}
