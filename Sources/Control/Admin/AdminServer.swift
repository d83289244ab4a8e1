// Answers the requests of the admin API: admits, finds the route, lets its handler answer, tells the audit log.
// The duty of the control thread: called at the end of each of its turns. It decides nothing about states.

import AdminAPI
import CLinux
import Engine

/// What the admin server asks of the one who owns the process.
protocol AdminOwner: AnyObject, Sendable {
    /// Reads the configuration anew.
    func reloadConfiguration(by author: Author, preferringFile: Bool, ifMatch: UInt64?) throws(Problem) -> Accepted
    /// Writes what the controller has to tell the operator to the error log.
    func tellWarnings()
    /// What that would do.
    func planReload(preferringFile: Bool, ifMatch: UInt64?) throws(Problem) -> Plan
}

final class AdminServer: WorkerDuty {
    let controller: Controller
    let inbox: AdminInbox
    /// Owns the thread this runs in.
    unowned let owner: any AdminOwner
    let audit: AuditLog
    let clock: ControlClock
    let rollouts: Rollouts
    let startedAtMs: Int64
    let processID = getpid()
    private var gate: AdminGuard
    var live: AdminLive
    /// For the audit log.
    private var unwritten: [AuditLog.Entry] = []
    private var hasAnswered = false
    /// The newest request: what it holds is let go when its answer is on its way.
    private var spent: AdminCall?
    /// When to look at certificates again, and whether the log is to be told.
    private var certificatesDueMs: Int64?
    private var hasWarned = false

    init(
        _ controller: Controller, inbox: AdminInbox, owner: any AdminOwner, audit: AuditLog, clock: ControlClock = .system,
        rollouts: RolloutStore = RolloutStore(), commands: String? = nil
    ) {
        self.controller = controller
        self.inbox = inbox
        self.owner = owner
        self.audit = audit
        self.clock = clock
        startedAtMs = clock.realtimeMs()
        gate = AdminGuard(tokens: controller.tokens(at:))
        live = AdminLive(controller.events)
        self.rollouts = Rollouts(
            controller, store: rollouts, clock: clock, outside: RolloutOutside(commands: commands) { inbox.wakeUp() })
    }

    func turn(nowMs: Int64) -> Int64? {
        live.nowMs = nowMs
        rollouts.begin()
        for reply in inbox.takeGone() { live.forget(reply) }
        let requests = inbox.takeAll()
        if !requests.isEmpty {
            hasAnswered = true
            controller.wakeLater()
            for request in requests {
                if let answer = answer(request) { request.reply.answer(answer) }
            }
        }
        var due = rollouts.turn(nowMs: nowMs)
        if rollouts.takeHasWarned() { hasWarned = true }
        for next in [live.turn(controller, inbox), watchCertificates(nowMs)] { due = next.map { min($0, due ?? $0) } ?? due }
        return due
    }

    /// The start has looked already. Nil: there are none.
    private func watchCertificates(_ nowMs: Int64) -> Int64? {
        if !controller.hasCertificates { return nil }
        if let due = certificatesDueMs, nowMs < due { return due }
        if certificatesDueMs != nil {
            controller.watchCertificates()
            hasWarned = true
        }
        let due = nowMs + ControlLimits.certificateWatchMs
        certificatesDueMs = due
        return due
    }

    /// What nobody who asked has to wait for.
    func afterTurn() {
        if hasWarned {
            hasWarned = false
            owner.tellWarnings()
        }
        if !hasAnswered { return }
        hasAnswered = false
        controller.wakeNow()
        spent = nil
        for entry in unwritten { audit.write(entry) }
        unwritten.removeAll(keepingCapacity: true)
        owner.tellWarnings()
    }

    // MARK: Dispatch

    /// Nil: it comes later.
    private func answer(_ request: AdminRequest) -> AdminAnswer? {
        var who = ""
        var call: AdminCall?
        do throws(Problem) {
            who = try gate.admit(request)
            let segments = try AdminText.segments(request.path)
            let method = request.method == "HEAD" ? "GET" : request.method
            guard let route = AdminRoute.all.first(where: { $0.operation.method == method && $0.matches(segments) }) else {
                return try Self.otherMethod(request, segments)
            }
            if route.operation.isWrite, !request.settings.writes {
                throw Problem(.readOnly, "this place only answers questions", hint: "\"admin write=on;\" in the location allows changes")
            }
            let made = try AdminCall(request, route, names: route.names(in: segments), who: who)
            call = made
            spent = made
            let outcome = try route.handler(self, made)
            record(made, request, who, nil)
            if case .answer(let answer) = outcome { return answer }
            return nil
        } catch {
            record(call, request, who, error)
            return Self.refusal(error, request)
        }
    }

    /// Nothing at this path is asked like this.
    private static func otherMethod(_ request: AdminRequest, _ segments: [String]) throws(Problem) -> AdminAnswer {
        let methods = methods(segments)
        if methods.isEmpty { throw nothing(at: request.path) }
        if request.method == "OPTIONS" { return options(methods) }
        throw Problem(.methodNotAllowed, "found \(AdminText.shown(request.method)), expected one of \(methods)")
    }

    /// A write that is not a dry run, or what was meant as one.
    private func record(_ call: AdminCall?, _ request: AdminRequest, _ who: String, _ problem: Problem?) {
        if ["GET", "HEAD", "OPTIONS"].contains(request.method) || call?.isDryRun == true { return }
        var entry = AuditLog.Entry(atMs: clock.realtimeMs(), who: who, method: request.method, path: request.path)
        if who.isEmpty { entry.who = gate.name(of: request.client) }
        entry.reason = call?.reason ?? ""
        entry.revision = problem == nil ? call?.revision : nil
        entry.problem = problem
        unwritten.append(entry)
    }

    // MARK: Answers

    static func json(_ json: JSON, status: UInt16 = 200, revision: UInt64? = nil) -> AdminAnswer {
        AdminAnswer(
            status: status, lines: ["Cache-Control: no-store"] + (revision.map { ["ETag: \"\($0)\""] } ?? []), body: json.bytes())
    }

    static func refusal(_ problem: Problem, _ request: AdminRequest? = nil) -> AdminAnswer {
        var lines = ["Cache-Control: no-store"]
        switch problem.kind {
        case .unauthorized: lines.append("WWW-Authenticate: Bearer")
        case .busy, .stopping: lines.append("Retry-After: 1")
        case .methodNotAllowed:
            if let request, let segments = try? AdminText.segments(request.path) {
                lines.append("Allow: " + methods(segments))
            }
        default: break
        }
        return AdminAnswer(
            status: UInt16(clamping: problem.status), contentType: Problem.mediaType, lines: lines, body: problem.json.bytes())
    }

    private static func options(_ methods: String) -> AdminAnswer {
        AdminAnswer(status: 204, lines: ["Allow: " + methods, "Cache-Control: no-store"])
    }

    /// Those of a path; empty: there is nothing.
    private static func methods(_ segments: [String]) -> String {
        let methods = AdminRoute.all.filter { $0.matches(segments) }.map(\.operation.method)
        if methods.isEmpty { return "" }
        return (methods.contains("GET") ? methods + ["HEAD", "OPTIONS"] : methods + ["OPTIONS"]).sorted().joined(separator: ", ")
    }

    private static func nothing(at path: String) -> Problem {
        Problem(.notFound, "there is nothing at \(AdminText.shown(path))", hint: "GET / tells what there is")
    }

    // MARK: The API itself

    func index(_ call: AdminCall) -> AdminOutcome {
        let links = AdminRoute.all.filter { $0.operation.method == "GET" && $0.operation.path != "/" }
            .map { JSON.Member($0.operation.id, .string(String($0.operation.path.dropFirst()))) }
        return call.json(.members([
            "links": .object(links.sorted { $0.name < $1.name }), "product": .string("\(Product.name)"),
            "revision": .integer(Int64(clamping: controller.running.revision)), "version": .string("\(Product.version)"),
        ]))
    }

    private static let document = openAPIDocument(AdminRoute.all.map(\.operation), version: "\(Product.version)")

    func document(_ call: AdminCall) -> AdminOutcome { call.json(Self.document) }
}
