// The JSON of what was seen: observations, histograms, findings and figures. Zeros are left out.
// Kept in states and records, shown by the API. Unknown members are passed over.
import AdminAPI

extension LatencyHistogram: JSONCodable {
    /// Pairs of bucket and count, one list: `[37, 2, 40, 1]`.
    public init(decoding json: JSON) throws(Problem) {
        self.init()
        let expected = "pairs of a bucket below \(Self.bucketCount) and a count, as one list"
        guard let numbers = json.array, numbers.count % 2 == 0 else {
            throw Problem(.wrongType, "found no histogram, expected \(expected)", pointer: "")
        }
        var i = 0
        while i < numbers.count {
            guard let bucket = numbers[i].integer, let count = numbers[i + 1].integer,
                (0..<Int64(Self.bucketCount)).contains(bucket),
                (0...1 << 48).contains(count)
            else {
                throw Problem(.outOfRange, "found something else, expected \(expected)", pointer: JSONPointer([String(i)]).text)
            }
            add(bucket: Int(bucket), UInt64(count))
            i += 2
        }
    }

    public var json: JSON {
        if first > last { return [] }
        var pairs: [JSON] = []
        for bucket in first...last where self[bucket] > 0 { pairs += [.whole(bucket), .tally(self[bucket])] }
        return .array(pairs)
    }
}

extension Observation: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "an observation")
        self.init()
        try fields.set(&started, "started", fields.count)
        try fields.set(&finished, "finished", fields.count)
        try fields.set(&latency, "latency") { (name) throws(Problem) in try fields.value(name) }
        if let json = fields.has("errors") {
            let counts: Fields
            do { counts = try Fields(json, of: "errors by class") } catch {
                throw Problem(error.kind, error.detail, pointer: "/errors" + (error.pointer ?? ""))
            }
            for kind in ErrorClass.allCases { try counts.set(&errors[kind], kind.rawValue, counts.count) }
        }
    }

    public var json: JSON {
        let counts = ErrorClass.allCases.filter { errors[$0] > 0 }.map { JSON.Member($0.rawValue, .tally(errors[$0])) }
        return .members([
            "errors": counts.isEmpty ? nil : .object(counts.sorted { $0.name < $1.name }),
            "finished": finished == 0 ? nil : .tally(finished), "latency": latency.total == 0 ? nil : latency.json,
            "started": started == 0 ? nil : .tally(started),
        ])
    }
}

extension Observations: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "observations of both variants")
        self.init()
        try fields.set(&old, "old") { (name) throws(Problem) in try fields.value(name) }
        try fields.set(&new, "new") { (name) throws(Problem) in try fields.value(name) }
    }

    public var json: JSON { .members(["new": new.isEmpty ? nil : new.json, "old": old.isEmpty ? nil : old.json]) }
}

extension Figure: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a figure")
        self.init(try fields.string("name"), try fields.number("value"))
    }

    public var json: JSON { .members(["name": .string(name), "value": .figure(value)]) }
}

extension Finding: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a finding")
        self.init(try fields.word("kind"), try fields.string("text"))
        try fields.set(&isCommon, "common", fields.bool)
        try fields.set(&figures, "figures") { (name) throws(Problem) in
            try fields.list(name) { (json, pointer) throws(Problem) in try Figure(json: json, at: pointer) }
        }
    }

    public var json: JSON {
        .members([
            "common": isCommon ? true : nil, "figures": figures.isEmpty ? nil : .array(figures.map(\.json)),
            "kind": .string(kind.rawValue), "text": .string(text),
        ])
    }
}

extension ShadowCounts: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "counts of mirrored requests")
        self.init()
        compared = try fields.count("compared")
        differing = try fields.count("differing")
        comparedOld = try fields.count("compared_old")
        differingOld = try fields.count("differing_old")
    }

    public var json: JSON {
        .members([
            "compared": .tally(compared), "compared_old": .tally(comparedOld), "differing": .tally(differing),
            "differing_old": .tally(differingOld),
        ])
    }
}
