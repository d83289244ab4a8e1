// Owns the options that verbs share: where the admin API is, who asks, how a write is made and awaited.
// Called by every verb. What a request is stays with the verb.

import AdminAPI
import ArgumentParser
import CLinux
import Glibc

/// Of every verb.
struct ServerOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Where the admin API is: unix:/path, /path, http://host:port/prefix. Else PROXYCTL_ADMIN, else where proxyd has it.",
            valueName: "address"))
    var admin: String?

    @Option(help: "The token of an admin location. Or PROXYCTL_TOKEN. Others can see it in the list of processes: better a file.")
    var token: String?

    @Option(help: ArgumentHelp("A file with the token in its first line.", valueName: "file"), completion: .file())
    var tokenFile: String?

    @Flag(help: "Print what the server answers, unchanged.")
    var json = false

    func validate() throws {
        if let admin, case .failure(let problem) = AdminAddress.parse(admin) { throw ValidationError("--admin: \(problem.text)") }
        if token != nil && tokenFile != nil { throw ValidationError("--token and --token-file exclude each other") }
    }

    func client(connectTimeoutMs: Int32 = 5000) throws(Failure) -> AdminClient {
        AdminClient(try addresses, token: try secret, connectTimeoutMs: connectTimeoutMs)
    }

    private var addresses: [AdminAddress] {
        get throws(Failure) {
            guard let text = admin ?? Output.environment("PROXYCTL_ADMIN") else { return AdminAddress.places }
            switch AdminAddress.parse(text) {
            case .success(let address): return [address]
            case .failure(let problem): throw Failure(.usage, "PROXYCTL_ADMIN: \(problem.text)")
            }
        }
    }

    private var secret: String? {
        get throws(Failure) {
            var found = token
            if let tokenFile {
                let text = String(decoding: try TextFile.read(tokenFile), as: UTF8.self)
                // Also the form of admin_token_file, NAME TOKEN.
                let lines = text.split(separator: "\n").filter { !$0.hasPrefix("#") }
                found = lines.lazy.compactMap { $0.split(whereSeparator: \.isWhitespace).last }.first.map(String.init)
                if found == nil { throw Failure(.usage, "\(tokenFile) has no token") }
            } else if found == nil {
                found = Output.environment("PROXYCTL_TOKEN")
            }
            if let found, !found.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) {
                throw Failure(.usage, "the token has characters that a token cannot have")
            }
            return found
        }
    }
}

/// Of every verb that changes something.
struct WriteOptions: ParsableArguments {
    @Option(help: "Why; it stays in the history.")
    var reason: String?

    @Flag(help: "Change nothing; show what would change, as `proxyctl plan` does.")
    var dryRun = false

    @Option(help: ArgumentHelp("Refuse if the revision is another one by then (exit status 4).", valueName: "revision"))
    var ifMatch: UInt64?

    @Flag(help: "Also against a rollout, which it ends, and to servers that take no requests.")
    var force = false

    @OptionGroup var server: ServerOptions

    /// A request with what these options add to it. `revision` is what the verb has read and builds on.
    func request(_ method: String, _ segments: [String], readAt revision: UInt64? = nil) -> AdminRequest {
        var request = AdminRequest(method, segments)
        if let reason { request.query.append(("reason", reason)) }
        if dryRun { request.query.append(("dry_run", "1")) }
        if force { request.query.append(("force", "1")) }
        if let match = ifMatch ?? revision { request.fields.append(("If-Match", "\"\(match)\"")) }
        return request
    }

    /// Sends a write, and prints what came of it. Nil: it was a plan.
    @discardableResult
    func perform(_ request: AdminRequest, _ client: AdminClient) throws(Failure) -> WriteAnswer? {
        let answer = try client.send(request).orProblem()
        if dryRun {
            if server.json { Output.document(answer.body) } else { Output.lines(try PlanText.lines(answer)) }
            return nil
        }
        let written = WriteAnswer(try answer.json, status: answer.status)
        if server.json { Output.document(answer.body) } else {
            Output.line(written.text)
            for warning in written.warnings { Output.error("warning: " + warning) }
        }
        return written
    }
}

/// What a write answers.
struct WriteAnswer {
    let revision: UInt64?
    let previous: UInt64?
    let isChanged: Bool
    let summary: String
    let status: Int
    /// Of what was taken all the same.
    let warnings: [String]

    init(_ json: JSON, status: Int) {
        warnings = (json["warnings"]?.array ?? []).compactMap(\.string).map(Words.printable)
        revision = json["revision"]?.integer.flatMap { UInt64(exactly: $0) }
        previous = json["previous"]?.integer.flatMap { UInt64(exactly: $0) }
        isChanged = json["changed"]?.bool ?? true
        summary = Words.printable(json["summary"]?.string ?? "")
        self.status = status
    }

    var text: String {
        guard let revision else { return summary.isEmpty ? "Done." : summary }
        if !isChanged {
            return summary.isEmpty ? "Nothing to change: revision \(revision) is like that." : "Revision \(revision): \(summary)"
        }
        // A hold makes no revision: an undo would take back what somebody changed before.
        let way = previous == revision ? "" : previous.map { " (was \($0); `proxyctl undo` goes back)" } ?? ""
        return "Revision \(revision)" + (summary.isEmpty ? "" : ": \(summary)") + way
    }
}

/// Of the verbs that move traffic.
struct WaitOptions: ParsableArguments {
    @Flag(
        help:
            "Wait until every worker serves by it, and print the receipt. Exit status 1 unless that balances without failures."
    )
    var wait = false

    @Flag(help: "Also wait until the last request of earlier revisions has ended.")
    var waitDrained = false

    @Option(help: ArgumentHelp("How long --wait-drained waits.", valueName: "time"))
    var waitTimeout = "30s"

    func validate() throws {
        if Words.milliseconds(waitTimeout) == nil { throw ValidationError("--wait-timeout: a time is 30s, 500ms or 1m30s") }
    }

    /// Waits for the receipt of what was `written`, prints it and judges it.
    func finish(_ written: WriteAnswer?, _ server: ServerOptions, _ client: AdminClient) throws(Failure) {
        guard wait || waitDrained, let written, written.isChanged, let revision = written.revision else { return }
        try ReceiptWait(revision: revision, timeoutMs: waitDrained ? Words.milliseconds(waitTimeout) ?? 0 : nil).run(
            server, client)
    }
}

/// A verb that changes something, so that there can be a plan of it.
protocol WritingVerb: ParsableCommand {
    var write: WriteOptions { get set }
}

enum TextFile {
    static let bytesMax = 16 << 20

    /// The content of a file; `-` is standard input.
    static func read(_ path: String, bytesMax: Int = bytesMax) throws(Failure) -> [UInt8] {
        let fd = path == "-" ? 0 : clinux_open(path, O_RDONLY, 0)
        if fd < 0 { throw Failure(.usage, "cannot read \(path): \(AdminClient.words(Int(fd)))") }
        defer { if fd > 0 { _ = clinux_close(fd) } }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let n = buffer.withUnsafeMutableBytes { clinux_read(fd, $0.baseAddress, $0.count) }
            if n == -Int(EINTR) { continue }
            if n < 0 { throw Failure(.usage, "cannot read \(path): \(AdminClient.words(n))") }
            if n == 0 { return bytes }
            bytes += buffer[..<n]
            if bytes.count > bytesMax { throw Failure(.usage, "\(path) has more than \(bytesMax) bytes") }
        }
    }

    /// Writes over a file that is there, or makes one that only we may read.
    static func write(_ bytes: [UInt8], to path: String, isDurable: Bool = false) throws(Failure) {
        let fd = clinux_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        if fd < 0 { throw Failure(.usage, "cannot write \(path): \(AdminClient.words(Int(fd)))") }
        defer { _ = clinux_close(fd) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let n = rest.withUnsafeBytes { clinux_write(fd, $0.baseAddress, $0.count) }
            if n == -Int(EINTR) { continue }
            if n <= 0 { throw Failure(.usage, "cannot write \(path): \(AdminClient.words(n))") }
            rest = rest.dropFirst(n)
        }
        let result = isDurable ? clinux_sync(fd) : 0
        if result < 0 { throw Failure(.usage, "cannot write \(path): \(AdminClient.words(Int(result)))") }
    }
}
