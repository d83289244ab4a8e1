// The JSON of a policy: what a policy file (YAML of the same shape) and requests carry, and what a rollout's state keeps.
// Types and ranges of numbers only; what fields mean together is for `RolloutPolicy.check`. Unknown fields are refused.
import AdminAPI

extension RolloutPolicy: JSONCodable {
    static let fields = [
        "alpha", "approval_steps", "bake", "checks", "dependencies", "error_rise_min", "errors", "guards", "inconclusive",
        "interval", "latency_rise_min", "latency_rise_min_ratio", "name", "notify", "rollback", "samples_min", "shadow", "sick_way_back", "steps", "strategy", "warm_up",
    ]

    /// Absent fields have their defaults; those of `steps` follow the strategy.
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a rollout policy", known: Self.fields)
        self.init(name: try fields.string("name"))
        try fields.set(&strategy, "strategy") { (name) throws(Problem) in try fields.word(name) }
        switch strategy {
        case .blueGreen: steps = [100]
        case .ab: steps = [50]
        case .rolling: steps = Self.rollingSteps(replicas: 3)
        case .canary: break
        }
        let percents = { (name: String) throws(Problem) -> [Int] in
            try fields.list(name) { (json, pointer) throws(Problem) in
                guard let percent = json.integer, (-1000...1000).contains(percent) else {
                    throw Problem(.wrongType, "found no whole number, expected a percentage", pointer: pointer.text)
                }
                return Int(percent)
            }
        }
        try fields.set(&steps, "steps", percents)
        try fields.set(&approvalSteps, "approval_steps", percents)
        try fields.set(&intervalMs, "interval", fields.spanMs)
        // Of a short step no more than a quarter.
        warmUpMs = min(warmUpMs, max(intervalMs, 0) / 4)
        try fields.set(&warmUpMs, "warm_up", fields.spanMs)
        try fields.set(&bakeMs, "bake", fields.spanMs)
        try fields.set(&samplesMin, "samples_min") { (name) throws(Problem) in try fields.int(name) }
        try fields.set(&alpha, "alpha", fields.number)
        try fields.set(&errorRiseMin, "error_rise_min", fields.number)
        try fields.set(&latencyRiseMinMs, "latency_rise_min") { (name) throws(Problem) in try fields.spanInt(name) }
        try fields.set(&latencyRiseMinRatio, "latency_rise_min_ratio", fields.number)
        try fields.set(&errorClasses, "errors") { (name) throws(Problem) in
            try fields.list(name) { (json, pointer) throws(Problem) in
                if let text = json.string, let kind = ErrorClass(rawValue: text) { return kind }
                let words = ErrorClass.allCases.map(\.rawValue).joined(separator: ", ")
                throw Problem(.outOfRange, "found no class of errors, expected one of \(words)", pointer: pointer.text)
            }
        }
        try fields.set(&whenInconclusive, "inconclusive") { (name) throws(Problem) in try fields.word(name) }
        try fields.set(&whenWayBackSick, "sick_way_back") { (name) throws(Problem) in try fields.word(name) }
        try fields.set(&rollsBackByItself, "rollback", fields.bool)
        try fields.set(&guards, "guards") { (name) throws(Problem) in try fields.value(name) }
        try fields.setOptional(&shadow, "shadow") { (name) throws(Problem) in try fields.value(name) }
        try fields.setOptional(&checks, "checks") { (name) throws(Problem) in try fields.value(name) }
        try fields.set(&dependencies, "dependencies") { (name) throws(Problem) in
            try fields.list(name) { (json, pointer) throws(Problem) in try DependencyPolicy(json: json, at: pointer) }
        }
        try fields.set(&notify, "notify") { (name) throws(Problem) in
            try fields.list(name) { (json, pointer) throws(Problem) in
                guard let url = json.string else { throw Problem(.wrongType, "found no text, expected an address", pointer: pointer.text) }
                return url
            }
        }
    }

    public var json: JSON {
        .members([
            "alpha": .figure(alpha), "approval_steps": .array(approvalSteps.map { .whole($0) }), "bake": .spanMs(bakeMs),
            "checks": checks?.json ?? .null, "dependencies": .array(dependencies.map(\.json)),
            "error_rise_min": .figure(errorRiseMin), "errors": .array(errorClasses.map { .string($0.rawValue) }),
            "guards": guards.json, "inconclusive": .string(whenInconclusive.rawValue), "interval": .spanMs(intervalMs),
            "latency_rise_min": .spanMs(Int64(latencyRiseMinMs)), "latency_rise_min_ratio": .figure(latencyRiseMinRatio),
            "name": .string(name), "notify": .array(notify.map { .string($0) }), "rollback": .bool(rollsBackByItself), "samples_min": .whole(samplesMin),
            "shadow": shadow?.json ?? .null, "sick_way_back": .string(whenWayBackSick.rawValue),
            "steps": .array(steps.map { .whole($0) }), "strategy": .string(strategy.rawValue), "warm_up": .spanMs(warmUpMs),
        ])
    }
}

extension Fields {
    /// A span that is kept as an `Int`.
    fileprivate func spanInt(_ name: String) throws(Problem) -> Int { Int(clamping: try spanMs(name)) }
}

extension GuardPolicy: JSONCodable {
    static let fields = [
        "checks_failed_max", "dependency_fails_max", "deviations", "error_ratio_max", "error_rise_max", "errors_min",
        "latency_rise_floor", "latency_rise_max", "latency_rise_max_ratio", "metrics", "samples_min", "throughput_drop_max",
        "window",
    ]

    /// `null` switches a limit off.
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "the guards", known: Self.fields)
        let int = { (name: String) throws(Problem) -> Int in try fields.int(name) }
        self.init()
        try fields.set(&windowMs, "window", fields.spanMs)
        try fields.set(&samplesMin, "samples_min", int)
        try fields.set(&errorsMin, "errors_min", int)
        try fields.set(&deviations, "deviations", fields.number)
        try fields.setOptional(&checksFailedMax, "checks_failed_max", int)
        try fields.setOptional(&errorRatioMax, "error_ratio_max", fields.number)
        try fields.setOptional(&errorRiseMax, "error_rise_max", fields.number)
        try fields.setOptional(&latencyRiseMaxMs, "latency_rise_max", fields.spanInt)
        try fields.setOptional(&latencyRiseMaxRatio, "latency_rise_max_ratio", fields.number)
        try fields.set(&latencyRiseFloorMs, "latency_rise_floor", fields.spanInt)
        try fields.setOptional(&throughputDropMax, "throughput_drop_max", fields.number)
        try fields.setOptional(&dependencyFailsMax, "dependency_fails_max", int)
        try fields.set(&metrics, "metrics") { (name) throws(Problem) in
            try fields.list(name) { (json, pointer) throws(Problem) in try MetricLimit(json: json, at: pointer) }
        }
    }

    public var json: JSON {
        .members([
            "checks_failed_max": checksFailedMax.map { .whole($0) } ?? .null,
            "dependency_fails_max": dependencyFailsMax.map { .whole($0) } ?? .null, "deviations": .figure(deviations),
            "error_ratio_max": errorRatioMax.map { .figure($0) } ?? .null,
            "error_rise_max": errorRiseMax.map { .figure($0) } ?? .null, "errors_min": .whole(errorsMin),
            "latency_rise_floor": .spanMs(Int64(latencyRiseFloorMs)),
            "latency_rise_max": latencyRiseMaxMs.map { .spanMs(Int64($0)) } ?? .null,
            "latency_rise_max_ratio": latencyRiseMaxRatio.map { .figure($0) } ?? .null, "metrics": .array(metrics.map(\.json)),
            "samples_min": .whole(samplesMin), "throughput_drop_max": throughputDropMax.map { .figure($0) } ?? .null,
            "window": .spanMs(windowMs),
        ])
    }
}

extension MetricLimit: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a metric's limit", known: ["breaches", "interval", "max", "name"] + MetricSource.keys)
        self.init(name: try fields.string("name"), max: try fields.number("max"))
        try fields.set(&breaches, "breaches") { (name) throws(Problem) in try fields.int(name) }
        try fields.set(&intervalMs, "interval", fields.spanMs)
        source = try MetricSource.decoded(fields)
    }

    public var json: JSON {
        let limit = JSON.members([
            "breaches": .whole(breaches), "interval": .spanMs(intervalMs), "max": .figure(max), "name": .string(name),
        ])
        return source.map { limit.merging($0.members) } ?? limit
    }
}

extension ShadowGate: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a shadow gate", known: ["compared_min", "differs_max", "headers", "noise", "share", "time_max"])
        self.init()
        try fields.set(&comparedMin, "compared_min") { (name) throws(Problem) in try fields.int(name) }
        try fields.set(&differsMax, "differs_max", fields.number)
        try fields.set(&timeMaxMs, "time_max", fields.spanMs)
        try fields.set(&share, "share") { (name) throws(Problem) in try fields.int(name) }
        try fields.set(&noise, "noise") { (name) throws(Problem) in try fields.int(name) }
        try fields.set(&headers, "headers") { (name) throws(Problem) in
            try fields.list(name) { (json, at) throws(Problem) in
                guard let text = json.string else { throw Problem(.wrongType, "found no text, expected the name of a header field", pointer: at.text) }
                return text
            }
        }
    }

    public var json: JSON {
        .members([
            "compared_min": .whole(comparedMin), "differs_max": .figure(differsMax), "headers": .array(headers.map { .string($0) }),
            "noise": .whole(noise), "share": .whole(share), "time_max": .spanMs(timeMaxMs),
        ])
    }
}
