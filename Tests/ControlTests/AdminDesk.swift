// An admin server without threads and sockets: requests are put before it, its answers are read from the mailbox.
// Used by the Admin*Tests. Every answer of JSON is held against the schema of its route.

import AdminAPI
import Bytes
import ConfigurationFile
import Synchronization
import Testing

@testable import Balancing
@testable import Control
@testable import Engine

final class AdminDesk {
    static let pools = """
        upstream blue { server 127.0.0.1:3001; server 127.0.0.1:3002 weight=2; }
        upstream green { server 127.0.0.1:3003; }
        upstream spare { server 127.0.0.1:3004; }
        split app { blue 90; green 10; key $cookie_sid; }
        """
    static let tokens = "# names and tokens\nalice 0123456789abcdef\nbob fedcba9876543210\n"

    let system: PlayedSystem
    let owner = PlayedOwner()
    /// Of the worker that requests come through, and of the control thread.
    let worker = Mailbox { _ in }
    let control = Mailbox { _ in }
    let inbox: AdminInbox
    let controller: Controller
    let server: AdminServer
    let publisher: SnapshotPublisher
    let said = SaidLines()
    private let clock: PlayedClock
    private var nextHandle: UInt32 = 0
    private(set) var parts: [Handle: [AdminPart]] = [:]

    /// - Parameter epochMs: what the wall clock shows at the beginning, a thousand seconds before the first turn.
    init(
        _ pools: String = AdminDesk.pools, journal: Journal = .none(), replay: Replay? = nil, auditFolder: String? = nil,
        files: [String: String] = [:], certificates: CertificateStore = CertificateStore(), epochMs: Int64 = 1_700_000_000_000,
        rollouts: RolloutStore = RolloutStore(), commands: String? = nil, system: PlayedSystem = PlayedSystem()
    ) throws {
        self.system = system
        clock = PlayedClock(epochMs: epochMs)
        system.files = files.merging(["/prefix/tokens": Self.tokens]) { _, own in own }
        owner.files = system.files
        system.hosts["two.test"] = ["127.0.0.5", "127.0.0.6"]
        let built = try Self.built(pools, system)
        let clock = clock.control
        controller = try Controller(
            built, journal: journal, replay: replay,
            pools: PoolBuilder(system: system, counters: PeerCounterRegistry(), certificates: certificates), clock: clock, workers: 2)
        let first = try #require(controller.first)
        publisher = SnapshotPublisher(first)
        controller.attach(publisher, [])
        inbox = AdminInbox(waking: control)
        let said = said
        let audit = AuditLog(folder: auditFolder) { said.append("\($0.word) \($1)") }
        server = AdminServer(controller, inbox: inbox, owner: owner, audit: audit, clock: clock, rollouts: rollouts, commands: commands)
        owner.controller = controller
        turn()
    }

    static func built(_ pools: String, _ system: PlayedSystem) throws(Diagnostic) -> BuiltConfiguration {
        let text = """
            events { } http { \(pools)
            admin_token_file /prefix/tokens;
            server { listen 127.0.0.1:80; location / { proxy_pass http://app; } location /green { proxy_pass http://green; } }
            server { listen 127.0.0.1:81; location /admin { admin; } } }
            """
        let options = ServerOptions(source: .text(text), prefix: "/prefix/")
        let logs = LogFiles(system: system, prefix: options.prefix, defaultErrorLog: options.errorLog)
        let parsed = try options.parse(with: system)
        return try SnapshotBuilder(system: system, logs: logs, counters: PeerCounterRegistry()).build(parsed.directives)
    }

    // MARK: Time

    var nowMs: Int64 { clock.nowMs.withLock { $0 } }

    func setWall(ahead ms: Int64) { clock.epochMs.withLock { $0 += ms } }

    @discardableResult
    func turn(after ms: Int64 = 0) -> Int64? {
        let now = clock.nowMs.withLock { now in
            now += ms
            return now
        }
        let due = server.turn(nowMs: now)
        server.afterTurn()
        for mailbox in [worker, control] {
            for command in mailbox.takeAll() {
                if case .admin(let handle, let part) = command { parts[handle, default: []].append(part) }
            }
        }
        return due
    }

    /// Both workers serve by the newest snapshot.
    func adopt() {
        for account in publisher.current.accounts { account.account.set(.adoptedNs, max(1, UInt64(nowMs) * 1_000_000)) }
    }

    // MARK: Requests

    /// Puts a request before the server and lets it have its turn. `target`: path and query.
    @discardableResult
    func send(
        _ method: String, _ target: String, _ body: String? = nil, _ fields: [(String, String)] = [], writes: Bool = true, tokens: Int32 = -1,
        client: AdminRequest.Client = .unix(user: 0), isHostNamed: Bool = false
    ) -> Handle {
        nextHandle += 1
        let handle = Handle(index: nextHandle, generation: 1)
        var settings = AdminSettings()
        settings.writes = writes
        settings.tokens = tokens
        var request = AdminRequest(reply: AdminReply(mailbox: worker, handle: handle), client: client, settings: settings)
        request.method = method
        let halves = target.split(separator: "?", maxSplits: 1).map(String.init)
        request.path = halves[0]
        request.query = halves.count > 1 ? halves[1] : ""
        request.fields = fields.map { (name: $0.0.lowercased(), value: $0.1) }
        request.body = Array((body ?? "").utf8)
        request.isHostNamed = isHostNamed
        inbox.receive(request)
        turn()
        return handle
    }

    func answer(to handle: Handle) -> AdminAnswer? {
        for part in parts[handle] ?? [] { if case .answer(let answer) = part { return answer } }
        return nil
    }

    /// As `send`, for an answer that must be there at once.
    @discardableResult
    func ask(
        _ method: String, _ target: String, _ body: String? = nil, _ fields: [(String, String)] = [], writes: Bool = true, tokens: Int32 = -1,
        client: AdminRequest.Client = .unix(user: 0), isHostNamed: Bool = false
    ) -> Asked {
        let handle = send(method, target, body, fields, writes: writes, tokens: tokens, client: client, isHostNamed: isHostNamed)
        guard let answer = answer(to: handle) else {
            Issue.record("\(method) \(target) is not answered")
            return Asked(AdminAnswer(status: 0))
        }
        let asked = Asked(answer)
        asked.hold(againstSchemaOf: method, String(target.prefix { $0 != "?" }))
        return asked
    }

    /// Everything a dry run or a refusal must leave alone.
    var everything: String {
        let (state, revision) = controller.running
        let history = controller.revisions(limit: .max).map(\.json).map { $0.text() }
        let snapshot = publisher.current
        return "\(revision) \(snapshot.serial) \(state.json(as: .journal).text()) \(history) \(controller.events.lastID) "
            + snapshot.upstreams.map { "\(ObjectIdentifier($0))" }.joined(separator: " ")
    }
}

/// An answer, and what tests ask of it.
struct Asked {
    let answer: AdminAnswer
    init(_ answer: AdminAnswer) { self.answer = answer }

    var status: Int { Int(answer.status) }
    var text: String { String(decoding: answer.body, as: UTF8.self) }
    var json: JSON { (try? JSON.parse(answer.body)) ?? .null }
    /// The word of a problem's type.
    var problem: String { json["type"]?.string.map { String($0.dropFirst("/problems/".count)) } ?? "none" }
    var pointer: String? { json["pointer"]?.string }
    var revision: Int64? { json["revision"]?.integer }

    func line(_ name: String) -> String? {
        answer.lines.first { $0.lowercased().hasPrefix(name.lowercased() + ":") }.map { String($0.dropFirst(name.count + 2)) }
    }

    func hold(againstSchemaOf method: String, _ path: String) {
        if answer.body.isEmpty || answer.contentType.hasPrefix("text/") { return }
        var name = "Problem"
        if answer.status < 300 {
            let segments = (try? AdminText.segments(path)) ?? []
            let wanted = method == "HEAD" ? "GET" : method
            guard let route = AdminRoute.all.first(where: { $0.operation.method == wanted && $0.matches(segments) }) else { return }
            guard case .json(let schema) = route.operation.answer else { return }
            name = json["differences"] != nil && route.operation.isWrite ? "Plan" : schema
            #expect(status == 200 || route.operation.statuses.contains(status), "\(method) \(path) answers \(status)")
        } else {
            #expect(answer.contentType == Problem.mediaType)
        }
        #expect(SchemaCheck.faults(of: json, by: name) == [], "\(method) \(path)")
    }
}

/// The supervisor's part.
final class PlayedOwner: AdminOwner, @unchecked Sendable {
    func tellWarnings() {}

    var controller: Controller?
    var files: [String: String] = [:]
    /// What the configuration says at the next reload; nil: it is broken.
    var pools: String? = AdminDesk.pools

    private func built() throws(Problem) -> BuiltConfiguration {
        guard let pools else { throw Problem(.badConfiguration, "proxy.conf:3:7: unknown directive \"lisen\"") }
        let system = PlayedSystem()
        system.files = files
        do throws(Diagnostic) { return try AdminDesk.built(pools, system) } catch { throw Problem(.badConfiguration, error.description) }
    }

    func reloadConfiguration(by author: Author, preferringFile: Bool, ifMatch: UInt64?) throws(Problem) -> Accepted {
        guard let controller else { throw Problem(.stopping, "") }
        try controller.expect(ifMatch)
        return try controller.reload(try built(), by: author, preferringFile: preferringFile)
    }

    func planReload(preferringFile: Bool, ifMatch: UInt64?) throws(Problem) -> Plan {
        guard let controller else { throw Problem(.stopping, "") }
        return try controller.planReload(try built(), preferringFile: preferringFile, ifMatch: ifMatch)
    }
}

final class PlayedClock: Sendable {
    let nowMs = Mutex<Int64>(1_000_000)
    /// Of the wall; it may be set while the other goes on.
    let epochMs: Mutex<Int64>
    init(epochMs: Int64 = 1_700_000_000_000) { self.epochMs = Mutex(epochMs) }
    var control: ControlClock {
        ControlClock(
            monotonicNs: { [self] in UInt64(nowMs.withLock { $0 }) * 1_000_000 }, realtimeMs: { [self] in epochMs.withLock { $0 } + nowMs.withLock { $0 } })
    }
}

final class SaidLines: Sendable {
    private let lines = Mutex<[String]>([])
    func append(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }
}

/// As much of JSON Schema as the document uses.
enum SchemaCheck {
    static func faults(of value: JSON, by name: String) -> [String] { faults(of: value, OpenAPISchemas.reference(name), at: "") }

    static func resolved(_ schema: JSON) -> JSON {
        guard let name = schema["$ref"]?.string else { return schema }
        return OpenAPISchemas.all[String(name.dropFirst("#/components/schemas/".count))] ?? .members(["not": .object([])])
    }

    static func faults(of value: JSON, _ schema: JSON, at place: String) -> [String] {
        let schema = resolved(schema)
        if schema["not"] != nil { return ["\(place): no such schema"] }
        if let words = schema["enum"]?.array, !words.contains(value) { return ["\(place): \(value) is none of the words"] }
        let types = schema["type"]?.array?.compactMap(\.string) ?? schema["type"]?.string.map { [$0] } ?? []
        let type =
            switch value {
            case .null: "null"
            case .bool: "boolean"
            case .integer: "integer"
            case .number: "number"
            case .string: "string"
            case .array: "array"
            case .object: "object"
            }
        if !types.isEmpty, !types.contains(type), !(type == "integer" && types.contains("number")) { return ["\(place): \(type) is no \(types)"] }
        var faults: [String] = []
        if let n = value.integer, let least = schema["minimum"]?.integer, n < least { faults.append("\(place): \(n) is below \(least)") }
        if let n = value.integer, let most = schema["maximum"]?.integer, n > most { faults.append("\(place): \(n) is above \(most)") }
        for (i, element) in (value.array ?? []).enumerated() {
            if let items = schema["items"] { faults += self.faults(of: element, items, at: "\(place)/\(i)") }
        }
        guard let members = value.object else { return faults }
        for name in schema["required"]?.array ?? [] where value[name.string ?? ""] == nil { faults.append("\(place): \(name) is missing") }
        for member in members {
            if let property = schema["properties"]?[member.name] {
                faults += self.faults(of: member.value, property, at: "\(place)/\(member.name)")
            } else if let others = schema["additionalProperties"] {
                if others == false { faults.append("\(place)/\(member.name): no such property") } else {
                    faults += self.faults(of: member.value, others, at: "\(place)/\(member.name)")
                }
            }
        }
        return faults
    }
}

/// What a worker would count.
extension PeerCounters {
    func countStart() { row.pointee.active.wrappingAdd(1, ordering: .relaxed) }
    func countEnd() { row.pointee.active.wrappingSubtract(1, ordering: .relaxed) }
    func countFailure(nowMs: Int64) {
        row.pointee.fails.store(1, ordering: .relaxed)
        row.pointee.accessedMs.store(nowMs, ordering: .relaxed)
        row.pointee.checkedMs.store(nowMs, ordering: .relaxed)
    }
}
