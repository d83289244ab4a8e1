// Owns a real application in a process of its own: Python's standard library answers with its name, and misbehaves as it is told.
// Called by the suites about releases. What it counts is asked of it by /count.

import Foundation

public final class PythonApp: Sendable {
    /// How it behaves from now on; written to a file that it reads at every request.
    public struct Manner: Sendable {
        /// Share of requests that are answered 500.
        public var errors = 0.0
        public var slowMs = 0
        public var health = true
        public init(errors: Double = 0, slowMs: Int = 0, health: Bool = true) {
            self.errors = errors
            self.slowMs = slowMs
            self.health = health
        }
    }

    private static let script = """
        import sys, time, threading
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
        port, name, manner = int(sys.argv[1]), sys.argv[2], sys.argv[3]
        lock, seen = threading.Lock(), [0, 0.0]
        class App(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            wbufsize = -1
            disable_nagle_algorithm = True
            def do_GET(self):
                errors, slow, health = open(manner).read().split()
                if self.path == '/count':
                    return self.say(200, str(seen[0]))
                if self.path.startswith('/health'):
                    return self.say(200 if health == 'true' else 503, 'health')
                with lock:
                    seen[0] += 1
                    seen[1] += float(errors)
                    fails = seen[1] >= 1
                    if fails: seen[1] -= 1
                time.sleep(0.008 + float(slow) / 1000)
                self.say(500 if fails else 200, 'error' if fails else name)
            def say(self, status, text):
                self.send_response(status)
                self.send_header('Content-Length', str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())
                self.wfile.flush()
            def log_message(self, *words): pass
        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True
        Server(('127.0.0.1', port), App).serve_forever()
        """

    public let name: String
    public let endpoint: Endpoint
    private let folder: String
    private let child = Locked<ChildProcess?>(nil)

    public init(_ name: String) throws {
        self.name = name
        endpoint = .tcp("127.0.0.1", try Ports.reserve())
        folder = try Harness.temporaryDirectory()
        try Self.script.write(toFile: folder + "/app.py", atomically: true, encoding: .utf8)
        try behave(Manner())
        try start()
    }

    deinit {
        die()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Where the number of its process stands.
    public var pidFile: String { folder + "/pid" }

    public func behave(_ manner: Manner) throws {
        let text = "\(manner.errors) \(manner.slowMs) \(manner.health)"
        try text.write(toFile: folder + "/manner", atomically: true, encoding: .utf8)
    }

    public func start() throws {
        let words = ["python3", "-u", folder + "/app.py", "\(endpoint.port)", name, folder + "/manner"]
        let process = try ChildProcess("/usr/bin/env", words, stdout: folder + "/out", stderr: folder + "/err")
        child.with { $0 = process }
        try "\(process.pid)\n".write(toFile: pidFile, atomically: true, encoding: .utf8)
        try Harness.wait(for: "\(name) to answer: \(errors)", withinMs: 60_000) {
            guard let client = try? RawClient(endpoint), let answer = try? client.request("GET", "/health") else { return false }
            return answer.status == 200
        }
    }

    private var errors: String { (try? String(contentsOfFile: folder + "/err", encoding: .utf8)) ?? "" }

    /// As when it is killed.
    public func die() {
        guard let process = child.current, process.isRunning else { return }
        process.signal(SIGKILL)
        _ = process.waitForEnd(withinMs: 5000)
    }

    /// Requests it has taken, those for its health left out.
    public var requestCount: Int {
        get throws { Int(try RawClient(endpoint).request("GET", "/count").text) ?? -1 }
    }
}
