// What was found out about a variant, in words and figures: the reason of a verdict, a freeze or a rollback.
// Made by tests, guards and the machine; shown to people and kept in the record.

/// A number that was seen or compared with, by a name such as `new.error_ratio`. Ratios are of 1, times end in their unit.
public struct Figure: Sendable, Equatable {
    public var name: String
    public var value: Double

    public init(_ name: String, _ value: Double) {
        self.name = name
        self.value = value
    }
}

/// One reason.
public struct Finding: Sendable, Equatable {
    /// What it is about, for programs.
    public enum Kind: String, Sendable, CaseIterable {
        /// Health checks failed in a row.
        case checksFailed = "checks_failed"
        case errorRatio = "error_ratio"
        case errorRise = "error_rise"
        case latencyRise = "latency_rise"
        case throughputDrop = "throughput_drop"
        case dependencyDown = "dependency_down"
        case metricOverLimit = "metric_over_limit"
        /// The sequential comparison of error ratios.
        case errorTest = "error_test"
        /// The sequential comparison of a quantile of latency.
        case latencyTest = "latency_test"
        case shadowDiffers = "shadow_differs"
        case wayBackSick = "way_back_sick"
        case switchRefused = "switch_refused"
        /// An operator's word.
        case asked
    }
    public var kind: Kind
    /// Both variants have it: the cause is neither's own.
    public var isCommon = false
    /// One sentence with the figures that decided.
    public var text: String
    public var figures: [Figure]

    public init(_ kind: Kind, _ text: String, _ figures: [Figure] = []) {
        self.kind = kind
        self.text = text
        self.figures = figures
    }

    func asCommon() -> Finding {
        var finding = self
        finding.isCommon = true
        finding.text += "; the old variant as well: the cause is common"
        return finding
    }
}

/// What the tests say of a step, or of one side of the comparison.
public enum Verdict: Sendable, Equatable {
    case pass
    case fail(Finding)
    /// Why nothing can be said yet.
    case inconclusive(String)
}

/// How figures are told.
enum Wording {
    /// `1.25 %`, to two digits behind the point.
    static func percent(_ ratio: Double) -> String { decimal(ratio * 100, digits: 2) + " %" }

    /// `412.5 ms`.
    static func ms(us: UInt64) -> String { decimal(Double(us) / 1000, digits: us < 100_000 ? 1 : 0) + " ms" }

    /// Rounded to so many digits behind the point, without zeros at the end.
    static func decimal(_ value: Double, digits: Int) -> String {
        let scale = [1, 10, 100, 1000][min(max(digits, 0), 3)]
        guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
        let whole = Int64(abs(value) * Double(scale) + 0.5)
        var text = String(whole % Int64(scale))
        text = String(repeating: "0", count: max(min(digits, 3) - text.utf8.count, 0)) + text
        while text.hasSuffix("0") { text.removeLast() }
        let sign = value < 0 && whole > 0 ? "-" : ""
        return sign + String(whole / Int64(scale)) + (scale == 1 || text.isEmpty ? "" : "." + text)
    }

    static func ratio(_ part: UInt64, of whole: UInt64) -> Double { whole == 0 ? 0 : Double(min(part, whole)) / Double(whole) }

    /// `34 of 680 requests (5 %)`.
    static func share(_ part: UInt64, of whole: UInt64) -> String {
        "\(part) of \(whole) requests (\(percent(ratio(part, of: whole))))"
    }
}
