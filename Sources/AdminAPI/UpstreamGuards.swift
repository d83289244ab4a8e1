// The words of an upstream's `outlier_detection`, `retry_budget`, `circuit_breaker` and `queue`, as the configuration has them.
// Read by the directives, by `StateRules` and by the snapshot's builder. Text and ranges only: what they do is Balancing's.

/// What one of these directives says. A state keeps its `text`: all parameters, in one order.
public protocol UpstreamGuard: Sendable, Equatable {
    static var name: String { get }
    /// - Parameter words: behind the directive's name.
    /// - Throws: `bad-balance`, `bad-time` or `out-of-range`; with an empty pointer.
    init(words: [String]) throws(Problem)
    /// The words, with what was left out.
    var text: String { get }
}

extension UpstreamGuard {
    public init(_ text: String) throws(Problem) { try self.init(words: try ConfigurationWords.split(text)) }

    /// Goes over `name=value` words. `set`: false for a name it does not know.
    static func forEach(
        _ words: some Sequence<String>, known: [String], _ set: (String, GuardValue) throws(Problem) -> Bool
    ) throws(Problem) {
        var seen: Set<String> = []
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let expected = known.map { $0 + "=" }.joined(separator: ", ")
            guard parts.count == 2, try set(parts[0], GuardValue(word: word, text: parts[1])) else {
                let near = nearestField(to: parts[0], among: known).map { "did you mean \"\($0)\"?" } ?? ""
                throw Problem(.badBalance, "found \"\(shortened(word))\" in \(name), expected \(expected)", hint: near, pointer: "")
            }
            if !seen.insert(parts[0]).inserted {
                throw Problem(.badBalance, "found \"\(parts[0])\" a second time in \(name), expected it once", pointer: "")
            }
        }
    }
}

/// The value of one parameter.
struct GuardValue {
    var word: String
    var text: String

    private func bad(_ kind: Problem.Kind, _ expected: String) -> Problem {
        Problem(kind, "found \"\(shortened(word))\", expected \(expected)", pointer: "")
    }

    func number(_ range: ClosedRange<Int>) throws(Problem) -> Int {
        guard text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let n = Int(text) else { throw bad(.badBalance, "a whole number") }
        if !range.contains(n) { throw bad(.outOfRange, "a whole number \(range.worded)") }
        return n
    }

    /// A number of percent, with the sign or without.
    func percent(_ range: ClosedRange<Int>) throws(Problem) -> Int {
        try GuardValue(word: word, text: text.hasSuffix("%") ? String(text.dropLast()) : text).number(range)
    }

    func timeMs(_ range: ClosedRange<Int64>) throws(Problem) -> Int64 {
        guard let ms = NginxTime.ms(text, isInSeconds: false) else { throw bad(.badTime, "a time such as 500ms, 30s or 1h30m") }
        if !range.contains(ms) {
            throw bad(.outOfRange, "a time of \(NginxTime.text(ms: range.lowerBound)) to \(NginxTime.text(ms: range.upperBound))")
        }
        return ms
    }
}

/// Which servers are ejected because they do worse than their siblings. Words and defaults are Envoy's, where it has them.
public struct OutlierDetection: UpstreamGuard {
    public static let name = "outlier_detection"
    /// 0: any number.
    public var consecutiveErrors = 5
    /// In percent; 0: any.
    public var errorRatio = 50
    /// In percent of that of the siblings; 0: any.
    public var latency = 0
    public var intervalMs: Int64 = 5_000
    public var requestsMin = 20
    public var ejectionMs: Int64 = 30_000
    public var ejectionMsMax: Int64 = 300_000
    public var ejectedPercentMax = 50

    private static let known = [
        "consecutive_5xx", "error_ratio", "latency", "interval", "min_requests", "base_ejection_time", "max_ejection_time",
        "max_ejection_percent",
    ]
    private static let spanMs: ClosedRange<Int64> = 1...86_400_000

    public init(words: [String]) throws(Problem) {
        try Self.forEach(words, known: Self.known) { (name, value) throws(Problem) in
            switch name {
            case "consecutive_5xx": consecutiveErrors = try value.number(0...1_000_000)
            case "error_ratio": errorRatio = try value.percent(0...100)
            case "latency": latency = try value.percent(0...100_000)
            case "interval": intervalMs = try value.timeMs(100...86_400_000)
            case "min_requests": requestsMin = try value.number(1...1_000_000)
            case "base_ejection_time": ejectionMs = try value.timeMs(Self.spanMs)
            case "max_ejection_time": ejectionMsMax = try value.timeMs(Self.spanMs)
            case "max_ejection_percent": ejectedPercentMax = try value.percent(0...100)
            default: return false
            }
            return true
        }
        if latency > 0, latency <= 100 {
            throw Problem(.outOfRange, "found \"latency=\(latency)%\", expected more than 100 percent of that of the siblings, or 0", pointer: "")
        }
        ejectionMsMax = max(ejectionMsMax, ejectionMs)
    }

    public var text: String {
        "consecutive_5xx=\(consecutiveErrors) error_ratio=\(errorRatio)% latency=\(latency)% interval=\(NginxTime.text(ms: intervalMs)) "
            + "min_requests=\(requestsMin) base_ejection_time=\(NginxTime.text(ms: ejectionMs)) "
            + "max_ejection_time=\(NginxTime.text(ms: ejectionMsMax)) max_ejection_percent=\(ejectedPercentMax)%"
    }
}

/// How many requests may try a further server at once.
public struct RetryBudgetWords: UpstreamGuard {
    public static let name = "retry_budget"
    /// Of the active requests.
    public var percent = 20
    /// So many may in any case.
    public var least = 3

    public init(words: [String]) throws(Problem) {
        var rest = words[...]
        if let first = rest.first, !first.contains("=") {
            percent = try GuardValue(word: first, text: first).percent(0...1000)
            rest = rest.dropFirst()
        }
        try Self.forEach(rest, known: ["min"]) { (name, value) throws(Problem) in
            if name != "min" { return false }
            least = try value.number(0...1_000_000)
            return true
        }
    }

    public var text: String { "\(percent)% min=\(least)" }
}

/// How many requests an upstream takes at once.
public struct CircuitBreakerWords: UpstreamGuard {
    public static let name = "circuit_breaker"
    /// Nil: any number.
    public var requestsMax: Int?
    public var pendingMax: Int?

    public init(words: [String]) throws(Problem) {
        try Self.forEach(words, known: ["max_requests", "max_pending"]) { (name, value) throws(Problem) in
            switch name {
            case "max_requests": requestsMax = try value.number(1...Int(Int32.max))
            case "max_pending": pendingMax = try value.number(1...Int(Int32.max))
            default: return false
            }
            return true
        }
        if words.isEmpty {
            throw Problem(.badBalance, "found nothing in \(Self.name), expected max_requests=, max_pending= or both", pointer: "")
        }
    }

    public var text: String {
        [requestsMax.map { "max_requests=\($0)" }, pendingMax.map { "max_pending=\($0)" }].compactMap(\.self).joined(separator: " ")
    }
}

/// How many requests wait for a server that can take them, and how long.
public struct QueueWords: UpstreamGuard {
    public static let name = "queue"
    public static let sizeMax = 100_000
    public var size: Int
    public var timeoutMs: Int64 = 60_000

    public init(words: [String]) throws(Problem) {
        guard let first = words.first else {
            throw Problem(.badBalance, "found nothing in \(Self.name), expected a number of requests", pointer: "")
        }
        size = try GuardValue(word: first, text: first).number(1...Self.sizeMax)
        try Self.forEach(words.dropFirst(), known: ["timeout"]) { (name, value) throws(Problem) in
            if name != "timeout" { return false }
            timeoutMs = try value.timeMs(1...86_400_000)
            return true
        }
    }

    public var text: String { "\(size) timeout=\(NginxTime.text(ms: timeoutMs))" }
}

extension StateRules {
    /// Their texts, and the percentage of panic.
    static func checkGuards(_ upstream: UpstreamState) throws(Problem) {
        try check(OutlierDetection.self, upstream.outlierDetection)
        try check(RetryBudgetWords.self, upstream.retryBudget)
        try check(CircuitBreakerWords.self, upstream.circuitBreaker)
        try check(QueueWords.self, upstream.queue)
        if let percent = upstream.panicThreshold, !StateBounds.percent.contains(percent) {
            throw Problem(.outOfRange, "found the number \(percent), expected a whole number \(StateBounds.percent.worded)", pointer: "/panic_threshold")
        }
    }

    private static func check<Words: UpstreamGuard>(_ type: Words.Type, _ text: String?) throws(Problem) {
        guard let text else { return }
        do { _ = try Words(text) } catch { throw error.below(Words.name) }
    }
}
