// What a policy must keep to. Called before a rollout starts and when a policy is stored; it changes nothing.
// A Problem's pointer is the path of the field: `/steps/2`, `/guards/error_ratio_max`.
import AdminAPI

extension RolloutPolicy {
    /// The ranges of single fields.
    public enum Bounds {
        public static let nameBytesMax = 64
        public static let stepsMax = 100
        public static let metricsMax = 32
        public static let percent = 1...100
        public static let intervalMs: ClosedRange<Int64> = 100...(30 * 86_400_000)
        public static let checkIntervalMs: ClosedRange<Int64> = 100...3_600_000
        public static let checkTimeoutMs: ClosedRange<Int64> = 10...60_000
        public static let dependenciesMax = 32
        public static let receiversMax = 8
        public static let timeMs: ClosedRange<Int64> = 0...(30 * 86_400_000)
        public static let windowMs: ClosedRange<Int64> = 1_000...600_000
        public static let samples = 1...1_000_000_000
        public static let alpha = 1e-9...0.2
        public static let ratio = 0.0...1.0
        public static let riseRatio = 0.0...100.0
        public static let riseMs = 0...3_600_000
        public static let deviations = 0.0...10.0
        public static let inARow = 1...1_000
    }

    /// - Throws: the first problem, in the order of fields, with what was found and what was expected.
    public func check() throws(Problem) {
        try StateRules.check(name: name, at: JSONPointer(["name"]))
        try checkSteps()
        try Self.check(intervalMs, Bounds.intervalMs, "interval")
        try Self.check(warmUpMs, Bounds.timeMs, "warm_up")
        if warmUpMs >= intervalMs {
            throw Self.problem(
                "a warm-up of \(NginxTime.text(ms: warmUpMs))",
                "less than the interval of \(NginxTime.text(ms: intervalMs)), of which it is the beginning", "warm_up")
        }
        try Self.check(samplesMin, Bounds.samples, "samples_min")
        try Self.check(alpha, Bounds.alpha, "alpha")
        try Self.check(errorRiseMin, 0...0.9, "error_rise_min")
        try Self.check(latencyRiseMinMs, Bounds.riseMs, "latency_rise_min")
        try Self.check(latencyRiseMinRatio, Bounds.riseRatio, "latency_rise_min_ratio")
        if errorClasses.isEmpty { throw Self.problem("an empty list", "what counts as an error", "errors") }
        for (i, kind) in errorClasses.enumerated() where errorClasses[..<i].contains(kind) {
            throw Self.problem("\"\(kind.rawValue)\" a second time", "each class once", "errors", String(i))
        }
        for (i, step) in approvalSteps.enumerated() where !steps.contains(step) || approvalSteps[..<i].contains(step) {
            let list = steps.map(String.init).joined(separator: ", ")
            throw Self.problem("\(step)", "some of the steps \(list), each once", "approval_steps", String(i))
        }
        try guards.check()
        try Self.check(bakeMs, Bounds.timeMs, "bake")
        try checkSources()
        if let shadow {
            try Self.check(shadow.comparedMin, Bounds.samples, "shadow", "compared_min")
            try Self.check(shadow.differsMax, Bounds.ratio, "shadow", "differs_max")
            try Self.check(shadow.timeMaxMs, Bounds.intervalMs, "shadow", "time_max")
            try Self.check(shadow.share, Bounds.percent, "shadow", "share")
            try StateRules.check(shadow.state(to: ""), of: ["": 0])
        }
    }

    private func checkSteps() throws(Problem) {
        if steps.isEmpty || steps.count > Bounds.stepsMax {
            throw Self.problem("\(steps.count) steps", "1 to \(Bounds.stepsMax) percentages", "steps")
        }
        for (i, step) in steps.enumerated() {
            try Self.check(step, Bounds.percent, "steps", String(i))
            if i > 0, step <= steps[i - 1] {
                throw Self.problem("\(step) after \(steps[i - 1])", "percentages that rise", "steps", String(i))
            }
        }
        let last = String(steps.count - 1)
        switch strategy {
        case .blueGreen:
            if steps != [100] { throw Self.problem("\(steps)", "[100], since blue-green switches all at once", "steps") }
        case .canary, .rolling:
            if steps.last != 100 { throw Self.problem("\(steps.last ?? 0) at the end", "100", "steps", last) }
        case .ab:
            if steps.count != 1 || steps[0] == 100 {
                throw Self.problem("\(steps)", "one percentage below 100, the share until an operator decides", "steps")
            }
        }
    }

    // MARK: Words

    static func problem(_ found: String, _ expected: String, _ path: String...) -> Problem {
        Problem(.outOfRange, "found \(found), expected \(expected)", pointer: JSONPointer(path).text)
    }

    static func check(_ value: Int, _ range: ClosedRange<Int>, _ path: String...) throws(Problem) {
        if range.contains(value) { return }
        throw Problem(
            .outOfRange, "found \(value), expected a whole number from \(range.lowerBound) to \(range.upperBound)",
            pointer: JSONPointer(path).text)
    }

    static func check(_ value: Double, _ range: ClosedRange<Double>, _ path: String...) throws(Problem) {
        if range.contains(value) { return }
        throw Problem(
            .outOfRange, "found \(value), expected a number from \(range.lowerBound) to \(range.upperBound)",
            pointer: JSONPointer(path).text)
    }

    /// Times in milliseconds.
    static func check(_ ms: Int64, _ range: ClosedRange<Int64>, _ path: String...) throws(Problem) {
        if range.contains(ms) { return }
        let bounds = "\(NginxTime.text(ms: range.lowerBound)) to \(NginxTime.text(ms: range.upperBound))"
        let found = ms < 0 ? "\(ms) ms" : NginxTime.text(ms: ms)
        throw Problem(.outOfRange, "found \(found), expected a time from \(bounds)", pointer: JSONPointer(path).text)
    }
}

extension GuardPolicy {
    fileprivate func check() throws(Problem) {
        typealias Bounds = RolloutPolicy.Bounds
        func check(_ value: Int?, _ range: ClosedRange<Int>, _ name: String) throws(Problem) {
            if let value { try RolloutPolicy.check(value, range, "guards", name) }
        }
        func check(_ value: Double?, _ range: ClosedRange<Double>, _ name: String) throws(Problem) {
            if let value { try RolloutPolicy.check(value, range, "guards", name) }
        }
        try RolloutPolicy.check(windowMs, Bounds.windowMs, "guards", "window")
        try check(samplesMin, Bounds.samples, "samples_min")
        try check(errorsMin, Bounds.samples, "errors_min")
        try check(deviations, Bounds.deviations, "deviations")
        try check(checksFailedMax, Bounds.inARow, "checks_failed_max")
        try check(errorRatioMax, Bounds.ratio, "error_ratio_max")
        try check(errorRiseMax, Bounds.ratio, "error_rise_max")
        try check(latencyRiseMaxMs, Bounds.riseMs, "latency_rise_max")
        try check(latencyRiseMaxRatio, Bounds.riseRatio, "latency_rise_max_ratio")
        try check(latencyRiseFloorMs, Bounds.riseMs, "latency_rise_floor")
        try check(throughputDropMax, Bounds.ratio, "throughput_drop_max")
        try check(dependencyFailsMax, Bounds.inARow, "dependency_fails_max")
        if metrics.count > Bounds.metricsMax {
            throw RolloutPolicy.problem("\(metrics.count) metrics", "at most \(Bounds.metricsMax)", "guards", "metrics")
        }
        for (i, metric) in metrics.enumerated() {
            let pointer = JSONPointer(["guards", "metrics", String(i)])
            try StateRules.check(name: metric.name, at: pointer.appending("name"))
            if metrics[..<i].contains(where: { $0.name == metric.name }) {
                throw RolloutPolicy.problem(
                    "\"\(metric.name)\" a second time", "each name once", "guards", "metrics", String(i), "name")
            }
            if !metric.max.isFinite {
                throw RolloutPolicy.problem("\(metric.max)", "a finite number", "guards", "metrics", String(i), "max")
            }
            try RolloutPolicy.check(metric.breaches, Bounds.inARow, "guards", "metrics", String(i), "breaches")
            try RolloutPolicy.check(metric.intervalMs, Bounds.checkIntervalMs, "guards", "metrics", String(i), "interval")
        }
    }
}
