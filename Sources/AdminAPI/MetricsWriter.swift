// Writes figures in the text format 0.0.4 of Prometheus: a family's name, help and type, then its samples.
// Used by `Metrics+Text`. It knows no family.

/// A figure that the proxy tells, in one sample or in several that differ in the values of labels.
public struct MetricFamily: Sendable, Equatable {
    public enum Kind: String, Sendable { case counter, gauge }
    public let name: String
    public let kind: Kind
    /// Of each of its samples, in this order.
    public let labels: [String]
    /// One sentence.
    public let help: String

    init(_ name: String, _ kind: Kind, _ labels: [String], _ help: String) {
        self.name = name
        self.kind = kind
        self.labels = labels
        self.help = help
    }
}

/// Values of labels, as they stand in samples: made once for all families that have them.
struct MetricLabels {
    fileprivate(set) var bytes: [UInt8] = []

    init(_ labels: KeyValuePairs<String, String>) { for (name, value) in labels { add(name, value) } }

    /// With one label more.
    func with(_ name: String, _ value: String) -> MetricLabels {
        var more = self
        more.add(name, value)
        return more
    }

    private mutating func add(_ name: String, _ value: String) {
        if !bytes.isEmpty { bytes.append(UInt8(ascii: ",")) }
        bytes += name.utf8
        bytes += "=\"".utf8
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): bytes += "\\\\".utf8
            case UInt8(ascii: "\""): bytes += "\\\"".utf8
            case UInt8(ascii: "\n"): bytes += "\\n".utf8
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}

struct MetricsWriter {
    private(set) var bytes: [UInt8] = []
    private var name: [UInt8] = []

    init() { bytes.reserveCapacity(16 << 10) }

    /// Samples of this family follow. Each family once.
    mutating func begin(_ family: MetricFamily) {
        name = Array(family.name.utf8)
        for (word, text) in [("# HELP ", family.help), ("# TYPE ", family.kind.rawValue)] {
            bytes += word.utf8
            bytes += name
            bytes.append(UInt8(ascii: " "))
            bytes += text.utf8
            bytes.append(UInt8(ascii: "\n"))
        }
    }

    mutating func sample(_ labels: MetricLabels? = nil, _ value: Int) { write(labels, String(value)) }
    mutating func sample(_ labels: MetricLabels? = nil, _ value: UInt64) { write(labels, String(value)) }
    mutating func sample(_ labels: MetricLabels? = nil, _ value: Bool) { write(labels, value ? "1" : "0") }

    /// A number of milliseconds, in seconds.
    mutating func sample(_ labels: MetricLabels? = nil, ms: Int64) {
        let rest = String(ms.magnitude % 1000)
        let part = rest == "0" ? "" : "." + String(repeating: "0", count: 3 - rest.utf8.count) + rest
        write(labels, (ms < 0 ? "-" : "") + String(ms.magnitude / 1000) + part)
    }

    private mutating func write(_ labels: MetricLabels?, _ value: String) {
        bytes += name
        if let labels {
            bytes.append(UInt8(ascii: "{"))
            bytes += labels.bytes
            bytes.append(UInt8(ascii: "}"))
        }
        bytes.append(UInt8(ascii: " "))
        bytes += value.utf8
        bytes.append(UInt8(ascii: "\n"))
    }
}
