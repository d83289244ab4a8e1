// The JSON of steps: what the first line of a journal holds, so that a deploy is taken up as it was begun.
// Unknown members are passed over; an unknown kind of work is refused.
import AdminAPI

extension DeployStep: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a step")
        self.init(
            try fields.word("stage"), service: try fields.string("service"), try fields.string("title"), try fields.value("work"))
        undo = try fields.list("undo") { (json, at) throws(Problem) in try Work(json: json, at: at) }
        isRepeatable = try fields.bool("repeatable")
        needsApproval = try fields.bool("approval")
        carriesTraffic = try fields.bool("traffic")
        batch = try fields.optional("batch") { (name) throws(Problem) in try fields.int(name) }
        undoNeeds = try fields.optional("undo_needs") { (name) throws(Problem) in try fields.int(name) }
    }

    public var json: JSON {
        .members([
            "approval": .bool(needsApproval), "batch": batch.map { .whole($0) }, "repeatable": .bool(isRepeatable),
            "service": .string(service), "stage": .string(stage.rawValue), "title": .string(title),
            "traffic": .bool(carriesTraffic),
            "undo": .array(undo.map(\.json)), "undo_needs": undoNeeds.map { .whole($0) }, "work": work.json,
        ])
    }
}

extension Fields {
    func optional<Value>(_ name: String, _ read: (String) throws(Problem) -> Value) throws(Problem) -> Value? {
        guard let json = has(name), !json.isNull else { return nil }
        return try read(name)
    }

    func strings(_ name: String) throws(Problem) -> [String] {
        try list(name) { (json, at) throws(Problem) in
            if let text = json.string { return text }
            throw Problem(.wrongType, "expected a string", pointer: at.text)
        }
    }

    /// Strings by name.
    func map(_ name: String) throws(Problem) -> [String: String] { try texts(name, at: .root).mapValues(\.raw) }

    func splits(_ name: String) throws(Problem) -> [String: [String: Int]] {
        let inner = try Fields(try json(name), of: "splits")
        var result: [String: [String: Int]] = [:]
        for split in inner.names { result[split] = try inner.weights(split) }
        return result
    }

    func weights(_ name: String) throws(Problem) -> [String: Int] {
        let inner = try Fields(try json(name), of: "weights")
        var result: [String: Int] = [:]
        for variant in inner.names { result[variant] = try inner.int(variant) }
        return result
    }
}

extension JSON {
    static func strings(_ values: [String]) -> JSON { .array(values.map { .string($0) }) }
    static func map(_ values: [String: String]) -> JSON {
        .object(values.sorted { $0.key < $1.key }.map { Member($0.key, .string($0.value)) })
    }
    static func splits(_ values: [String: [String: Int]]) -> JSON {
        .object(values.sorted { $0.key < $1.key }.map { Member($0.key, .weights($0.value)) })
    }
    static func weights(_ values: [String: Int]) -> JSON {
        .object(values.sorted { $0.key < $1.key }.map { Member($0.key, .whole($0.value)) })
    }
}

extension Work: JSONCodable {
    private enum Word: String, CaseIterable { case command, process, end, probe, weights, server, idle, link, rollout, pause }

    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a work")
        switch try fields.word("kind", Word.self) {
        case .command: self = .command(try CommandWork(decoding: json))
        case .process:
            self = .process(
                ProcessWork(
                    run: try fields.string("run"), env: try fields.map("env"), directory: try fields.string("directory"),
                    pidFile: try fields.string("pid_file"), logFile: try fields.string("log")))
        case .end:
            var work = EndWork()
            work.command = try fields.optional("command") { (name) throws(Problem) in try fields.value(name) }
            work.pidFile = try fields.optional("pid_file", fields.string)
            work.signal = try fields.string("signal")
            work.graceMs = try fields.spanMs("grace")
            work.idleUpstreams = try fields.strings("upstreams")
            self = .end(work)
        case .probe: self = .probe(try ProbeWork(decoding: json))
        case .weights:
            self = .weights(
                WeightsWork(
                    splits: try fields.splits("splits"), expects: try fields.splits("expects"), opens: try fields.strings("opens")
                ))
        case .server:
            self = .server(ServerWork(try fields.word("change"), try fields.string("server"), of: try fields.string("upstream")))
        case .idle:
            var work = IdleWork(upstreams: try fields.strings("upstreams"), timeoutMs: try fields.spanMs("timeout"))
            work.servers = try fields.strings("servers")
            work.isDraining = try fields.bool("drain")
            self = .idle(work)
        case .link:
            self = .link(
                LinkWork(
                    link: try fields.string("link"), target: try fields.string("target"), expects: try fields.string("expects")))
        case .rollout:
            var work = RolloutWork(
                split: try fields.string("split"), to: try fields.string("to"), policy: try fields.json("policy"),
                before: try fields.weights("before"))
            work.isUndo = try fields.bool("undo")
            self = .rollout(work)
        case .pause: self = .pause(ms: try fields.spanMs("time"))
        }
    }

    public var json: JSON {
        func kind(_ word: Word, _ rest: JSON) -> JSON { rest.merging(.members(["kind": .string(word.rawValue)])) }
        switch self {
        case .command(let work): return kind(.command, work.json)
        case .process(let work):
            return kind(
                .process,
                .members([
                    "directory": .string(work.directory), "env": .map(work.env), "log": .string(work.logFile),
                    "pid_file": .string(work.pidFile), "run": .string(work.run),
                ]))
        case .end(let work):
            return kind(
                .end,
                .members([
                    "command": work.command?.json, "grace": .spanMs(work.graceMs), "pid_file": work.pidFile.map { .string($0) },
                    "signal": .string(work.signal), "upstreams": .strings(work.idleUpstreams),
                ]))
        case .probe(let work): return kind(.probe, work.json)
        case .weights(let work):
            return kind(
                .weights,
                .members(["expects": .splits(work.expects), "opens": .strings(work.opens), "splits": .splits(work.splits)]))
        case .server(let work):
            return kind(
                .server,
                .members([
                    "change": .string(work.change.rawValue), "server": .string(work.server), "upstream": .string(work.upstream),
                ]))
        case .idle(let work):
            return kind(
                .idle,
                .members([
                    "drain": .bool(work.isDraining), "servers": .strings(work.servers), "timeout": .spanMs(work.timeoutMs),
                    "upstreams": .strings(work.upstreams),
                ]))
        case .link(let work):
            return kind(
                .link,
                .members(["expects": .string(work.expects), "link": .string(work.link), "target": .string(work.target)]))
        case .rollout(let work):
            return kind(
                .rollout,
                .members([
                    "before": .weights(work.before), "policy": work.policy, "split": .string(work.split), "to": .string(work.to),
                    "undo": .bool(work.isUndo),
                ]))
        case .pause(let ms): return kind(.pause, .members(["time": .spanMs(ms)]))
        }
    }
}

extension CommandWork: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a command")
        self.init(
            run: try fields.string("run"), env: try fields.map("env"), directory: try fields.string("directory"),
            timeoutMs: try fields.spanMs("timeout"))
        builtFile = try fields.optional("built_file", fields.string)
        builds = try fields.optional("builds", fields.string)
    }

    public var json: JSON {
        .members([
            "builds": builds.map { .string($0) }, "built_file": builtFile.map { .string($0) }, "directory": .string(directory),
            "env": .map(env), "run": .string(run), "timeout": .spanMs(timeoutMs),
        ])
    }
}

extension ProbeWork: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a probe")
        let rhythm = Rhythm(
            tries: try fields.int("tries"), intervalMs: try fields.spanMs("interval"), passes: try fields.int("passes"),
            durationMs: try fields.spanMs("duration"), startPeriodMs: try fields.spanMs("start_period"))
        self.init(
            checks: try fields.list("checks") { (json, at) throws(Problem) in try Check(json: json, at: at) }, rhythm: rhythm)
        pidFiles = try fields.strings("pid_files")
    }

    public var json: JSON {
        .members([
            "checks": .array(checks.map(\.json)), "duration": .spanMs(rhythm.durationMs), "interval": .spanMs(rhythm.intervalMs),
            "passes": .whole(rhythm.passes), "pid_files": .strings(pidFiles), "start_period": .spanMs(rhythm.startPeriodMs),
            "tries": .whole(rhythm.tries),
        ])
    }
}

extension Check: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        if json["run"] != nil {
            self = .command(try CommandWork(decoding: json))
        } else {
            self = .request(try RequestCheck(decoding: json))
        }
    }

    public var json: JSON {
        switch self {
        case .request(let check): check.json
        case .command(let work): work.json
        }
    }
}

extension RequestCheck: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a request")
        let status = try fields.string("status")
        guard let range = StatusRange(status) else { throw Problem(.outOfRange, "expected a status", pointer: "/status") }
        self.init(
            url: try fields.string("url"), host: try fields.optional("host", fields.string),
            timeoutMs: try fields.spanMs("timeout"),
            statuses: range, headers: try fields.map("headers"), body: try fields.optional("body", fields.string))
    }

    public var json: JSON {
        .members([
            "body": body.map { .string($0) }, "headers": .map(headers), "host": host.map { .string($0) },
            "status": .string(statuses.text), "timeout": .spanMs(timeoutMs), "url": .string(url),
        ])
    }
}
