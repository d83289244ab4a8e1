// Where a rollout looks besides the traffic itself: health addresses, dependencies, metrics, receivers of news. Parts of a policy.
// Asked by the controller, each in its own time; what comes of it reaches the machine as events.
import AdminAPI

/// An address that is asked again and again.
public struct CheckPolicy: Sendable, Equatable {
    /// A path on every server of a variant, or a whole URL; `$variant` in it is the variant's name.
    public var target: String
    public var intervalMs: Int64 = 5_000
    public var timeoutMs: Int64 = 2_000

    public init(_ target: String) { self.target = target }

    /// Asked of each server of both variants; else it is one address for all, or one a variant.
    public var isPath: Bool { target.hasPrefix("/") }
}

/// A dependency: the variants are asked for it, or its own address is.
public struct DependencyPolicy: Sendable, Equatable {
    public var name: String
    public var check: CheckPolicy

    public init(name: String, check: CheckPolicy) {
        self.name = name
        self.check = check
    }
}

/// Where a metric's readings come from. In every text `$variant` is the variant's name.
public enum MetricSource: Sendable, Equatable {
    /// The resident memory of the process whose number stands in this file, in MiB.
    case residentMemory(pidFile: String)
    /// The number that a program prints: its name in the folder of `rollout_commands`, and arguments.
    case command([String])
    /// The number that an address answers.
    case url(String)
    /// The value of a query, from a Prometheus server.
    case prometheus(url: String, query: String)
}

extension CheckPolicy {
    /// - Parameter key: what holds the target: `uri` or `url`.
    static func decoded(_ fields: Fields, _ keys: [String]) throws(Problem) -> CheckPolicy {
        let given = keys.filter { fields.has($0) != nil }
        guard given.count == 1 else {
            let expected = keys.map { "\"\($0)\"" }.joined(separator: " or ")
            throw Problem(.missingField, "found \(given.isEmpty ? "no address" : "two addresses"), expected \(expected)", pointer: "")
        }
        var check = CheckPolicy(try fields.string(given[0]))
        let isPath = given[0] == "uri"
        if isPath != check.isPath || (!isPath && !CheckPolicy.isURL(check.target)) {
            let expected = isPath ? "a path such as /health" : "an address such as http://127.0.0.1:8080/health"
            throw Problem(.outOfRange, "found \"\(check.target.prefix(64))\", expected \(expected)", pointer: "/" + given[0])
        }
        try fields.set(&check.intervalMs, "interval", fields.spanMs)
        try fields.set(&check.timeoutMs, "timeout", fields.spanMs)
        return check
    }

    static func isURL(_ text: String) -> Bool {
        (text.hasPrefix("http://") || text.hasPrefix("https://")) && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } && text.utf8.count <= 2048
    }

    func check(at path: [String]) throws(Problem) {
        func range(_ ms: Int64, _ range: ClosedRange<Int64>, _ name: String) throws(Problem) {
            do { try RolloutPolicy.check(ms, range, name) } catch {
                throw Problem(error.kind, error.detail, pointer: JSONPointer(path + [name]).text)
            }
        }
        try range(intervalMs, RolloutPolicy.Bounds.checkIntervalMs, "interval")
        try range(timeoutMs, RolloutPolicy.Bounds.checkTimeoutMs, "timeout")
        if target.utf8.count > 2048 || !target.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) {
            throw Problem(.outOfRange, "found an address with blanks or of more than 2048 bytes", pointer: JSONPointer(path + ["uri"]).text)
        }
    }

    var members: JSON {
        .members([
            "interval": .spanMs(intervalMs), "timeout": .spanMs(timeoutMs), isPath ? "uri" : "url": .string(target),
        ])
    }
}

/// The health addresses of both variants.
extension CheckPolicy: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self = try Self.decoded(try Fields(json, of: "a health check", known: ["interval", "timeout", "uri"]), ["uri"])
    }

    public var json: JSON { members }
}

extension DependencyPolicy: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a dependency", known: ["interval", "name", "timeout", "uri", "url"])
        self.init(name: try fields.string("name"), check: try CheckPolicy.decoded(fields, ["uri", "url"]))
    }

    public var json: JSON { check.members.merging(.members(["name": .string(name)])) }
}

extension MetricSource {
    static let keys = ["command", "prometheus", "rss", "url"]

    /// nil: the metric has none of its own; readings come from elsewhere.
    static func decoded(_ fields: Fields) throws(Problem) -> MetricSource? {
        let given = keys.filter { fields.has($0) != nil }
        if given.isEmpty { return nil }
        if given.count > 1 {
            throw Problem(.conflict, status: 422, "found \(given.joined(separator: " and ")), expected one of them", pointer: JSONPointer([given[1]]).text)
        }
        switch given[0] {
        case "rss": return .residentMemory(pidFile: try fields.string("rss"))
        case "url": return .url(try url(fields, "url"))
        case "command":
            let words = try fields.list("command") { (json, pointer) throws(Problem) in
                guard let word = json.string else { throw Problem(.wrongType, "found no text, expected a word", pointer: pointer.text) }
                return word
            }
            guard let name = words.first, !name.isEmpty, !name.contains("/"), words.count <= 32 else {
                throw Problem(
                    .outOfRange, "expected the name of a program in the folder of rollout_commands, and arguments", pointer: "/command")
            }
            return .command(words)
        default:
            let inner: Fields
            do {
                inner = try Fields(try fields.json("prometheus"), of: "a query of Prometheus", known: ["query", "url"])
                return .prometheus(url: try url(inner, "url"), query: try inner.string("query"))
            } catch {
                if error.pointer == "/prometheus" { throw error }
                throw Problem(error.kind, error.detail, pointer: "/prometheus" + (error.pointer ?? ""))
            }
        }
    }

    private static func url(_ fields: Fields, _ name: String) throws(Problem) -> String {
        let text = try fields.string(name)
        if CheckPolicy.isURL(text) { return text }
        throw Problem(
            .outOfRange, "found \"\(text.prefix(64))\", expected an address such as http://127.0.0.1:9090", pointer: JSONPointer([name]).text)
    }

    var members: JSON {
        switch self {
        case .residentMemory(let file): .members(["rss": .string(file)])
        case .command(let words): .members(["command": .array(words.map { .string($0) })])
        case .url(let url): .members(["url": .string(url)])
        case .prometheus(let url, let query): .members(["prometheus": .members(["query": .string(query), "url": .string(url)])])
        }
    }
}

extension RolloutPolicy {
    func checkSources() throws(Problem) {
        if let checks {
            try checks.check(at: ["checks"])
        }
        if dependencies.count > Bounds.dependenciesMax {
            throw Self.problem("\(dependencies.count) dependencies", "at most \(Bounds.dependenciesMax)", "dependencies")
        }
        for (i, one) in dependencies.enumerated() {
            let pointer = JSONPointer(["dependencies", String(i)])
            try StateRules.check(name: one.name, at: pointer.appending("name"))
            if dependencies[..<i].contains(where: { $0.name == one.name }) {
                throw Self.problem("\"\(one.name)\" a second time", "each name once", "dependencies", String(i), "name")
            }
            try one.check.check(at: ["dependencies", String(i)])
        }
        if notify.count > Bounds.receiversMax {
            throw Self.problem("\(notify.count) receivers", "at most \(Bounds.receiversMax)", "notify")
        }
        for (i, url) in notify.enumerated() where !CheckPolicy.isURL(url) {
            throw Self.problem("\"\(url.prefix(64))\"", "an address such as https://hooks.example.com/x", "notify", String(i))
        }
    }
}
