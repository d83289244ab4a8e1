// Owns a strict reader of the text format 0.0.4 of Prometheus: what it takes, a Prometheus server takes.
// Called by the suites about /metrics. It knows no family.

public struct MetricsText {
    public struct Sample {
        public var labels: [(name: String, value: String)]
        public var value: Double
    }
    public struct Family {
        public var help: String
        public var type: String
        public var samples: [Sample] = []
    }
    public struct Fault: Error, CustomStringConvertible {
        public var description: String
    }
    /// In the order of the text.
    public private(set) var names: [String] = []
    public private(set) var families: [String: Family] = [:]

    public init(_ text: String) throws {
        guard text.hasSuffix("\n") else { throw Fault(description: "the last line does not end") }
        var help: (name: String, text: String)?
        var current: String?
        var seen: Set<String> = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
            if line.hasPrefix("# HELP ") {
                guard words.count == 4, !words[3].isEmpty else { throw Fault(description: "no help: \(line)") }
                help = (words[2], words[3])
                current = nil
            } else if line.hasPrefix("# TYPE ") {
                guard words.count == 4, let told = help, told.name == words[2] else { throw Fault(description: "no help before: \(line)") }
                guard ["counter", "gauge"].contains(words[3]) else { throw Fault(description: "no type: \(line)") }
                guard families[words[2]] == nil else { throw Fault(description: "a second time: \(line)") }
                families[words[2]] = Family(help: told.text, type: words[3])
                names.append(words[2])
                current = words[2]
                help = nil
            } else {
                let (name, sample) = try Self.sample(line)
                guard name == current else { throw Fault(description: "outside of its family: \(line)") }
                let key = name + sample.labels.map { "\($0)=\($1.debugDescription)" }.sorted().joined(separator: ",")
                guard seen.insert(key).inserted else { throw Fault(description: "a second time: \(line)") }
                families[name]?.samples.append(sample)
            }
        }
    }

    /// The one sample of a family with these labels, whatever others it has.
    public func value(_ name: String, _ labels: KeyValuePairs<String, String> = [:]) -> Double? {
        let found = families[name]?.samples.filter { sample in labels.allSatisfy { label in sample.labels.contains { $0 == label } } } ?? []
        return found.count == 1 ? found[0].value : nil
    }

    private static func sample(_ line: Substring) throws -> (String, Sample) {
        func bad(_ why: String) -> Fault { Fault(description: "\(why): \(line)") }
        func isName(_ text: Substring) -> Bool {
            guard let first = text.utf8.first, !(0x30...0x39).contains(first) else { return false }
            return text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x5F }
        }
        let name = line.prefix { $0 != "{" && $0 != " " }
        guard isName(name) else { throw bad("no name") }
        var rest = line.dropFirst(name.count)
        var labels: [(name: String, value: String)] = []
        if rest.first == "{" {
            rest.removeFirst()
            while rest.first != "}" {
                if !labels.isEmpty {
                    guard rest.first == "," else { throw bad("no comma") }
                    rest.removeFirst()
                }
                let label = rest.prefix { $0 != "=" }
                rest = rest.dropFirst(label.count)
                guard isName(label), rest.hasPrefix("=\"") else { throw bad("no label") }
                rest.removeFirst(2)
                var value = ""
                while let c = rest.popFirst(), c != "\"" {
                    if c != "\\" {
                        value.append(c)
                        continue
                    }
                    switch rest.popFirst() {
                    case "n": value.append("\n")
                    case "\\": value.append("\\")
                    case "\"": value.append("\"")
                    default: throw bad("no escape")
                    }
                }
                guard !labels.contains(where: { $0.name == String(label) }) else { throw bad("a label twice") }
                labels.append((String(label), value))
            }
            rest.removeFirst()
        }
        guard rest.first == " ", let number = Double(rest.dropFirst()) else { throw bad("no value") }
        return (String(name), Sample(labels: labels, value: number))
    }
}
