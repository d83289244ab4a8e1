// Owns one running binary under test: its directory, configuration, process, logs and signals.
// Called by the suites. Where nginx and proxyd differ (flags, workers as processes) is known here alone; a test sees none.

import Foundation

/// In every text given, `%PORT%`, `%PORT2%`, `%PORT3%` become reserved ports and `%DIR%` the directory of this proxy.
public final class Proxy: @unchecked Sendable {
    public let directory: String
    private let ports: [Int]
    private let child = Locked<ChildProcess?>(nil)
    private let written = Locked("")
    private let substitutions: [(String, String)]

    /// Writes `text` as the configuration and `files` beside it, starts the binary and waits until it listens.
    public init(_ text: String, files: [String: String] = [:], replacing: [(String, String)] = [], starting: Bool = true) throws {
        directory = try Harness.temporaryDirectory()
        ports = try (0..<3).map { _ in try Ports.reserve() }
        substitutions = replacing
        for (name, content) in files { try write(name, content) }
        try configure(text)
        if starting { try start() }
    }

    /// Only what stands inside `http { }`.
    public convenience init(http: String, main: String = "", files: [String: String] = [:], starting: Bool = true) throws {
        try self.init(Self.wrapped(http, main), files: files, starting: starting)
    }

    /// Only what stands inside one `server { }`, beside its `listen` on 127.0.0.1; `http` stands before the server.
    public convenience init(server: String, http: String = "", main: String = "", files: [String: String] = [:]) throws {
        try self.init(http: "\(http)\nserver { listen 127.0.0.1:%PORT%;\n\(server)\n}", main: main, files: files)
    }

    /// A file of `conf/`. Each pair replaces a text that must be in it.
    public convenience init(example name: String, files: [String: String] = [:], replacing: [(String, String)]) throws {
        let text = try String(contentsOfFile: Harness.packageDirectory + "/conf/" + name, encoding: .utf8)
        for (old, _) in replacing where !text.contains(old) { throw TestFailure("conf/\(name) has no “\(old)”") }
        try self.init(text, files: files, replacing: replacing + [("/dev/stdout", "access.log"), ("stderr", "error.log")])
    }

    deinit {
        if let process = child.current, process.isRunning {
            process.signal(SIGTERM)
            if process.waitForEnd(withinMs: 3000) == nil {
                let workers = Self.children(of: process.pid)
                process.signal(SIGKILL)
                for worker in workers { kill(worker, SIGKILL) }
                _ = process.waitForEnd(withinMs: 3000)
            }
        }
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// A configuration around what stands inside `http { }`, in lines of its own so that line numbers are easy to tell.
    public static func wrapped(_ http: String, _ main: String = "") -> String {
        let log = http.contains("access_log ") ? "" : "access_log access.log;"
        let workers = main.contains("worker_processes") ? "" : "worker_processes 1;"
        return "\(workers) \(main) events { } http { \(log)\n\(http)\n}\n"
    }

    // MARK: Files

    public var port: Int { ports[0] }
    public var endpoint: Endpoint { .tcp("127.0.0.1", port) }
    /// The second and third of the reserved ports.
    public var endpoint2: Endpoint { .tcp("127.0.0.1", ports[1]) }
    public var endpoint3: Endpoint { .tcp("127.0.0.1", ports[2]) }
    public func path(_ name: String) -> String { name.hasPrefix("/") ? name : directory + "/" + name }

    public func write(_ name: String, _ content: String) throws {
        let folder = (path(name) as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try expanded(content).write(toFile: path(name), atomically: false, encoding: .utf8)
    }

    /// Writes the configuration; it counts from the next start or reload on.
    public func configure(_ text: String) throws {
        written.with { $0 = expanded(text) }
        try write("proxy.conf", Self.completed(text))
    }

    /// The configuration as last written, ports put in.
    public var configuration: String { written.current }

    public func read(_ name: String) -> String { (try? String(contentsOfFile: path(name), encoding: .utf8)) ?? "" }
    public var errorLog: String { read("error.log") + read("stderr") }
    public var accessLines: [String] { read("access.log").split(separator: "\n").map(String.init) }

    /// The lines of a log once there are `count`.
    public func waitForLines(_ count: Int, in name: String = "access.log") throws -> [String] {
        var lines: [String] = []
        try Harness.wait(for: "\(count) lines in \(name): \(lines)") {
            lines = read(name).split(separator: "\n").map(String.init)
            return lines.count >= count
        }
        return lines
    }

    private func expanded(_ text: String) -> String {
        var text = text
        for (old, new) in substitutions { text = text.replacingOccurrences(of: old, with: new) }
        for (i, port) in ports.enumerated() {
            text = text.replacingOccurrences(of: i == 0 ? "%PORT%" : "%PORT\(i + 1)%", with: String(port))
        }
        return text.replacingOccurrences(of: "%DIR%", with: directory)
    }

    /// Adds what a test needs and the text leaves out, without a new line: positions in messages stay those of the text.
    private static func completed(_ text: String) -> String {
        var head = ""
        if !text.contains("error_log") { head += "error_log error.log info; " }
        if !text.contains("pid ") { head += "pid proxy.pid; " }
        guard Harness.isNginx, let http = text.range(of: "http {") else { return head + text }
        let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "\($0)_temp_path temp_\($0);" }
        return head + text.replacingCharacters(in: http, with: "http { " + folders.joined(separator: " "))
    }

    // MARK: Process

    public var pid: pid_t { child.current?.pid ?? 0 }
    public var isRunning: Bool { child.current?.isRunning ?? false }

    /// Starts the binary and returns once all addresses of the configuration that name a reserved port accept.
    public func start() throws {
        let process = try launch([])
        child.with { $0 = process }
        let text = read("proxy.conf")
        var awaited: [Endpoint] = []
        for port in ports {
            if text.contains("[::1]:\(port)") { awaited.append(.tcp("::1", port)) }
            if text.range(of: "listen +(127.0.0.1:|\\*:|0.0.0.0:|localhost:)?\(port)[ ;]", options: .regularExpression) != nil {
                awaited.append(.tcp("127.0.0.1", port))
            }
        }
        if text.contains("listen unix:\(directory)/proxy.sock") { awaited.append(.unix(path("proxy.sock"))) }
        if awaited.isEmpty { throw TestFailure("the configuration listens on no reserved address: \(text)") }
        for endpoint in awaited { try waitUntilListening(endpoint, process) }
        // The kernel accepts before the program is ready for signals: its pid file, and nginx's first worker, come later.
        let pidFile = text.firstMatch(of: /pid +([^ ;]+);/).map { String($0.1) } ?? "proxy.pid"
        try Harness.wait(for: "\(pidFile) and workers: \(errorLog)") {
            !read(pidFile).isEmpty && (!Harness.isNginx || !Self.children(of: pid).isEmpty)
        }
    }

    private func waitUntilListening(_ endpoint: Endpoint, _ process: ChildProcess) throws {
        try Harness.wait(for: "\(Harness.binary) to listen on \(endpoint): \(errorLog)") {
            if let status = process.status { throw TestFailure("\(Harness.binary) ended, \(status): \(errorLog)") }
            guard let fd = try? Sockets.connect(endpoint) else { return false }
            close(fd)
            return true
        }
    }

    /// Runs the binary with further arguments (`-t`, `-s quit`) to its end.
    public func run(_ arguments: [String]) throws -> (status: ProcessEnd, output: String) {
        let process = try launch(arguments, output: "run")
        guard let status = process.waitForEnd(withinMs: 60_000) else {
            process.signal(SIGKILL)
            throw TestFailure("\(Harness.binary) \(arguments) did not end")
        }
        defer { for name in ["run.stdout", "run.stderr"] { unlink(path(name)) } }
        return (status, read("run.stdout") + read("run.stderr"))
    }

    private func launch(_ arguments: [String], output: String? = nil) throws -> ChildProcess {
        var words = ["-p", directory + "/", "-c", path("proxy.conf"), "-e", path("error.log")] + arguments
        if Harness.isNginx { words += ["-g", getuid() == 0 ? "daemon off; user root;" : "daemon off;"] }
        let prefix = output.map { $0 + "." } ?? ""
        return try ChildProcess(Harness.binary, words, stdout: path(prefix + "stdout"), stderr: path(prefix + "stderr"))
    }

    public func signal(_ number: Int32) { child.current?.signal(number) }

    /// Sends `signal` and waits for the end.
    @discardableResult
    public func stop(_ signal: Int32 = SIGTERM, withinMs: Int = 60_000) throws -> ProcessEnd {
        self.signal(signal)
        return try waitForEnd(withinMs: withinMs)
    }

    public func waitForEnd(withinMs: Int = 60_000) throws -> ProcessEnd {
        guard let status = child.current?.waitForEnd(withinMs: withinMs) else {
            throw TestFailure("\(Harness.binary) still runs after \(withinMs) ms")
        }
        return status
    }

    /// Writes a new configuration, sends HUP, and waits until `isNew` holds.
    public func reload(_ text: String, until isNew: () throws -> Bool) throws {
        try configure(text)
        signal(SIGHUP)
        try Harness.wait(for: "the new configuration: \(errorLog.suffix(500))", isNew)
    }

    // MARK: Requests

    public func client(timeoutMs: Int = 30_000, receiveBufferBytes: Int = 0) throws -> RawClient {
        try RawClient(endpoint, timeoutMs: timeoutMs, receiveBufferBytes: receiveBufferBytes)
    }

    /// One request on a connection of its own.
    @discardableResult
    public func get(_ target: String = "/", _ fields: [String] = [], method: String = "GET", body: String? = nil) throws
        -> Response
    {
        try client().request(method, target, fields + ["Connection: close"], body: body)
    }

    /// Sends `bytes` on a connection of their own; everything that comes back and how it ends.
    public func raw(_ bytes: String, halfClose: Bool = false) throws -> (text: String, end: StreamEnd) {
        let client = try client()
        try client.send(bytes)
        if halfClose { client.halfClose() }
        let (all, end) = client.stream.readToEnd()
        return (String(decoding: all, as: UTF8.self), end)
    }

    // MARK: Figures

    /// Resident bytes of the process and its children: nginx has its workers there.
    public var residentBytes: Int {
        var total = 0
        for process in [pid] + Self.children(of: pid) {
            let status = (try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)) ?? ""
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
            total += (line?.split(separator: " ").compactMap { Int($0) }.first ?? 0) << 10
        }
        return total
    }

    static func children(of pid: pid_t) -> [pid_t] {
        let text = (try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)) ?? ""
        return text.split(separator: " ").compactMap { pid_t($0) }
    }
}
