// Owns what the tests of the verbs stand on: an admin API that answers from a script, and the running of the built proxyctl.
// Called by the suites of this target. It decides nothing: an answer is given because the script has it.

import AdminAPI
import CLinux
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

/// Listens on a socket in a folder of its own, in a thread of its own; one request a connection, one after the other.
final class FakeAdmin: Sendable {
    struct Request: Sendable {
        var line = ""
        var fields: [String: String] = [:]
        var text = ""
        subscript(_ name: String) -> String? { fields[name.lowercased()] }
    }

    let directory: String
    private let seen = Locked<[Request]>([])
    private let stopping: Int32
    private let stopped = Signal()

    /// Answers by `METHOD target`. Of several answers each is given once, and the last one from then on.
    init(_ script: [String: [Reply]], socket: String = "admin.sock") throws {
        directory = try Harness.temporaryDirectory()
        let path = directory + "/" + socket
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        let listener = try Sockets.listen(.unix(path))
        stopping = clinux_eventfd()
        let (seen, stopped, stopping) = (seen, stopped, stopping)
        onThread {
            var left = script
            while Self.wait(listener, stopping) {
                var address = sockaddr_storage()
                var length = UInt32(MemoryLayout<sockaddr_storage>.size)
                let fd = clinux_accept(listener, &address, &length)
                if fd < 0 { continue }
                if let request = Self.read(fd, stopping) {
                    seen.with { $0.append(request) }
                    Self.answer(fd, Self.reply(to: request.line, &left))
                }
                close(fd)
            }
            close(listener)
            stopped.fire()
        }
    }

    deinit {
        stop()
        close(stopping)
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// From its return on nobody listens; the socket's file stays.
    func stop() {
        eventfd_write(stopping, 1)
        stopped.wait()
    }

    private static func reply(to line: String, _ left: inout [String: [Reply]]) -> Reply {
        guard let replies = left[line], let first = replies.first else {
            return .problem(Problem(.notFound, "not in the script: \(line)"))
        }
        if replies.count > 1 { left[line] = Array(replies.dropFirst()) }
        return first
    }

    /// False: it is to stop.
    private static func wait(_ fd: Int32, _ stopping: Int32) -> Bool {
        var wanted = [pollfd(fd: fd, events: Int16(POLLIN), revents: 0), pollfd(fd: stopping, events: Int16(POLLIN), revents: 0)]
        while poll(&wanted, 2, -1) < 0 && errno == EINTR {}
        return wanted[1].revents == 0
    }

    private static func read(_ fd: Int32, _ stopping: Int32) -> Request? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let text = String(decoding: bytes, as: UTF8.self)
            if let end = text.range(of: "\r\n\r\n") {
                let lines = text[..<end.lowerBound].components(separatedBy: "\r\n")
                var request = Request(line: lines[0].components(separatedBy: " ").prefix(2).joined(separator: " "))
                for line in lines.dropFirst() {
                    let parts = line.components(separatedBy: ": ")
                    request.fields[parts[0].lowercased()] = parts.dropFirst().joined(separator: ": ")
                }
                request.text = String(text[end.upperBound...])
                if request.text.utf8.count >= Int(request["Content-Length"] ?? "0") ?? 0 { return request }
            }
            guard wait(fd, stopping) else { return nil }
            let n = recv(fd, &buffer, buffer.count, 0)
            if n <= 0 { return nil }
            bytes += buffer[..<n]
        }
    }

    private static func answer(_ fd: Int32, _ reply: Reply) {
        let lines =
            ["HTTP/1.1 \(reply.status)"] + reply.fields + ["Content-Length: \(reply.body.utf8.count)", "Connection: close"]
        // Small enough for the socket's buffer.
        let bytes = Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + reply.body).utf8)
        _ = bytes.withUnsafeBytes { clinux_send(fd, $0.baseAddress, $0.count, 0) }
    }

    // MARK: What came, and who asks

    /// `METHOD target` of everything that came.
    var lines: [String] { seen.current.map(\.line) }
    /// The requests that were no GET.
    var writes: [Request] { seen.current.filter { !$0.line.hasPrefix("GET ") } }
    /// The last one of them.
    var write: Request? { writes.last }

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
        let base = directory + "/run-" + UUID().uuidString
        let names = [".in", ".out", ".err"].map { base + $0 }
        defer { for name in names { unlink(name) } }
        for (name, text) in zip(names, [input, "", ""]) { try text.write(toFile: name, atomically: false, encoding: .utf8) }
        let basic = ["PATH": "/usr/bin:/bin", "TZ": "UTC", "TMPDIR": directory]
        let pid = try Self.spawn(
            ["/usr/bin/env", "-C", directory, Self.binary] + words, basic.merging(environment) { _, new in new }, names)
        // Waited for in a thread of its own: Foundation's Process needs one of a pool that tests can use up.
        let ended = Signal()
        let code = Locked(Int32(0))
        onThread {
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
            code.with { [status] in $0 = status }
            ended.fire()
        }
        if !ended.wait(ms: 30_000) {
            kill(pid, SIGKILL)
            throw TestFailure("proxyctl \(words) did not end: \((try? String(contentsOfFile: names[1], encoding: .utf8)) ?? "")")
        }
        status = code.current & 0x7f == 0 ? (code.current >> 8) & 0xff : -(code.current & 0x7f)
        output = try String(contentsOfFile: names[1], encoding: .utf8)
        errors = try String(contentsOfFile: names[2], encoding: .utf8)
    }

    private static func spawn(_ words: [String], _ environment: [String: String], _ files: [String]) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (fd, name) in files.enumerated() {
            posix_spawn_file_actions_addopen(&actions, Int32(fd), name, fd == 0 ? O_RDONLY : O_WRONLY, 0)
        }
        var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0.key + "=" + $0.value) } + [nil]
        defer { for word in argv + envp { free(word) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, words[0], &actions, nil, &argv, &envp)
        if failure != 0 { throw TestFailure("cannot start \(words[0]): errno \(failure)") }
        return pid
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

    /// Each upstream of `state` with one server; `states` of those that are not up.
    static func serving(_ states: [String: String] = [:]) -> Status {
        var status = Status()
        status.upstreams = [("blue", 3001), ("green", 3002), ("red", 3003)].map { name, port in
            var upstream = UpstreamStatus(name: name)
            var server = ServerStatus(id: 0, server: "127.0.0.1:\(port)", weight: 1)
            server.state = states[name] ?? "up"
            upstream.servers = [server]
            return upstream
        }
        return status
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
