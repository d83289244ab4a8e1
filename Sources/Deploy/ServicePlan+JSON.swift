// Reads one service of a plan, its commands, probes and times. The rules are those of DeployPlan+JSON.
import AdminAPI

extension ServicePlan {
    static let fields = [
        "backup", "bake", "build", "check", "directory", "drain", "env", "health", "link", "migrate", "replicas", "rolling",
        "rollout",
        "shadow", "split", "start", "stop", "upstream", "variants", "verify",
    ]

    init(_ json: JSON, name: String, at: JSONPointer) throws(Problem) {
        let fields = try Fields(json, of: "a service", known: Self.fields)
        self.init(name: name, kind: try Self.kind(fields, at))
        env = try fields.texts("env", at: at)
        directory = try fields.text("directory", at: at)
        try fields.set(&check, "check") { (name) throws(Problem) in
            if fields.has(name)?.array == nil {
                return try fields.below(name, at: at) { (json, at) throws(Problem) in [try CommandPlan(json, at: at)] } ?? []
            }
            return try fields.list(name) { (json, pointer) throws(Problem) in
                do throws(Problem) { return try CommandPlan(json, at: JSONPointer(at.tokens + pointer.tokens)) } catch {
                    throw error.under(pointer.tokens)
                }
            }
        }
        let command = { (name: String) throws(Problem) -> CommandPlan? in
            try fields.below(name, at: at) { (json, at) throws(Problem) in try CommandPlan(json, at: at) }
        }
        backup = try command("backup")
        build = try command("build")
        migrate = try fields.below("migrate", at: at) { (json, at) throws(Problem) in try MigrationPlan(json, at: at) }
        start = try fields.below("start", at: at) { (json, at) throws(Problem) in try StartPlan(json, at: at) }
        stop = try fields.below("stop", at: at) { (json, at) throws(Problem) in try StopPlan(json, at: at) } ?? StopPlan()
        let probe = { (name: String, usual: Rhythm) throws(Problem) -> ProbePlan? in
            try fields.below(name, at: at) { (json, at) throws(Problem) in try ProbePlan(json, usual, at: at) }
        }
        health = try probe("health", Rhythm(tries: 5, intervalMs: 2000))
        verify = try probe("verify", Rhythm(tries: 1, intervalMs: 100, passes: 5))
        bake = try probe("bake", Rhythm(tries: 3, intervalMs: 5000, durationMs: 60_000))
        try fields.setOptional(&rollout, "rollout", fields.json)
        try fields.setOptional(&shadow, "shadow", fields.json)
        try fields.set(&drainTimeoutMs, "drain", fields.spanMs)
        try checkTogether()
    }

    private static func kind(_ fields: Fields, _ at: JSONPointer) throws(Problem) -> ServiceKind {
        let kinds = ["split", "upstream", "link"].filter { fields.has($0) != nil }
        guard let kind = kinds.first, kinds.count == 1 else {
            throw Problem(
                kinds.isEmpty ? .missingField : .duplicateField,
                "expected one of split, upstream and link in a service, found \(kinds.count)",
                hint: "split: blue and green; upstream: replicas one by one; link: a static site.", pointer: "")
        }
        switch kind {
        case "split":
            return .split(try fields.label("split"), variants: try fields.texts("variants", at: at).mapValues(\.raw))
        case "upstream":
            let replicas = try fields.byName("replicas", "replicas by name") { (name, json) throws(Problem) in
                try ReplicaPlan(json, name: name, at: JSONPointer(at.tokens + ["replicas", name]))
            }
            if replicas.isEmpty { throw Problem(.missingField, "found no replicas in a service with an upstream", pointer: "") }
            let rolling =
                try fields.below("rolling", at: at) { (json, _) throws(Problem) in try RollingPlan(json) } ?? RollingPlan()
            for replica in replicas where (replica.slots.count == 2) != (rolling.order == .startFirst) {
                throw Problem(
                    .outOfRange,
                    "found \(replica.slots.count) addresses, expected \(rolling.order == .startFirst ? "two" : "one")",
                    hint: "start-first needs two addresses a replica, stop-first one.",
                    pointer: JSONPointer(["replicas", replica.name]).text)
            }
            return .replicas(upstream: try fields.label("upstream"), replicas, rolling)
        default:
            return .site(link: try fields.text("link", at: at) ?? Text(""))
        }
    }

    private func checkTogether() throws(Problem) {
        switch kind {
        case .site:
            if directory == nil { throw Problem(.missingField, "found no \"directory\" in a static site", pointer: "") }
            if start != nil { throw Problem(.unknownField, "a static site has nothing to start", pointer: "/start") }
        case .split, .replicas:
            if start != nil, health == nil {
                throw Problem(
                    .missingField, "found a start and no health", hint: "Nothing gets requests before it is well.", pointer: "")
            }
        }
        if case .split = kind { return }
        if rollout != nil { throw Problem(.unknownField, "a rollout needs a split", pointer: "/rollout") }
        if shadow != nil { throw Problem(.unknownField, "a shadow needs a split", pointer: "/shadow") }
    }
}

extension CommandPlan {
    static let fields = ["directory", "env", "run", "timeout"]

    /// A string, or an object.
    init(_ json: JSON, at: JSONPointer, allowing more: [String] = [], named word: String = "run") throws(Problem) {
        if let text = json.string {
            self.init(run: text)
            return
        }
        let fields = try Fields(json, of: "a command", known: Self.fields + more)
        self.init(run: try fields.string(word))
        if run.isEmpty { throw Problem(.outOfRange, "found an empty command", pointer: "/" + word) }
        try fields.set(&timeoutMs, "timeout", fields.spanMs)
        env = try fields.texts("env", at: at)
        directory = try fields.text("directory", at: at)
    }
}

extension MigrationPlan {
    init(_ json: JSON, at: JSONPointer) throws(Problem) {
        self.init(command: try CommandPlan(json, at: at, allowing: ["phase", "repeatable", "undo"]))
        guard json.object != nil else { return }
        let fields = try Fields(json, of: "a migration")
        try fields.set(&phase, "phase") { (name) throws(Problem) in try fields.word(name) }
        try fields.set(&isRepeatable, "repeatable", fields.bool)
        try fields.setOptional(&undo, "undo", fields.string)
    }
}

extension StartPlan {
    init(_ json: JSON, at: JSONPointer) throws(Problem) {
        let isProcess = json["process"] != nil
        self.init(
            command: try CommandPlan(
                json, at: at, allowing: isProcess ? ["process", "pid_file", "log"] : [], named: isProcess ? "process" : "run"),
            isProcess: isProcess)
        guard isProcess else { return }
        if json["run"] != nil { throw Problem(.unknownField, "found both run and process: which one?", pointer: "/run") }
        let fields = try Fields(json, of: "a start")
        pidFile = try fields.text("pid_file", at: at)
        logFile = try fields.text("log", at: at)
    }
}

extension StopPlan {
    static let fields = ["grace", "old", "run", "signal", "timeout"]
    static let signals = ["TERM", "INT", "QUIT", "HUP"]

    init(_ json: JSON, at: JSONPointer) throws(Problem) {
        let fields = try Fields(json, of: "a stop", known: Self.fields)
        self.init()
        if fields.has("run") != nil {
            var command = CommandPlan(run: try fields.string("run"))
            try fields.set(&command.timeoutMs, "timeout", fields.spanMs)
            self.command = command
        }
        try fields.set(&keepsOld, "old") { (name) throws(Problem) in
            switch try fields.string(name) {
            case "keep": return true
            case "stop": return false
            default: throw Problem(.outOfRange, "expected keep or stop", pointer: "/old")
            }
        }
        try fields.set(&signal, "signal", fields.string)
        if !Self.signals.contains(signal) {
            throw Problem(
                .outOfRange, "found \"\(signal)\", expected one of \(Self.signals.joined(separator: ", "))", pointer: "/signal")
        }
        try fields.set(&graceMs, "grace", fields.spanMs)
    }
}

extension ProbePlan {
    static let own = ["duration", "interval", "passes", "run", "start_period", "timeout", "tries", "url"]
    static let ofRequests = ["body", "headers", "host", "status"]

    init(_ json: JSON, _ usual: Rhythm, at: JSONPointer) throws(Problem) {
        let fields = try Fields(json, of: "a probe", known: Self.own + Self.ofRequests)
        self.init(rhythm: usual)
        if fields.has("run") != nil {
            if fields.has("url") != nil { throw Problem(.unknownField, "found both run and url: which one?", pointer: "/url") }
            var command = CommandPlan(run: try fields.string("run"))
            command.timeoutMs = 10_000
            try fields.set(&command.timeoutMs, "timeout", fields.spanMs)
            self.command = command
        } else {
            guard let url = try fields.text("url", at: at) else {
                throw Problem(.missingField, "found neither \"url\" nor \"run\" in a probe", pointer: "")
            }
            var request = RequestPlan(url: url)
            request.host = try fields.text("host", at: at)
            request.headers = try fields.texts("headers", at: at)
            request.body = try fields.text("body", at: at)
            try fields.set(&request.timeoutMs, "timeout", fields.spanMs)
            try fields.set(&request.statuses, "status") { (name) throws(Problem) in
                guard let text = try fields.text(name, at: at), let range = StatusRange(text.raw) else {
                    throw Problem(.outOfRange, "expected a status or a range such as 200-299", pointer: "/status")
                }
                return range
            }
            self.request = request
        }
        try fields.set(&rhythm.tries, "tries") { (name) throws(Problem) in try fields.int(name, in: 1...100_000) }
        try fields.set(&rhythm.passes, "passes") { (name) throws(Problem) in try fields.int(name, in: 1...100_000) }
        try fields.set(&rhythm.intervalMs, "interval", fields.spanMs)
        try fields.set(&rhythm.durationMs, "duration", fields.spanMs)
        try fields.set(&rhythm.startPeriodMs, "start_period", fields.spanMs)
    }
}

extension StatusRange {
    /// `200` or `200-299`.
    init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard let first = parts.first ?? nil, parts.count <= 2, let last = parts.last ?? nil, first <= last,
            (100...599).contains(first),
            last <= 599
        else { return nil }
        self.init(first...last)
    }

    var text: String { range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)" }
}

extension ReplicaPlan {
    init(_ json: JSON, name: String, at: JSONPointer) throws(Problem) {
        guard let elements = json.array else {
            self.init(name: name, slots: [try SlotPlan(json, at: at)])
            return
        }
        self.init(name: name, slots: [])
        for (i, element) in elements.enumerated() {
            do throws(Problem) { slots.append(try SlotPlan(element, at: at.appending(i))) } catch {
                throw error.under([String(i)])
            }
        }
        if slots.count == 2, slots[0].server != slots[1].server { return }
        throw Problem(.outOfRange, "expected one address, or a list of two that differ", pointer: "")
    }
}

extension SlotPlan {
    init(_ json: JSON, at: JSONPointer) throws(Problem) {
        if let server = json.string {
            self.init(server: server)
            return
        }
        let fields = try Fields(json, of: "a replica", known: ["env", "server"])
        self.init(server: try fields.string("server"))
        env = try fields.texts("env", at: at)
    }
}

extension RollingPlan {
    static let fields = ["delay", "failure_action", "failure_ratio_max", "monitor", "order", "parallelism"]

    init(_ json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a rolling update", known: Self.fields)
        self.init()
        try fields.set(&parallelism, "parallelism") { (name) throws(Problem) in try fields.int(name, in: 1...1000) }
        try fields.set(&order, "order") { (name) throws(Problem) in try fields.word(name) }
        try fields.set(&delayMs, "delay", fields.spanMs)
        try fields.set(&monitorMs, "monitor", fields.spanMs)
        try fields.set(&failureAction, "failure_action") { (name) throws(Problem) in try fields.word(name) }
        try fields.set(&failureRatioMax, "failure_ratio_max", fields.number)
        if !(0...1).contains(failureRatioMax) {
            throw Problem(.outOfRange, "found \(failureRatioMax), expected a share from 0 to 1", pointer: "/failure_ratio_max")
        }
    }
}

extension NotifyPlan {
    static let fields = ["headers", "on", "pause", "timeout", "tries", "url"]

    init(_ json: JSON, at: JSONPointer) throws(Problem) {
        let fields = try Fields(json, of: "a receiver of notes", known: Self.fields)
        guard let url = try fields.text("url", at: at) else { throw Problem(.missingField, "found no \"url\"", pointer: "") }
        self.init(url: url)
        headers = try fields.texts("headers", at: at)
        try fields.set(&tries, "tries") { (name) throws(Problem) in try fields.int(name, in: 1...20) }
        try fields.set(&timeoutMs, "timeout", fields.spanMs)
        try fields.set(&pauseMs, "pause", fields.spanMs)
        try fields.set(&moments, "on") { (name) throws(Problem) in
            try fields.list(name) { (json, pointer) throws(Problem) in
                if let text = json.string, let moment = Moment(rawValue: text) { return moment }
                let words = Moment.allCases.map(\.rawValue).joined(separator: ", ")
                throw Problem(.outOfRange, "expected one of \(words)", pointer: pointer.text)
            }
        }
    }
}
