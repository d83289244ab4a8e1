// Owns the proof that a doubtful request reaches no upstream, and that what is accepted leaves in one plain form.

import TestSupport
import Testing

@Suite("request smuggling", .ownThread)
struct SmugglingTests {
    static let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test(
        "a doubtful request is refused and its connection ends",
        arguments: [
            ("lengths", SmugglingCorpus.lengths), ("encodings", SmugglingCorpus.encodings), ("chunks", SmugglingCorpus.chunks),
            ("fields", SmugglingCorpus.fields), ("lines", SmugglingCorpus.lines),
        ])
    func refused(kind: String, corpus: [RefusedRequest]) throws {
        let upstream = try Upstream(saying: "reached")
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); }")
        for request in corpus {
            let client = try proxy.client(timeoutMs: 3000)
            try client.send(request.bytes + Self.smuggled)
            let response: Response
            do { response = try client.response() } catch {
                Issue.record("\(request.name): no answer but \(error)")
                continue
            }
            #expect(request.statuses.contains(response.status), "\(request.name): \(response.status)")
            client.halfClose()
            let (rest, end) = client.stream.readToEnd()
            #expect(!String(decoding: rest, as: UTF8.self).contains("HTTP/1.1"), "\(request.name): a second answer")
            #expect(end != .timedOut, "\(request.name): the connection stays open")
            #expect(upstream.requestCount == 0, "\(request.name): the upstream was reached")
        }
        #expect(upstream.connectionCount == 0)
        #expect(try proxy.get().text == "reached", "the proxy still serves")
        #expect(!proxy.errorLog.contains("[alert]"))
    }

    /// What comes decoded, or from somewhere else than a head, ends no line of ours.
    @Test(.enabled(if: !Harness.isNginx)) func valuesBeginNoLines() throws {
        let upstream = try Upstream { request, c in try c.answer(body: request.head.text) }
        let proxy = try Proxy(
            http: """
                server { listen 127.0.0.1:%PORT%; add_header X-Path "$uri";
                    location /field/ { proxy_pass http://\(upstream.endpoint); proxy_set_header X-Path $uri; }
                    location /target/ { proxy_pass http://\(upstream.endpoint)$uri; }
                    location /arguments/ { set $args "of=$uri"; proxy_pass http://\(upstream.endpoint)/; }
                    location /away/ { return 302 $uri; } }
                server { listen 127.0.0.1:%PORT2% ssl; \(TLSTests.certificate)
                    location / { proxy_pass http://\(upstream.endpoint); proxy_set_header X-Name $ssl_server_name; } }
                """, files: TLSTests.files())
        for place in ["field", "target", "arguments", "away"] {
            let response = try proxy.client().request("GET", "/\(place)/a%0d%0aX-Evil:%201", ["Host: a"])
            #expect(!response.text.contains("\nX-Evil") && response["X-Evil"] == nil, "\(place): \(response.text) \(response.head.text)")
        }
        #expect(try proxy.get("/target/a%0d%0ab").text.hasPrefix("GET /target/a%0D%0Ab HTTP/1.1\r\n"))
        #expect(try proxy.get("/away/a%0d%0ab")["Location"]?.hasSuffix("/away/a%0D%0Ab") == true)
        let text = try TLSClient(proxy, ["-connect", "\(proxy.endpoint2)", "-servername", "a\r\nX-Evil: 1"]).request("GET", "/", ["Host: a"]).text
        #expect(text.contains("X-Name: a  X-Evil: 1\r\n"))
    }

    @Test(
        "what is accepted leaves in one plain form",
        arguments: [
            (
                "a chunk extension", "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
                "abc"
            ),
            (
                "leading zeros", "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n000\r\n\r\n",
                "abc"
            ),
            (
                "Chunked with a capital",
                "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc"
            ),
            (
                "a name with an underscore",
                "POST /x HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", "abc"
            ),
            ("a length with zeros", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nabc", "abc"),
            ("a GET with a body", "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "abc"),
            ("an absolute target", "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", ""),
            ("two spaces", "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ])
    func normalized(name: String, bytes: String, body: String) throws {
        let upstream = try Upstream(saying: "reached")
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); proxy_http_version 1.1; }")
        let client = try proxy.client()
        try client.send(bytes + RawClient.text("GET", "/next", ["Connection: close"]))
        for _ in 0..<2 { #expect(try client.response().text == "reached") }
        #expect(client.end() == .closed)
        let seen = upstream.requests
        #expect(seen.map(\.target) == ["/x", "/next"])
        let first = try #require(seen.first)
        #expect(first.text == body)
        #expect(first["Transfer_Encoding"] == nil)
        #expect(first.values("Content-Length").count + first.values("Transfer-Encoding").count == (body.isEmpty ? 0 : 1))
        #expect(!first.head.text.replacing("\r\n", with: "").contains("\n"), "every line ends with CR LF")
    }

    @Test func manyFieldsAreBounded() throws {
        let upstream = try Upstream(saying: "reached")
        let proxy = try Proxy(server: "large_client_header_buffers 2 1k; location / { proxy_pass http://\(upstream.endpoint); }")
        #expect(try proxy.get("/" + String(repeating: "a", count: 2000)).status == 414)
        #expect([400, 431].contains(try proxy.get("/", ["X: " + String(repeating: "a", count: 2000)]).status))
        let many = (0..<100).map { "X-\($0): " + String(repeating: "a", count: 50) }
        #expect([400, 431].contains(try proxy.get("/", many).status))
        #expect(upstream.connectionCount == 0)
    }

    private func answerTo(_ bytes: String) throws -> Int {
        let upstream = try Upstream { _, c in
            if !bytes.isEmpty { try c.send(bytes) }
            c.close()
        }
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); proxy_http_version 1.1; }")
        let status = try proxy.get().status
        #expect(!proxy.errorLog.contains("[alert]"))
        return status
    }

    @Test(
        "a malformed answer never reaches the client",
        arguments: [
            ("a space in a name", "HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 1\r\n\r\nx"),
            ("NUL in a value", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 1\r\n\r\nx"),
            ("a head that ends early", "HTTP/1.1 200 OK\r\nContent-"),
            ("nothing", ""),
        ])
    func malformedAnswer(name: String, bytes: String) throws { #expect(try answerTo(bytes) == 502) }

    @Test(
        "a malformed answer that older proxies let pass never reaches the client",
        .enabled(if: !Harness.isNginx, "1.22 takes them for HTTP/0.9 or guesses"),
        arguments: [
            ("nonsense", "hello world\r\n\r\n"),
            ("no status", "HTTP/1.1 \r\n\r\n"),
            ("a status of letters", "HTTP/1.1 abc OK\r\n\r\n"),
            ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy"),
            ("length and chunked", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            ("an unknown encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
            ("a length of letters", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nx"),
        ])
    func guessedAnswer(name: String, bytes: String) throws { #expect(try answerTo(bytes) == 502) }

    @Test func aHeadOfAnUpstreamThatNeverEndsIsBounded() throws {
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\n")
            for i in 0..<100_000 { try c.send("X-\(i): " + String(repeating: "a", count: 100) + "\r\n") }
        }
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); }")
        #expect(try proxy.get().status == 502)
    }
}
