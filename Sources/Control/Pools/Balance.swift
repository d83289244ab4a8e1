// The way an upstream chooses, as text: `least_conn`, `hash $uri consistent`. One grammar for the configuration and the admin API.
// Read by the upstream directives and by `PoolBuilder`.

import AdminAPI
import Balancing
import ConfigurationFile

struct Balance {
    var algorithm: Algorithm
    /// What `hash` hashes.
    var key: Word?

    static let names = ["round_robin", "least_conn", "ip_hash", "hash", "random"]

    /// Reads the directive, or the text of one. Diagnostics are nginx's.
    init(_ d: Directive) throws(Diagnostic) {
        let name = d.name.text
        let arguments = d.arguments
        func expectCount(_ range: ClosedRange<Int>, _ words: String) throws(Diagnostic) {
            if !range.contains(arguments.count) { throw .wrongArgumentCount(d, expected: words) }
        }
        switch name {
        case "round_robin", "least_conn", "ip_hash":
            try expectCount(0...0, "no arguments")
            algorithm = name == "least_conn" ? .leastConn : name == "ip_hash" ? .ipHash : .roundRobin
        case "hash":
            try expectCount(1...2, "a key, and \"consistent\" or nothing")
            key = arguments[0]
            algorithm = .hash
            if arguments.count == 2 {
                guard arguments[1] == "consistent" else { throw .invalidValue(arguments[1], of: "hash", expected: "\"consistent\"") }
                algorithm = .hashConsistent
            }
        case "random":
            try expectCount(0...2, "\"two\" and a method, or nothing")
            algorithm = .random
            if let two = arguments.first {
                guard two == "two" else { throw .invalidValue(two, of: "random", expected: "\"two\"") }
                algorithm = .randomTwo
            }
            if arguments.count == 2, !(arguments[1] == "least_conn") {
                throw .invalidValue(arguments[1], of: "random", expected: "\"least_conn\"")
            }
        default:
            throw Diagnostic(
                at: d.name.position, "unknown way of balancing \"\(d.name.shown)\"", found: d.name.shown,
                expected: Self.names.joined(separator: ", "),
                hint: nearestName(to: name, among: Self.names).map { "did you mean \"\($0)\"?" })
        }
    }

    /// Reads a text such as `hash $uri consistent`.
    init(text: String) throws(Diagnostic) {
        let read = try ConfigurationFile.parse(Array((text + ";").utf8), file: "balance")
        guard read.count == 1, let d = read.first, d.block == nil else {
            throw Diagnostic(at: Position(file: "balance"), "invalid way of balancing", found: text, expected: "one directive")
        }
        try self.init(d)
    }

    /// The text of a directive as it is kept: words that need quotes have them.
    static func text(of d: Directive) -> String {
        ([d.name] + d.arguments).map { ConfigurationWords.quoted($0.text) }.joined(separator: " ")
    }
}
