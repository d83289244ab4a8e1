// Owns what the tests of the verbs stand on: an admin API that answers from a script, and the running of the built proxyctl.
// Called by the suites of this target. It decides nothing: an answer is given because the script has it.

import AdminAPI
import Foundation
import TestSupport

/// One scripted answer.
struct Reply: Sendable {
    var status = "200 OK"
    var fields: [String] = []
    var body = ""

    static func json(_ text: String, _ status: String = "200 OK") -> Reply {
        Reply(status: status, fields: ["Content-Type: application/json"], body: text)
    }
    static func json(_ json: JSON) -> Reply { .json(json.text()) }
    static func problem(_ problem: Problem) -> Reply {
        Reply(
            status: "\(problem.status) Refused", fields: ["Content-Type: \(Problem.mediaType)"],
            body: problem.json.text())
    }
    static func accepted(
        _ revision: UInt64, _ summary: String = "", isChanged: Bool = true, _ status: String = "200 OK"
    ) -> Reply {
        .json(Accepted(revision: revision, previous: revision - 1, changed: isChanged, summary: summary).json.text(), status)
    }
}

/// Listens on a socket in a folder of its own.
final class FakeAdmin: Sendable {
    let directory: String
    let upstream: Upstream

    /// Answers by `METHOD target`. Of several answers each is given once, and the last one from then on.
    init(_ script: [String: [Reply]], socket: String = "admin.sock", token: String? = nil) throws {
        directory = try Harness.temporaryDirectory()
        try FileManager.default.createDirectory(
            atPath: ((directory + "/" + socket) as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        let left = Locked(script)
        upstream = try Upstream(at: .unix(directory + "/" + socket)) { request, connection in
            if let token, request["Authorization"] != "Bearer " + token {
                let reply = Reply.problem(Problem(.unauthorized, "no token"))
                return try connection.answer(reply.status, reply.fields, body: reply.body)
            }
            let line = request.method + " " + request.target
            let reply = left.with { script -> Reply in
                guard let replies = script[line], let first = replies.first else {
                    return .problem(Problem(.notFound, "not in the script: \(line)"))
                }
                if replies.count > 1 { script[line] = Array(replies.dropFirst()) }
                return first
            }
            try connection.answer(reply.status, reply.fields, body: reply.body)
        }
    }

    deinit {
        upstream.stop()
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// `METHOD target` of everything that came.
    var lines: [String] { upstream.requests.map { $0.method + " " + $0.target } }
    /// The last request that was not a GET.
    var write: Request? { upstream.requests.last { $0.method != "GET" } }

    func run(
        _ words: String..., environment: [String: String] = [:], input: String = "", isNamed: Bool = true
    ) throws -> Ran {
        var environment = environment
        if isNamed { environment["PROXYCTL_ADMIN"] = "unix:\(directory)/admin.sock" }
        return try Ran(words, environment: environment, input: input, in: directory)
    }
}

/// What proxyctl did.
struct Ran {
    var status: Int32
    var output: String
    var errors: String

    static let binary: String = {
        let test = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return (test as NSString).deletingLastPathComponent + "/proxyctl"
    }()

    /// Runs it to its end, in a bare environment in which it is never later than 1970 and never elsewhere than Greenwich.
    init(_ words: [String], environment: [String: String] = [:], input: String = "", in directory: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.binary)
        process.arguments = words
        let basic = ["PATH": "/usr/bin:/bin", "TZ": "UTC", "TMPDIR": directory]
        process.environment = basic.merging(environment) { _, new in new }
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        let base = directory + "/run-" + UUID().uuidString
        let names = [".in", ".out", ".err"].map { base + $0 }
        defer { for name in names { unlink(name) } }
        try input.write(toFile: names[0], atomically: false, encoding: .utf8)
        for name in names.dropFirst() { try "".write(toFile: name, atomically: false, encoding: .utf8) }
        process.standardInput = FileHandle(forReadingAtPath: names[0])
        process.standardOutput = FileHandle(forWritingAtPath: names[1])
        process.standardError = FileHandle(forWritingAtPath: names[2])
        let ended = Signal()
        process.terminationHandler = { _ in ended.fire() }
        try process.run()
        if !ended.wait(ms: 30_000) {
            kill(process.processIdentifier, SIGKILL)
            throw TestFailure("proxyctl \(words) did not end: \((try? String(contentsOfFile: names[1], encoding: .utf8)) ?? "")")
        }
        status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        output = try String(contentsOfFile: names[1], encoding: .utf8)
        errors = try String(contentsOfFile: names[2], encoding: .utf8)
    }
}

/// What the scripts have in common.
enum Fixture {
    static let state = """
        {
          "revision": 42,
          "splits": {
            "api": {"weights": {"red": 1}},
            "app": {"weights": {"blue": 90, "green": 10}}
          },
          "upstreams": {
            "blue": {"servers": [{"id": 0, "server": "127.0.0.1:3001"}]},
            "green": {"servers": [{"id": 0, "server": "127.0.0.1:3002"}]},
            "red": {"servers": [{"id": 0, "server": "127.0.0.1:3003"}]}
          }
        }

        """

    static func receipt(_ revision: UInt64 = 43, _ change: (inout Receipt) -> Void = { _ in }) -> Receipt {
        var receipt = Receipt(revision: revision)
        receipt.reason = "release 42"
        receipt.who = "alice"
        receipt.atMs = 1_795_269_802_000
        receipt.before.started = 120_345
        receipt.before.completed = 120_340
        receipt.before.abortedByClient = 3
        receipt.before.failedByUpstream = 2
        receipt.carried.started = 12
        receipt.carried.completed = 12
        receipt.after.started = 3412
        receipt.after.completed = 3400
        receipt.after.abortedByClient = 2
        receipt.after.inFlight = 10
        receipt.tunnelsCarried = 3
        receipt.retried = 1
        receipt.closedByClient = 7
        receipt.visibleAfterUs = 310
        receipt.workers = 2
        receipt.slowestDrainMs = 1200
        change(&receipt)
        return receipt
    }

    static func status(atMs: Int64 = 1_795_269_900_000, requests: Int = 1000) -> Status {
        var status = Status()
        status.version = "1.0"
        status.revision = 43
        status.processID = 4211
        status.workers = 2
        status.startedAtMs = 1_795_269_800_000
        status.nowMs = atMs
        status.connections = 25
        status.journal = "on"
        status.requests.started = 1012
        status.requests.completed = 1000
        status.requests.inFlight = 10
        status.requests.failedByUpstream = 2
        var blue = UpstreamStatus(name: "blue")
        var one = ServerStatus(id: 0, server: "127.0.0.1:3001", weight: 1)
        one.inFlight = 7
        one.requests = requests
        one.failures = 2
        var two = ServerStatus(id: 1, server: "127.0.0.1:3004", weight: 1)
        two.backup = true
        two.state = "failed"
        blue.servers = [one, two]
        status.upstreams = [UpstreamStatus(name: "green"), blue]
        var split = SplitStatus(name: "app", weights: ["blue": 90, "green": 10])
        split.isHeld = true
        split.holding = 12
        status.splits = [split]
        return status
    }
}
