// Owns HTTP/2 towards upstream servers: what they are sent, how their connections are shared, and what their faults come to.

import Glibc
import TestSupport
import Testing

@Suite("HTTP/2 to upstreams", .ownThread)
struct HTTP2UpstreamTests {
    private func proxy(_ servers: [Upstream], keepalive: String = "keepalive 8;", _ location: String = "") throws -> Proxy {
        let list = servers.map { "server \($0.endpoint);" }.joined(separator: " ")
        return try Proxy(
            server: "location / { proxy_pass http://u; proxy_http_version 2; \(location) } location /own { return 200 x; }", http: "upstream u { \(list) \(keepalive) }")
    }

    /// Answers each request with what `answer` says of it.
    private func serving(_ answer: @escaping @Sendable (HTTP2Peer, HTTP2Peer.Request) throws -> Void) throws -> Upstream {
        try Upstream(http2: nil) { peer in while true { try answer(peer, try peer.request()) } }
    }

    @Test func aRequestIsSentInTheFieldsOfHTTP2() throws {
        let upstream = try serving { peer, r in
            let lines = r.fields.map { "\($0.name)=\($0.value)" }.joined(separator: "|")
            try peer.answer(r.stream, body: lines + "|" + r.text)
        }
        let proxy = try proxy([upstream], "proxy_set_header X-Mine $request_method;")
        let response = try proxy.client().request(
            "POST", "/a%20b?c=d", ["TE: gzip", "Keep-Alive: 5", "X-Case: VALUE", "Content-Type: a/b"], body: "hello")
        #expect(
            response.text
                == ":method=POST|:scheme=http|:path=/a%20b?c=d|:authority=u|x-mine=POST|content-length=5|x-case=VALUE|content-type=a/b|hello")
    }

    @Test func answersComeWhole() throws {
        let upstream = try serving { peer, r in
            switch r.path {
            case "/length": try peer.answer(r.stream, 200, [("content-length", "4")], body: "body")
            case "/empty": try peer.answer(r.stream)
            case "/204": try peer.answer(r.stream, 204)
            case "/304": try peer.answer(r.stream, 304, [("content-length", "9")])
            case "/hints":
                try peer.send(HTTP2Peer.headers(r.stream, [(":status", "103"), ("link", "x")]))
                try peer.answer(r.stream, body: "hinted")
            default: try peer.answer(r.stream, 200, [("X-Lower".lowercased(), "1")], body: "body")
            }
        }
        let proxy = try proxy([upstream])
        let client = try proxy.client()
        for (path, status, text) in [("/length", 200, "body"), ("/empty", 200, ""), ("/204", 204, ""), ("/304", 304, ""), ("/", 200, "body"), ("/hints", 200, "hinted")] {
            let response = try client.request("GET", path)
            #expect(response.status == status && response.text == text, "\(path)")
            if path == "/empty" { #expect(response["Content-Length"] == "0") }
        }
        #expect(try client.request("HEAD", "/length")["Content-Length"] == "4")
        #expect(upstream.connectionCount == 1)
    }

    @Test func trailersGoOnWhereTheyAreWanted() throws {
        let upstream = try serving { peer, r in try peer.answer(r.stream, body: "x", trailers: [("x-sum", "7")]) }
        let with = try proxy([upstream], "proxy_pass_trailers on;")
        #expect(try with.get().trailers.values("x-sum") == ["7"])
        let without = try proxy([upstream])
        #expect(try without.get().trailers.values("x-sum") == [])
    }

    @Test func bodiesPassInEitherWayWithinSmallWindows() throws {
        let upstream = try Upstream(http2: nil, [(.window, 1000)]) { peer in
            while true {
                let r = try peer.request()
                try peer.answer(r.stream, body: "\(r.body.count)")
            }
        }
        let body = String(repeating: "0123456789", count: 30_000)
        for location in ["", "proxy_request_buffering off;", "client_body_buffer_size 1k;"] {
            let proxy = try proxy([upstream], location)
            #expect(try proxy.client().request("POST", "/", body: body).text == "300000", "\(location)")
        }
    }

    @Test func requestsAtOnceShareAConnection() throws {
        let upstream = try Upstream(http2: nil) { peer in
            while true {
                let all = try (0..<8).map { _ in try peer.request() }
                for r in all.reversed() { try peer.answer(r.stream, body: r.path) }
            }
        }
        let proxy = try proxy([upstream])
        for _ in 0..<2 {
            let clients = try (0..<8).map { _ in try proxy.client() }
            for (i, client) in clients.enumerated() { try client.send("GET /\(i) HTTP/1.1\r\nHost: x\r\n\r\n") }
            for (i, client) in clients.enumerated() { #expect(try client.response().text == "/\(i)") }
        }
        #expect(upstream.connectionCount == 1)
    }

    @Test func anUpstreamThatAllowsFewStreamsGetsMoreConnections() throws {
        let upstream = try Upstream(http2: nil, [(.maxStreams, 2)]) { peer in
            while true {
                let r = try peer.request()
                if r.path == "/wait" { try peer.frames { $0.type == HTTP2Peer.Frame.headers } }
                try peer.answer(r.stream, body: "x")
            }
        }
        let proxy = try proxy([upstream])
        #expect(try proxy.get().text == "x")
        let clients = try (0..<4).map { _ in try proxy.client() }
        for client in clients { try client.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n") }
        try Harness.wait(for: "two connections") { upstream.connectionCount == 2 }
    }

    @Test(arguments: ["keepalive 0;", ""])
    func withoutKeepaliveEachRequestHasItsConnection(keepalive: String) throws {
        let upstream = try serving { peer, r in try peer.answer(r.stream, body: "x") }
        let proxy =
            keepalive.isEmpty
            ? try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); proxy_http_version 2; }")
            : try proxy([upstream], keepalive: keepalive)
        for _ in 0..<3 { #expect(try proxy.get().text == "x") }
        #expect(upstream.connectionCount == 3)
        try upstream.waitForOpenConnections(0)
    }

    // MARK: Faults

    @Test func aRefusedStreamGoesElsewhereWhateverItsMethod() throws {
        let refusing = try serving { peer, r in try peer.reset(r.stream, 7) }
        let other = try serving { peer, r in try peer.answer(r.stream, body: r.text) }
        let proxy = try proxy([refusing, other])
        for _ in 0..<4 { #expect(try proxy.client().request("POST", "/", body: "once").text == "once") }
    }

    @Test func otherResetsAreInvalidAnswers() throws {
        let resetting = try serving { peer, r in try peer.reset(r.stream, 2) }
        #expect(try proxy([resetting]).get().status == 502)
        let other = try serving { peer, r in try peer.answer(r.stream, body: "x") }
        let proxy = try proxy([resetting, other], "proxy_next_upstream invalid_header;")
        for _ in 0..<4 { #expect(try proxy.get().text == "x") }
    }

    @Test func aServerThatGoesAwayLosesNoRequest() throws {
        let upstream = try Upstream(http2: nil) { peer in
            let first = try peer.request()
            try peer.answer(first.stream, body: "first")
            let second = try peer.request()
            // As if the request had crossed the GOAWAY.
            try peer.goaway(last: peer.connection.number == 0 ? first.stream : second.stream)
            if peer.connection.number > 0 { try peer.answer(second.stream, body: "late") }
            peer.connection.hold()
        }
        let proxy = try proxy([upstream])
        let client = try proxy.client()
        #expect(try client.request("POST", "/", body: "a").text == "first")
        #expect(try client.request("POST", "/", body: "b").text == "first")
        #expect(upstream.connectionCount == 2)
        #expect(try client.request("GET", "/").text == "late")
        #expect(try client.request("GET", "/").text == "first")
        #expect(upstream.connectionCount == 3)
    }

    /// The request and the GOAWAY are on their way at the same time: it has not been sent, and goes by another connection.
    @Test(arguments: [1, 2]) func aRequestThatWasNotSentYetIsNotLost(requests: Int) throws {
        let (isStopped, hasGone) = (Signal(), Signal())
        let upstream = try Upstream(http2: nil) { peer in
            let first = try peer.request()
            try peer.answer(first.stream, body: "first")
            if peer.connection.number == 0 {
                isStopped.wait()
                if requests == 2 { try peer.settings([(.maxStreams, 1)]) } else { try peer.goaway(last: first.stream) }
                hasGone.fire()
                if requests == 2 {
                    let second = try peer.request()
                    try peer.goaway(last: second.stream)
                    try peer.answer(second.stream, body: "second")
                }
                peer.connection.hold()
            }
            while true { try peer.answer(try peer.request().stream, body: "more") }
        }
        let proxy = try proxy([upstream])
        #expect(try proxy.get().text == "first")
        let clients = try (0..<requests).map { _ in try proxy.client() }
        for client in clients {
            try client.send("GET /own HTTP/1.1\r\nHost: x\r\n\r\n")
            _ = try client.response()
        }
        proxy.signal(SIGSTOP)
        for client in clients { try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n") }
        isStopped.fire()
        hasGone.wait()
        proxy.signal(SIGCONT)
        for client in clients { #expect(try client.response().status == 200) }
        #expect(upstream.connectionCount == 2)
    }

    @Test func aLostConnectionCutsWhatHasBegunAndRepeatsTheRest() throws {
        let upstream = try Upstream(http2: nil) { peer in
            let first = try peer.request()
            if peer.connection.number > 0 {
                try peer.answer(first.stream, body: "again")
                peer.connection.hold()
                return
            }
            try peer.send(HTTP2Peer.headers(first.stream, [(":status", "200")]), HTTP2Peer.data(first.stream, "begun", end: false))
            _ = try peer.request()
            peer.connection.reset()
        }
        let proxy = try proxy([upstream])
        let begun = try proxy.client()
        try begun.send("GET /begun HTTP/1.1\r\nHost: x\r\n\r\n")
        try Harness.wait(for: "a connection") { upstream.connectionCount == 1 }
        #expect(begun.stream.isReadable(withinMs: 30_000))
        #expect(try proxy.get("/rest").text == "again")
        #expect(throws: StreamEnd.self) { try begun.response() }
    }

    @Test func aBodyOfAnotherLengthIsCut() throws {
        let upstream = try serving { peer, r in
            try peer.answer(r.stream, 200, [("content-length", "8")], body: r.path == "/less" ? "four" : "more than eight")
        }
        let proxy = try proxy([upstream])
        for path in ["/less", "/more"] {
            let client = try proxy.client()
            try client.send("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(throws: StreamEnd.self, "\(path)") { try client.response() }
        }
    }

    @Test(
        "what is no HTTP/2 answer is 502",
        arguments: [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "", "\0\0\u{4}\u{4}\0\0\0\0\0abcd",
        ])
    func noHTTP2(answer: String) throws {
        let upstream = try Upstream(raw: nil) { connection in
            _ = try? connection.stream.read(exactly: 24)
            try? connection.send(answer)
            connection.close()
        }
        #expect(try proxy([upstream]).get().status == 502)
    }

    @Test(
        "a head that would not be one is 502",
        arguments: [
            [("a", "b")], [(":status", "200"), ("A", "b")], [(":status", "200"), ("a", "b\nc")], [(":status", "200"), ("", "b")],
            [(":status", "200"), ("connection", "close")], [(":status", "200"), ("big", String(repeating: "x", count: 9000))],
            [(":status", "101")],
        ])
    func badHead(fields: [(String, String)]) throws {
        let upstream = try serving { peer, r in try peer.send(HTTP2Peer.headers(r.stream, fields, end: true)) }
        let proxy = try proxy([upstream])
        #expect(try proxy.get().status == 502)
    }

    @Test func aSlowClientHoldsUpItsOwnStreamAlone() throws {
        let piece = String(repeating: "x", count: 16_000)
        let sent = Locked(0)
        let upstream = try Upstream(http2: nil) { peer in
            let slow = try peer.request()
            try peer.send(HTTP2Peer.headers(slow.stream, [(":status", "200")]))
            for _ in 0..<16 {
                try peer.send(HTTP2Peer.data(slow.stream, piece, end: false))
                sent.with { $0 += piece.utf8.count }
            }
            while true {
                let r = try peer.request()
                try peer.answer(r.stream, body: "quick")
            }
        }
        let proxy = try proxy([upstream], "proxy_buffering off;")
        let slow = try RawClient(proxy.endpoint, receiveBufferBytes: 4096)
        try slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        try Harness.wait(for: "the whole window") { sent.current == 256_000 }
        for _ in 0..<3 { #expect(try proxy.get().text == "quick") }
        #expect(upstream.connectionCount == 1)
    }

    @Test func timeoutsAreOfTheStream() throws {
        let upstream = try Upstream(http2: nil) { peer in
            while true {
                let r = try peer.request()
                if r.path != "/never" { try peer.answer(r.stream, body: "x") }
            }
        }
        let proxy = try proxy([upstream], "proxy_read_timeout 200ms;")
        #expect(try proxy.get("/never").status == 504)
        #expect(try proxy.get("/").text == "x")
        #expect(upstream.connectionCount == 1)
    }

    /// A server that answers what is asked for as `/alive`. Of its first connection it hears nothing else, as when the network has lost it.
    private func fallingSilent() throws -> Upstream {
        let connections = Locked(0)
        return try Upstream(http2: nil) { peer in
            let isFirst = connections.with { count in
                count += 1
                return count == 1
            }
            while true {
                let r = try peer.request()
                if isFirst, r.path != "/alive" { peer.connection.hold() }
                try peer.answer(r.stream, body: "x")
            }
        }
    }

    @Test func aConnectionThatFellSilentIsNotUsedAgain() throws {
        let upstream = try fallingSilent()
        let proxy = try proxy([upstream], "proxy_read_timeout 1200ms;")
        #expect(try proxy.get("/alive").text == "x")
        #expect(try proxy.get("/lost").status == 504)
        #expect(try proxy.get("/").text == "x")
        #expect(upstream.connectionCount == 2)
    }

    @Test func aConnectionThatFellSilentIsNotSharedOn() throws {
        let upstream = try fallingSilent()
        let proxy = try proxy([upstream], "proxy_read_timeout 20s;")
        #expect(try proxy.get("/alive").text == "x")
        let patient = try proxy.client()
        try patient.send("GET /lost HTTP/1.1\r\nHost: x\r\n\r\n")
        let hasty = try RawClient(proxy.endpoint, timeoutMs: 1500)
        try hasty.send("GET /lost HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(hasty.end() == .timedOut)
        hasty.close()
        _ = try proxy.waitForLines(2)
        #expect(try proxy.client(timeoutMs: 5000).request().text == "x")
        #expect(upstream.connectionCount == 2)
    }

    /// Servers of gRPC take the third PING in a quiet time for an attack, and cut all calls of the connection.
    @Test func aQuietConnectionIsAskedTwiceAtMost() throws {
        let pings = Locked([Int]())
        let upstream = try Upstream(http2: nil) { peer in
            let place = pings.with { counts in
                counts.append(0)
                return counts.count - 1
            }
            _ = try peer.frames { frame in
                if frame.type == HTTP2Peer.Frame.ping, frame.flags & 1 == 0 { pings.with { $0[place] += 1 } }
                return false
            }
        }
        let proxy = try Proxy(
            server: "proxy_http_version 2; location / { proxy_pass http://u; } location /never { proxy_pass http://u; proxy_read_timeout 1200ms; }",
            http: "upstream u { server \(upstream.endpoint); keepalive 8; }")
        let patient = try proxy.client()
        try patient.send("GET /patient HTTP/1.1\r\nHost: x\r\n\r\n")
        _ = try upstream.waitForOpenConnections(1)
        for _ in 0..<4 { #expect(try proxy.get("/never").status == 504) }
        #expect(pings.current.first == 2 && upstream.connectionCount == 2, "\(pings.current)")
        // The request that waits lost nothing by it.
        #expect(try proxy.waitForLines(4).count == 4)
    }

    @Test func aConnectionThatAnswersIsSharedOnHoweverLongARequestTakes() throws {
        let isAnswered = Signal()
        let upstream = try Upstream(http2: nil) { peer in
            _ = try peer.request()
            _ = try peer.request()
            try peer.frames { $0.type == HTTP2Peer.Frame.ping }
            isAnswered.fire()
            while true {
                let r = try peer.request()
                try peer.answer(r.stream, body: "x")
            }
        }
        let proxy = try Proxy(
            server: "proxy_http_version 2; location / { proxy_pass http://u; } location /never { proxy_pass http://u; proxy_read_timeout 1200ms; }",
            http: "upstream u { server \(upstream.endpoint); keepalive 8; }")
        let patient = try proxy.client()
        try patient.send("GET /patient HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try proxy.get("/never").status == 504)
        isAnswered.wait()
        #expect(try proxy.get("/").text == "x")
        #expect(upstream.connectionCount == 1)
    }
}
