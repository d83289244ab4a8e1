// Owns signals: quitting without a cut, stopping at once, reloading, reopening logs.

import Foundation
import TestSupport
import Testing

@Suite("lifecycle", .ownThread)
struct LifecycleTests {
    /// Answers `/slow` once `gate` fires, everything else at once.
    private func gated(_ gate: Signal, _ name: String = "done") throws -> Upstream {
        try Upstream { r, c in
            if r.target == "/slow" { gate.wait() }
            try c.answer(body: name)
        }
    }

    private static func isRefused(_ endpoint: Endpoint) -> Bool {
        guard let client = try? RawClient(endpoint) else { return true }
        client.close()
        return false
    }

    @Test func quitFinishesRequestsInFlight() throws {
        let gate = Signal()
        let upstream = try gated(gate)
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); }")
        let busy = try proxy.client()
        try busy.send(RawClient.text("GET", "/slow"))
        _ = try upstream.waitForRequests(1)
        let idle = try proxy.client()
        #expect(try idle.request().text == "done")

        proxy.signal(SIGQUIT)
        try Harness.wait(for: "new connections to be refused") { Self.isRefused(proxy.endpoint) }
        #expect(idle.end() == .closed, "idle connections end at once")
        #expect(proxy.isRunning)
        gate.fire()
        let response = try busy.response()
        #expect(response.text == "done")
        #expect(response["Connection"] == "close")
        #expect(busy.end() == .closed)
        #expect(try proxy.waitForEnd() == .exited(0))
        #expect(proxy.accessLines.count == 2)
        #expect(!FileManager.default.fileExists(atPath: proxy.path("proxy.pid")))
    }

    @Test func quitFinishesDownloadsUploadsAndTunnels() throws {
        let gate = Signal()
        let upstream = try Upstream(readsBodies: false) { r, c in
            if r.target == "/tunnel" {
                try c.acceptUpgrade()
                try c.send(try c.stream.read(exactly: 4))
                return c.close()
            }
            if r.method == "PUT" {
                var count = 0
                _ = try c.stream.readRequestBody(r.head) { count += $0.count }
                return try c.answer(body: "\(count)")
            }
            try c.send("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + Pattern.text(100_000))
            gate.wait()
            try c.send(Pattern.text(100_000))
        }
        let proxy = try Proxy(
            server: """
                location / {
                    proxy_pass http://\(upstream.endpoint); proxy_http_version 1.1;
                    proxy_request_buffering off; proxy_buffering off;
                    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;
                }
                """)
        let download = try proxy.client()
        try download.send(RawClient.text("GET", "/", ["Connection: close"]))
        let upload = try proxy.client()
        try upload.send(RawClient.text("PUT", "/", ["Connection: close", "Content-Length: 10"]) + "first")
        let tunnel = try proxy.client()
        #expect(try tunnel.upgrade("/tunnel").word(1) == "101")
        _ = try upstream.waitForRequests(3)
        proxy.signal(SIGQUIT)
        try Harness.wait(for: "new connections to be refused") { Self.isRefused(proxy.endpoint) }
        try upload.send("again")
        #expect(try upload.response().text == "10")
        #expect(try tunnel.echo("ping") == "ping")
        gate.fire()
        #expect(try download.response().body.count == 200_000)
        #expect(try proxy.waitForEnd() == .exited(0))
    }

    @Test("TERM and INT stop at once", arguments: [SIGTERM, SIGINT])
    func stopAtOnce(signal: Int32) throws {
        let upstream = try Upstream { _, c in c.hold() }
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); }")
        let busy = try proxy.client()
        try busy.send(RawClient.text())
        _ = try upstream.waitForRequests(1)
        #expect(try proxy.stop(signal, withinMs: 5000) == .exited(0))
        #expect(busy.end() != .timedOut)
        #expect(Self.isRefused(proxy.endpoint))
        #expect(!FileManager.default.fileExists(atPath: proxy.path("proxy.pid")))
    }

    @Test func thePidFileNamesTheProcess() throws {
        let proxy = try Proxy(server: "return 200 x;")
        #expect(proxy.read("proxy.pid") == "\(proxy.pid)\n")
        try proxy.reload(Proxy.wrapped("server { listen 127.0.0.1:%PORT%; return 200 y; }")) { try proxy.get().text == "y" }
        #expect(proxy.read("proxy.pid") == "\(proxy.pid)\n")
        #expect(try proxy.stop() == .exited(0))
    }

    @Test func aReloadCutsNoConnection() throws {
        let gate = Signal()
        let old = try gated(gate, "old")
        let new = try Upstream(saying: "new")
        func text(_ upstream: Upstream) -> String {
            Proxy.wrapped("server { listen 127.0.0.1:%PORT%; location / { proxy_pass http://\(upstream.endpoint); } }")
        }
        let proxy = try Proxy(text(old))
        let busy = try proxy.client()
        try busy.send(RawClient.text("GET", "/slow"))
        _ = try old.waitForRequests(1)
        try proxy.reload(text(new)) { try proxy.get().text == "new" }
        // The workers of nginx learn of it one after the other.
        if !Harness.isNginx {
            let count = old.requestCount
            for _ in 0..<20 { #expect(try proxy.get().text == "new") }
            #expect(old.requestCount == count, "nothing new goes to the old place")
        }
        gate.fire()
        #expect(try busy.response().text == "old", "what began before ends where it began")
    }

    @Test(.enabled(if: !Harness.isNginx, "nginx closes idle connections on reload and keeps busy ones on the old configuration"))
    func aKeptConnectionOutlivesAReloadAndSeesIt() throws {
        let old = try Upstream(saying: "old")
        let new = try Upstream(saying: "new")
        func text(_ upstream: Upstream) -> String {
            Proxy.wrapped("server { listen 127.0.0.1:%PORT%; location / { proxy_pass http://\(upstream.endpoint); } }")
        }
        let proxy = try Proxy(text(old))
        let client = try proxy.client()
        #expect(try client.request().text == "old")
        try proxy.reload(text(new)) { try proxy.get().text == "new" }
        #expect(try client.request().text == "new")
    }

    @Test func reloadsUnderLoadLoseNothing() throws {
        let peers = try (0..<2).map { try Upstream(saying: "\($0)") }
        func text(_ i: Int) -> String {
            Proxy.wrapped("server { listen 127.0.0.1:%PORT%; location / { proxy_pass http://\(peers[i].endpoint); } }")
        }
        let proxy = try Proxy(text(0))
        let load = Load(proxy.endpoint, connections: 4)
        for round in 1...5 {
            try load.waitForAnswers(20)
            try proxy.reload(text(round % 2)) { try proxy.get().text == "\(round % 2)" }
        }
        let result = try load.finish()
        #expect(result.failures == [])
        #expect(result.count(200) == result.sent)
        #expect(Harness.isNginx || result.resent == 0, "no kept connection ends because of a reload")
        let seen = peers.flatMap(\.requests).compactMap { $0["X-Request-Id"] }
        #expect(Set(seen) == result.answered)
        #expect(seen.count == result.sent, "each arrived once")
    }

    @Test func aBadConfigurationIsNotAdopted() throws {
        let proxy = try Proxy(server: "return 200 good;")
        try proxy.configure("events { } http { nonsense; }")
        proxy.signal(SIGHUP)
        try Harness.wait(for: "the error to be logged") { proxy.errorLog.contains("unknown directive \"nonsense\"") }
        #expect(try proxy.get().text == "good")
        #expect(proxy.isRunning)
        try proxy.reload(Proxy.wrapped("server { listen 127.0.0.1:%PORT%; return 200 better; }")) {
            try proxy.get().text == "better"
        }
    }

    @Test func aReloadOpensAndClosesAddresses() throws {
        let proxy = try Proxy(server: "return 200 a;")
        try proxy.reload(Proxy.wrapped("server { listen 127.0.0.1:%PORT2%; return 200 b; }")) { !Self.isRefused(proxy.endpoint2) }
        #expect(try RawClient(proxy.endpoint2).request().text == "b")
        try Harness.wait(for: "the old address to close") { Self.isRefused(proxy.endpoint) }
    }

    @Test func usr1ReopensLogs() throws {
        let proxy = try Proxy(server: "return 200 x;")
        try proxy.get("/before")
        #expect(try proxy.waitForLines(1)[0].contains("/before"))
        try FileManager.default.moveItem(atPath: proxy.path("access.log"), toPath: proxy.path("access.log.1"))
        try proxy.get("/between")
        #expect(try proxy.waitForLines(2, in: "access.log.1")[1].contains("/between"))
        proxy.signal(SIGUSR1)
        try Harness.wait(for: "lines to go to the new file") {
            try proxy.get("/after")
            return proxy.read("access.log").contains("/after")
        }
        #expect(try proxy.stop(SIGQUIT) == .exited(0))
    }

    @Test func logsAreReopenedWhileRequestsFinish() throws {
        let gate = Signal()
        let upstream = try Upstream { _, c in
            gate.wait()
            try c.answer(body: "x")
        }
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); }")
        let client = try proxy.client()
        try client.send(RawClient.text())
        _ = try upstream.waitForRequests(1)
        proxy.signal(SIGQUIT)
        try Harness.wait(for: "the listener to close") { Self.isRefused(proxy.endpoint) }
        try FileManager.default.moveItem(atPath: proxy.path("access.log"), toPath: proxy.path("access.log.1"))
        proxy.signal(SIGUSR1)
        try Harness.wait(for: "a new log", withinMs: 10_000) { FileManager.default.fileExists(atPath: proxy.path("access.log")) }
        gate.fire()
        #expect(try client.response().text == "x")
        #expect(try proxy.waitForEnd() == .exited(0))
        #expect(proxy.accessLines.count == 1)
    }

    @Test("-s sends the signal to the process of the pid file", arguments: ["stop", "quit"])
    func sendStop(word: String) throws {
        let proxy = try Proxy(server: "return 200 x;")
        #expect(try proxy.run(["-s", word]).status == .exited(0))
        #expect(try proxy.waitForEnd() == .exited(0))
    }

    @Test func sendReloadAndReopen() throws {
        let proxy = try Proxy(server: "return 200 x;")
        try proxy.configure(Proxy.wrapped("server { listen 127.0.0.1:%PORT%; return 200 y; }"))
        #expect(try proxy.run(["-s", "reload"]).status == .exited(0))
        try Harness.wait(for: "the new configuration") { try proxy.get().text == "y" }
        unlink(proxy.path("access.log"))
        #expect(try proxy.run(["-s", "reopen"]).status == .exited(0))
        try Harness.wait(for: "a new log") { FileManager.default.fileExists(atPath: proxy.path("access.log")) }
    }

    /// A user who may not take the pid file out of root's folder leaves no number in it: it may soon be another process's.
    @Test(.enabled(if: getuid() == 0 && !Harness.isNginx)) func thePidFileOfAnotherUserIsEmptiedAtTheEnd() throws {
        let proxy = try Proxy(server: "return 200 x;", main: "user nobody;")
        #expect(try proxy.get().text == "x")
        #expect(proxy.read("proxy.pid") == "\(proxy.pid)\n")
        #expect(try proxy.stop(SIGQUIT) == .exited(0))
        #expect(proxy.read("proxy.pid") == "")
        #expect(try proxy.run(["-s", "quit"]).status == .exited(1))
    }

    /// A limit to the size of files (ulimit -f) fails the writes beyond it. It is no reason to be down.
    @Test(.enabled(if: !Harness.isNginx)) func theLimitOfAFilesSizeEndsNobody() throws {
        let proxy = try Proxy(server: "return 200 x;")
        proxy.signal(SIGXFSZ)
        #expect(try proxy.get().text == "x")
        #expect(try proxy.stop(SIGTERM) == .exited(0))
    }

    /// With the default level of the error log, too.
    @Test func aConnectionTooManyIsTold() throws {
        let proxy = try Proxy("worker_processes 1; error_log error.log; events { worker_connections 4; } http { access_log off; server { listen 127.0.0.1:%PORT%; return 200 x; } }")
        let clients = try (0..<6).map { _ in try proxy.client() }
        try Harness.wait(for: "the line: \(proxy.errorLog)") { proxy.errorLog.contains("worker_connections are not enough") }
        #expect(proxy.errorLog.contains("[alert]") && clients.count == 6)
    }

    @Test func twoWorkersServeAndQuit() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); }", main: "worker_processes 2;")
        let result = try Load(proxy.endpoint, connections: 16, requests: 800).finish()
        #expect(result.failures == [])
        #expect(result.count(200) == 800)
        #expect(upstream.requestCount == 800)
        #expect(try proxy.stop(SIGQUIT) == .exited(0))
        #expect(proxy.accessLines.count == 800)
    }
}
