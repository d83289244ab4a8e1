// Owns the admin API of the real program: its socket, its locations, its events, and many who change at once.

import Foundation
import TestSupport
import Testing

@Suite("admin API", .ownThread, .enabled(if: !Harness.isNginx))
struct AdminTests {
    static let pools = "upstream blue { server 127.0.0.1:9; } upstream green { server 127.0.0.1:9; } split app { blue 90; green 10; }"

    static func proxy(_ location: String = "", main: String = "worker_processes 2; state %DIR%/state;", files: [String: String] = [:]) throws -> Proxy {
        try Proxy(server: "location /app { proxy_pass http://app; } \(location)", http: pools, main: main, files: files)
    }

    static func socket(_ proxy: Proxy) -> Endpoint { .unix(proxy.path("state/admin.sock")) }

    static func ask(_ endpoint: Endpoint, _ method: String, _ target: String, _ fields: [String] = [], body: String? = nil) throws -> Response {
        try RawClient(endpoint).request(method, target, fields + ["Connection: close"], body: body)
    }

    static func object(_ response: Response) -> [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(response.body))) as? [String: Any] ?? [:]
    }

    static func weights(_ green: Int) -> String { "{\"weights\": {\"green\": \(green)}}" }

    @Test func theSocketIsItsOwnersAlone() throws {
        let proxy = try Self.proxy()
        let attributes = try FileManager.default.attributesOfItem(atPath: proxy.path("state/admin.sock"))
        #expect((attributes[.posixPermissions] as? Int) == 0o600)
        let answer = try Self.ask(Self.socket(proxy), "PATCH", "/splits/app", body: Self.weights(50))
        #expect(answer.status == 200)
        #expect(answer["ETag"] == "\"2\"")
        let revision = Self.object(try Self.ask(Self.socket(proxy), "GET", "/revisions/2"))
        #expect(revision["who"] as? String == NSUserName())
        let audit = try FileManager.default.attributesOfItem(atPath: proxy.path("state/audit.log"))
        #expect((audit[.posixPermissions] as? Int) == 0o600)
        #expect(proxy.read("state/audit.log").contains("\"revision\":2"))
    }

    /// More than sockets and buffers hold, to a client that takes its time: as it is, in chunks, and over HTTP/2.
    @Test func aLargeAnswerComesWhole() throws {
        let proxy = try Self.proxy("server_name test; http2 on; location /plain/ { admin write=on; } location /chunked/ { admin; add_trailer X-End yes; }")
        let servers = (0..<12_000).map { "{\"server\": \"10.0.\($0 / 250).\($0 % 250):80\"}" }.joined(separator: ",")
        let put = try Self.ask(proxy.endpoint, "PUT", "/plain/upstreams/many", body: "{\"servers\": [\(servers)]}")
        #expect(put.status == 200 || put.status == 201)
        let sizes = try ["/plain", "/chunked"].map { prefix in
            let client = try proxy.client(receiveBufferBytes: 4096)
            try client.send(RawClient.text("GET", "\(prefix)/upstreams", ["TE: trailers", "Connection: close"]))
            // It is all there, or waits, before any of it is taken.
            #expect(client.stream.isReadable(withinMs: 30_000))
            let answer = try client.response()
            #expect(Self.object(answer)["upstreams"] != nil, "\(prefix)")
            return answer.body.count
        }
        let client = try HTTP2Client(try proxy.client(receiveBufferBytes: 4096).stream)
        let multiplexed = try client.request("GET", "/plain/upstreams").body.count
        #expect(sizes.allSatisfy { $0 == sizes[0] } && multiplexed == sizes[0] && sizes[0] > 2 << 20)
    }

    @Test("what is no request is refused in the API's own words", arguments: [
        ("GET / HTTP/1.1\r\nHost: a\r\nbad field\r\n\r\n", 400), ("GET / HTTP/1.1\r\n\r\n", 400), ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/9.1\r\nHost: a\r\n\r\n", 505), ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        ("PUT /upstreams HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("GET /\(String(repeating: "a", count: 9000)) HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "a", count: 9000))\r\n\r\n", 400),
        ("PUT /upstreams HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n", 413),
    ])
    func heads(text: String, status: Int) throws {
        let proxy = try Proxy(
            http: """
                \(Self.pools) server { listen unix:%DIR%/api.sock; location /api { admin; } }
                server { listen unix:%DIR%/site.sock; listen 127.0.0.1:%PORT%; location / { return 200; } }
                """, main: "state %DIR%/state;")
        let own = try Self.proxy()
        for endpoint in [Endpoint.unix(proxy.path("api.sock")), Self.socket(own)] {
            let client = try RawClient(endpoint)
            try client.send(text)
            let answer = try client.response()
            // Its body is nobody's there.
            let status = status == 413 && answer.status == 404 ? 404 : status
            #expect(answer.status == status)
            #expect(answer["Content-Type"] == "application/problem+json")
            #expect(Self.object(answer)["status"] as? Int == status && Self.object(answer)["type"] is String, "\(answer.text)")
        }
        if status == 413 { return }
        let site = try RawClient(.unix(proxy.path("site.sock")))
        try site.send(text)
        #expect(try site.response()["Content-Type"] == "text/html")
    }

    @Test func aSocketOfTheOperatorIsTheOwnersAlone() throws {
        func mode(_ proxy: Proxy, _ name: String) throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: proxy.path(name))[.posixPermissions] as? Int
        }
        func text(_ location: String) -> String {
            Proxy.wrapped(
                """
                server { listen unix:%DIR%/api.sock; location / { return 200; location /api { admin; } } }
                server { listen unix:%DIR%/open.sock mode=0660; location / { admin; } }
                server { listen unix:%DIR%/site.sock; listen 127.0.0.1:%PORT%; location / { return 200; } \(location) }
                """)
        }
        let proxy = try Proxy(text(""))
        #expect(try mode(proxy, "api.sock") == 0o600)
        #expect(try mode(proxy, "open.sock") == 0o660)
        #expect(try mode(proxy, "site.sock") == 0o666)
        try proxy.reload(text("location /api { admin; }")) { try mode(proxy, "site.sock") == 0o600 }
    }

    @Test func withoutAFolderTheErrorLogTellsOfWrites() throws {
        let proxy = try Self.proxy(main: "worker_processes 1; pid %DIR%/proxy.pid;")
        let endpoint = Endpoint.unix(proxy.path("admin.sock"))
        #expect(try Self.ask(endpoint, "POST", "/undo").status == 409)
        try Harness.wait(for: "the line") { proxy.errorLog.contains("[notice]") && proxy.errorLog.contains("nothing-to-undo") }
    }

    @Test func theAuditLogIsReopened() throws {
        let proxy = try Self.proxy()
        #expect(rename(proxy.path("state/audit.log"), proxy.path("state/audit.log.1")) == 0)
        proxy.signal(SIGUSR1)
        try Harness.wait(for: "a new file") { FileManager.default.fileExists(atPath: proxy.path("state/audit.log")) }
        _ = try Self.ask(Self.socket(proxy), "PATCH", "/splits/app", body: Self.weights(50))
        // The line comes after the answer.
        try Harness.wait(for: "the line") { proxy.read("state/audit.log").contains("\"revision\":2") }
        #expect(proxy.read("state/audit.log.1").isEmpty)
    }

    @Test func aLocationWithTokens() throws {
        let proxy = try Self.proxy(
            "location /admin { admin write=on; admin_token_file %DIR%/tokens; } location /look { admin; }",
            files: ["tokens": "alice 0123456789abcdef\n"])
        let host = "Host: localhost:\(proxy.port)"
        let token = "Authorization: Bearer 0123456789abcdef"
        func ask(_ method: String, _ target: String, _ fields: [String], body: String? = nil) throws -> Response {
            try Self.ask(proxy.endpoint, method, target, fields, body: body)
        }
        let refused = try ask("GET", "/admin/status", [host])
        #expect(refused.status == 401)
        #expect(refused["WWW-Authenticate"] == "Bearer")
        #expect(refused["Content-Type"] == "application/problem+json")
        #expect(try ask("GET", "/admin/status", [host, "Authorization: Bearer 0123456789abcdeg"]).status == 401)
        #expect(try ask("GET", "/admin/status", [host, token]).status == 200)
        #expect(try ask("PATCH", "/admin/splits/app", [host, token], body: Self.weights(50)).status == 200)
        #expect(Self.object(try ask("GET", "/admin/revisions/2", [host, token]))["who"] as? String == "alice")
        // Who looks only, from this very machine, needs none.
        #expect(try ask("GET", "/look/status", [host]).status == 200)
        #expect(Self.object(try ask("POST", "/look/undo", [host]))["type"] as? String == "/problems/read-only")
        // Pages and names of others.
        #expect(try ask("GET", "/look/status", ["Host: evil.example"]).status == 403)
        #expect(try ask("GET", "/admin/status", ["Host: evil.example", token]).status == 403)
        #expect(try ask("POST", "/admin/undo", [host, token, "Origin: http://evil.example"]).status == 403)
        #expect(try ask("GET", "/look/status", [host, "Sec-Fetch-Site: cross-site"]).status == 403)
        #expect(try ask("POST", "/admin/undo", [host, token, "Origin: http://localhost:\(proxy.port)"]).status == 200)
        #expect(try ask("HEAD", "/look/upstreams", [host]).status == 200)
        #expect(try ask("OPTIONS", "/look/upstreams", [host])["Allow"] == "GET, HEAD, OPTIONS, PUT")
        #expect(try ask("GET", "/look", [host]).status == 200)
    }

    @Test func eventsAreReadWhileThingsChange() throws {
        let proxy = try Self.proxy("location /admin { admin write=on; }")
        let host = "Host: localhost:\(proxy.port)"
        let reader = try proxy.client()
        try reader.send(RawClient.text("GET", "/admin/events", [host]))
        let head = try reader.stream.readHead()
        #expect(head["Content-Type"] == "text/event-stream")
        #expect(try Self.ask(proxy.endpoint, "PATCH", "/admin/splits/app", [host], body: Self.weights(50)).status == 200)
        var seen = ""
        try Harness.wait(for: "the event: \(seen)") {
            seen += String(decoding: try reader.stream.read(), as: UTF8.self)
            return seen.contains("event: revision")
        }
        #expect(seen.contains("\"revision\":2"))
        reader.close()
        // Who comes back takes up where he was.
        let again = try proxy.client()
        try again.send(RawClient.text("GET", "/admin/events", [host, "Last-Event-ID: 1"]))
        _ = try again.stream.readHead()
        var told = ""
        try Harness.wait(for: "the event again") {
            told += String(decoding: try again.stream.read(), as: UTF8.self)
            return told.contains("id: 2\n")
        }
        // A reader does not keep the server from ending.
        #expect(try proxy.stop(SIGQUIT) == .exited(0))
        #expect(again.end() != .timedOut)
    }

    @Test func aChangeIsVisibleWhenItsReceiptSaysSo() throws {
        let blue = try Upstream(saying: "blue")
        let green = try Upstream(saying: "green")
        let proxy = try Proxy(
            server: "location / { proxy_pass http://app; }",
            http: "upstream blue { server \(blue.endpoint); } upstream green { server \(green.endpoint); } split app { blue 1; green 0; }",
            main: "worker_processes 2; state %DIR%/state;")
        for i in 2..<22 {
            let isGreen = i.isMultiple(of: 2)
            let body = "{\"weights\": {\"green\": \(isGreen ? 1 : 0), \"blue\": \(isGreen ? 0 : 1)}}"
            #expect(try Self.ask(Self.socket(proxy), "PATCH", "/splits/app", body: body).status == 200)
            #expect(try proxy.get("/").text == (isGreen ? "green" : "blue"), "an acknowledged change is seen by the next request")
            let receipt = Self.object(try Self.ask(Self.socket(proxy), "GET", "/receipts/\(i)?wait=1"))
            #expect(receipt["visible_after_us"] is Int)
        }
        let last = Self.object(try Self.ask(Self.socket(proxy), "GET", "/receipts/20?wait=final&timeout=5s"))
        #expect(last["final"] as? Bool == true)
        #expect(last["balances"] as? Bool == true)
    }

    @Test func aDrainWaitsForWhatIsInFlight() throws {
        let gate = Signal()
        let slow = try Upstream { _, c in
            gate.wait()
            try c.answer(body: "slow")
        }
        let proxy = try Proxy(
            server: "location / { proxy_pass http://app; }",
            http: "upstream blue { server \(slow.endpoint); } upstream green { server 127.0.0.1:9; } split app { blue 1; green 1; }",
            main: "worker_processes 2; state %DIR%/state;")
        #expect(try Self.ask(Self.socket(proxy), "PATCH", "/splits/app", body: "{\"weights\": {\"green\": 0}}").status == 200)
        let client = try proxy.client()
        try client.send(RawClient.text())
        _ = try slow.waitForRequests(1)
        let early = try Self.ask(Self.socket(proxy), "POST", "/upstreams/blue/drain?timeout=100ms&wait=1")
        #expect(early.status == 202)
        #expect(Self.object(early)["in_flight"] as? Int == 1)
        let drained = Locked<Int>(0)
        let socket = Self.socket(proxy)
        let done = Signal()
        onThread {
            let answer = try? Self.ask(socket, "POST", "/upstreams/blue/drain?timeout=10s&wait=1")
            drained.with { $0 = answer?.status ?? -1 }
            done.fire()
        }
        usleep(50_000)
        #expect(drained.current == 0)
        gate.fire()
        #expect(done.wait())
        #expect(drained.current == 200)
        #expect(try client.response().text == "slow")
    }

    @Test func everyAcknowledgedChangeIsInTheHistoryOnce() throws {
        let proxy = try Self.proxy("location /admin { admin write=on; }", main: "worker_processes 2; state %DIR%/state;")
        let acknowledged = Locked<[Int: Int]>([:])
        let failures = Locked<[String]>([])
        let endpoint = proxy.endpoint
        let done = (0..<8).map { _ in Signal() }
        for writer in 0..<8 {
            onThread {
                defer { done[writer].fire() }
                do {
                    let client = try RawClient(endpoint)
                    for i in 0..<50 {
                        let weight = 1000 + writer * 50 + i
                        let answer = try client.request(
                            "PATCH", "/admin/splits/app", ["Host: localhost"], body: Self.weights(weight))
                        guard answer.status == 200, let revision = Self.object(answer)["revision"] as? Int else {
                            failures.with { $0.append(answer.text) }
                            continue
                        }
                        acknowledged.with { $0[revision] = weight }
                    }
                } catch { failures.with { $0.append("\(error)") } }
            }
        }
        for signal in done { #expect(signal.wait(ms: 60_000)) }
        #expect(failures.current == [])
        #expect(acknowledged.current.count == 400)
        let list = Self.object(try Self.ask(proxy.endpoint, "GET", "/admin/revisions?limit=1000", ["Host: localhost"]))
        let revisions = (list["revisions"] as? [[String: Any]] ?? []).compactMap { $0["revision"] as? Int }
        #expect(revisions == Array((1...401).reversed()))
        for revision in [2, 200, 401] {
            let state = Self.object(try Self.ask(proxy.endpoint, "GET", "/admin/revisions/\(revision)", ["Host: localhost"]))
            let weights = ((state["splits"] as? [String: Any])?["app"] as? [String: Any])?["weights"] as? [String: Int]
            #expect(weights?["green"] == acknowledged.current[revision])
        }
        let audited = proxy.read("state/audit.log").split(separator: "\n").count
        #expect(audited == 400)
    }

    /// Of two who both want revision 2 one gets it, each time.
    @Test func racesHaveOneWinner() throws {
        let proxy = try Self.proxy()
        let socket = Self.socket(proxy)
        for round in 1...10 {
            let statuses = Locked<[Int]>([])
            let done = (0..<4).map { _ in Signal() }
            for writer in 0..<4 {
                onThread {
                    let answer = try? Self.ask(
                        socket, "PATCH", "/splits/app", ["If-Match: \"\(round)\""], body: Self.weights(round * 9 + 2 + writer))
                    statuses.with { $0.append(answer?.status ?? -1) }
                    done[writer].fire()
                }
            }
            for signal in done { #expect(signal.wait()) }
            #expect(statuses.current.sorted() == [200, 412, 412, 412])
        }
    }

    @Test func aClientThatDoesNothingHoldsUpNobody() throws {
        let proxy = try Self.proxy()
        let half = try RawClient(Self.socket(proxy))
        try half.send("PUT /upstreams HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        let deaf = try RawClient(Self.socket(proxy), receiveBufferBytes: 1024)
        for _ in 0..<200 { try deaf.send(RawClient.text("GET", "/openapi.json")) }
        var status = 0
        let ms = try elapsedMs { status = try Self.ask(Self.socket(proxy), "GET", "/status").status }
        #expect(status == 200)
        #expect(ms < 2000)
        let large = try Self.ask(Self.socket(proxy), "PUT", "/upstreams", body: String(repeating: " ", count: 3_000_000))
        #expect(large.status == 400)
    }

    @Test func aBodyThatIsTooLargeIsAProblem() throws {
        let proxy = try Self.proxy()
        let client = try RawClient(Self.socket(proxy))
        try client.send("PUT /upstreams HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
        let answer = try client.response()
        #expect(answer.status == 413)
        #expect(answer["Content-Type"] == "application/problem+json")
        #expect(Self.object(answer)["type"] as? String == "/problems/too-large")
    }
}
