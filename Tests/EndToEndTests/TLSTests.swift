// Owns TLS towards clients: the handshake, who answers it, what goes through it, and how it ends.
// Clients are `openssl s_client`, so that another implementation's eyes see our records.

import Foundation
import TestSupport
import Testing

@Suite("TLS", .ownThread)
struct TLSTests {
    static let certificate = "ssl_certificate localhost.crt; ssl_certificate_key localhost.key;"

    static func files(_ more: [String: String] = [:]) throws -> [String: String] {
        try OpenSSL.files([("localhost", OpenSSL.ec.get()), ("rsa", OpenSSL.rsa.get())]).merging(more) { $1 }
    }

    /// A server for TLS on the first port; `http` stands before it.
    static func proxy(_ server: String, http: String = "", files more: [String: String] = [:]) throws -> Proxy {
        try Proxy(
            http: """
                \(http)
                server { listen 127.0.0.1:%PORT% ssl; server_name localhost; \(certificate)
                \(server) }
                """, files: files(more))
    }

    /// Reading it all would keep the others waiting for as long as it pleases.
    @Test(.enabled(if: !Harness.isNginx)) func whoSaysNothingAtLengthIsLetGo() throws {
        let proxy = try Self.proxy("return 200 x;")
        let (few, fewRecords) = try SilentClient.changesOfKeys(proxy, count: 100)
        let (many, manyRecords) = try SilentClient.changesOfKeys(proxy, count: 5000)
        for (stream, records) in [(few, fewRecords), (many, manyRecords)] { try? stream.send(records) }
        few.timeoutMs = 1000
        func end(_ stream: TestSupport.Stream) -> StreamEnd {
            while true {
                do { if try stream.read().isEmpty { return .closed } } catch { return error as? StreamEnd ?? .reset }
            }
        }
        #expect(end(few) == .timedOut)
        #expect(end(many) != .timedOut)
        #expect(try TLSClient(proxy).request().text == "x")
    }

    @Test(
        "what was agreed on is told",
        arguments: [
            ("-tls1_3", "TLSv1.3", "TLS_AES_256_GCM_SHA384"), ("-tls1_2", "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ])
    func variables(version: String, told: String, cipher: String) throws {
        let proxy = try Self.proxy(
            """
            ssl_prefer_server_ciphers off;
            location / { return 200 "$scheme|$https|$ssl_protocol|$ssl_cipher|$ssl_server_name|$ssl_session_reused|$ssl_alpn_protocol|$ssl_curve"; }
            location /lists { return 200 "$ssl_ciphers|$ssl_curves|$ssl_session_id"; }
            """)
        let client = try TLSClient(proxy, [version, "-servername", "localhost", "-alpn", "http/1.1", "-groups", "P-256:X25519"])
        #expect(try client.request().text == "https|on|\(told)|\(cipher)|localhost|.|http/1.1|prime256v1")
        let lists = try client.request("GET", "/lists").text.split(separator: "|", omittingEmptySubsequences: false)
        #expect(lists[0].contains(cipher))
        #expect(lists[1] == "prime256v1:X25519")
        // A session of TLS 1.2 that is the client's ticket has no id.
        #expect(lists[2].utf8.count == (told == "TLSv1.3" ? 64 : 0))
        #expect(try proxy.waitForLines(2).count == 2)
    }

    @Test func thePlainListenerOfAServerStaysPlain() throws {
        let proxy = try Self.proxy(#"listen 127.0.0.1:%PORT2%; location / { return 200 "$scheme,$https,$ssl_protocol"; }"#)
        #expect(try TLSClient(proxy).request().text == "https,on,TLSv1.3")
        #expect(try RawClient(proxy.endpoint2).request().text == "http,,")
    }

    @Test func largeBodiesGoBothWays() throws {
        let upstream = try Upstream { request, c in try c.answer(body: request.text) }
        let proxy = try Self.proxy("client_max_body_size 100m; location / { proxy_pass http://\(upstream.endpoint); }")
        let body = Pattern.text(3 << 20)
        let client = try TLSClient(proxy)
        for _ in 0..<2 { #expect(try client.request("POST", "/", body: body).text == body) }
        #expect(upstream.connectionCount >= 1)
    }

    @Test func aStreamedBodyAndAnUnbufferedAnswerGoBothWays() throws {
        let upstream = try Upstream { request, c in try c.answer(body: request.text) }
        let proxy = try Self.proxy(
            """
            client_max_body_size 100m; ssl_buffer_size 4k;
            location / { proxy_pass http://\(upstream.endpoint); proxy_request_buffering off; proxy_buffering off; }
            """)
        let body = Pattern.text(2 << 20)
        #expect(try TLSClient(proxy).request("POST", "/", body: body).text == body)
    }

    @Test func largeFilesGoOutEncrypted() throws {
        let text = Pattern.text(1 << 20)
        let proxy = try Self.proxy("root site; location /slow/ { alias %DIR%/site/; limit_rate 2m; limit_rate_after 100k; }", files: ["site/x": text])
        let client = try TLSClient(proxy)
        #expect(try client.request("GET", "/x").text == text)
        #expect(try client.request("GET", "/slow/x").text == text)
    }

    @Test func aClientThatDoesNotReadHoldsNothingUp() throws {
        let text = Pattern.text(8 << 20)
        let upstream = try Upstream { _, c in try c.answer(body: text) }
        let proxy = try Self.proxy("location / { proxy_pass http://\(upstream.endpoint); }")
        let slow = try TLSClient(proxy)
        try slow.raw.send(RawClient.text("GET", "/"))
        try Harness.wait(for: "the request") { upstream.requestCount == 1 }
        #expect(try TLSClient(proxy).request().text.utf8.count == text.utf8.count)
        #expect(try slow.raw.response().text == text)
    }

    @Test func aTunnelGoesThroughTLS() throws {
        let upstream = try Upstream { _, c in
            try c.acceptUpgrade(early: "early")
            try c.echoToEnd()
        }
        let proxy = try Self.proxy(
            """
            location / { proxy_pass http://\(upstream.endpoint); proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection Upgrade; }
            """)
        let client = try TLSClient(proxy)
        #expect(try client.raw.upgrade().word(1) == "101")
        #expect(try client.raw.stream.read(exactly: 5) == Array("early".utf8))
        let block = Pattern.text(100_000)
        for _ in 0..<5 { #expect(try client.raw.echo(block) == block) }
        client.close()
        try upstream.waitForOpenConnections(0)
    }

    @Test func pipelinedRequestsAndHeadsInPiecesAreServed() throws {
        let proxy = try Self.proxy(#"location / { return 200 "$uri"; }"#)
        let client = try TLSClient(proxy)
        try client.raw.send((0..<20).map { RawClient.text("GET", "/\($0)") }.joined())
        for i in 0..<20 { #expect(try client.raw.response().text == "/\(i)") }
        try client.raw.send(RawClient.text("GET", "/" + String(repeating: "x", count: 3000)), pieceBytes: 500)
        #expect(try client.raw.response().text.utf8.count == 3001)
    }

    // MARK: Names

    @Test func theNameOfTheHelloChoosesCertificateAndVersions() throws {
        let other = try OpenSSL.pair("other.example")
        let proxy = try Self.proxy(
            #"location / { return 200 "first"; }"#,
            http: """
                server { listen 127.0.0.1:%PORT% ssl; server_name *.example ~^re\\d$; ssl_protocols TLSv1.2;
                    ssl_certificate other.crt; ssl_certificate_key other.key; return 200 "other $ssl_server_name"; }
                server { listen 127.0.0.1:%PORT% ssl default_server; server_name none; ssl_reject_handshake on; }
                server { listen 127.0.0.1:%PORT% ssl; server_name bare; \(Self.certificate) return 200 "bare"; }
                """,
            files: OpenSSL.files([("other", other)]))
        for (name, wanted) in [("A.Example", "other A.Example"), ("re7", "other re7"), ("localhost", "first")] {
            let client = try TLSClient(proxy, ["-servername", name, "-tls1_2"])
            #expect(try client.request("GET", "/", ["Host: \(name)"]).text == wanted)
            #expect(client.remarks.contains(wanted == "first" ? "CN = localhost" : "CN = other.example"))
        }
        // TLS 1.3 is not for the other.
        #expect(throws: (any Error).self) { try TLSClient(proxy, ["-servername", "a.example", "-tls1_3"]).request() }
        for refused in [["-noservername"], ["-servername", "nowhere"]] {
            let client = try TLSClient(proxy, refused)
            #expect(throws: (any Error).self) { try client.request() }
            #expect(client.remarks.contains("unrecognized name"))
        }
        #expect(proxy.errorLog.contains("handshake rejected while SSL handshaking"))
    }

    @Test func aRequestWithoutHostBelongsToTheServerOfTheHandshake() throws {
        let proxy = try Self.proxy(
            "return 200 first;",
            http: #"server { listen 127.0.0.1:%PORT% ssl; server_name zero; \#(Self.certificate) return 200 "zero"; }"#)
        let client = try TLSClient(proxy, ["-servername", "localhost"])
        try client.raw.send("GET / HTTP/1.0\r\n\r\n")
        #expect(try client.raw.response().text == "first")
    }

    @Test func eachTypeOfKeyHasItsCertificate() throws {
        let proxy = try Self.proxy("ssl_certificate rsa.crt; ssl_certificate_key rsa.key; location / { return 200 $ssl_cipher; }")
        for (list, cipher) in [("aRSA", "ECDHE-RSA-AES256-GCM-SHA384"), ("aECDSA", "ECDHE-ECDSA-AES256-GCM-SHA384")] {
            #expect(try TLSClient(proxy, ["-tls1_2", "-cipher", list]).request().text == cipher)
        }
    }

    @Test func anEncryptedKeyIsOpenedByOneOfThePasswords() throws {
        let proxy = try Proxy(http: "server { listen 127.0.0.1:%PORT%; }", files: Self.files(["pass": "wrong\nsecret\n"]))
        try OpenSSL.run(["pkcs8", "-topk8", "-in", "localhost.key", "-out", "sealed.key", "-passout", "pass:secret"], in: proxy.directory)
        try proxy.configure(
            Proxy.wrapped(
                """
                server { listen 127.0.0.1:%PORT% ssl; ssl_certificate localhost.crt; ssl_certificate_key sealed.key; ssl_password_file pass;
                return 200 open; }
                """))
        #expect(try proxy.run(["-t"]).status == .exited(0))
    }

    // MARK: What is refused

    @Test func plainHTTPIsToldSoInPlainHTTP() throws {
        let proxy = try Self.proxy("location /x { }  location = /told { error_page 497 =301 https://$host$request_uri; return 200 x; }")
        let answer = try proxy.get("/x")
        #expect(answer.status == 400)
        #expect(answer.text.contains("The plain HTTP request was sent to HTTPS port"))
        #expect(answer["Connection"] == "close")
        let redirecting = try Self.proxy("error_page 497 =307 https://$host$request_uri;")
        let told = try redirecting.get("/a?b")
        #expect(told.status == 307)
        #expect(told["Location"] == "https://test/a?b")
        try proxy.reload(Proxy.wrapped("server { listen 127.0.0.1:%PORT% ssl; \(Self.certificate) error_page 497 /e; location = /e { return 200 e; } }")) {
            (try? proxy.get("/x").text) == "e"
        }
    }

    @Test func redirectsAreOfTheSameScheme() throws {
        let proxy = try Self.proxy(
            "root site; location = /r { return 301 /x; } location = /bare { port_in_redirect off; return 302 /x; }", files: ["site/d/x": ""])
        let client = try TLSClient(proxy)
        #expect(try client.request("GET", "/r", ["Host: localhost"])["Location"] == "https://localhost:\(proxy.port)/x")
        #expect(try client.request("GET", "/d", ["Host: localhost"])["Location"] == "https://localhost:\(proxy.port)/d/")
        #expect(try client.request("GET", "/bare", ["Host: localhost"])["Location"] == "https://localhost/x")
    }

    @Test func renegotiationIsRefused() throws {
        let proxy = try Self.proxy("return 200 x;")
        let said = try OpenSSL.run(
            ["s_client", "-connect", "127.0.0.1:\(proxy.port)", "-tls1_2"], in: proxy.directory, input: "R\n", failing: true)
        #expect(said.contains("no renegotiation"))
    }

    @Test func garbageEndsTheConnectionAlone() throws {
        let proxy = try Self.proxy("return 200 fine;")
        let client = try proxy.client()
        try client.send([0x16, 3, 1, 0, 5] + Array("nonsense and more of it".utf8))
        _ = client.stream.readToEnd()
        let half = try proxy.client()
        try half.send([0x16, 3, 1, 2, 0, 1])
        half.close()
        #expect(try TLSClient(proxy).request().text == "fine")
        try Harness.wait(for: "the words: \(proxy.errorLog)") {
            proxy.errorLog.contains("SSL_do_handshake() failed (SSL: error:") && proxy.errorLog.contains("peer closed connection in SSL handshake")
        }
        #expect(!proxy.errorLog.contains("[crit]"))
    }

    @Test func aHandshakeThatNeverComesIsNotWaitedForLong() throws {
        let proxy = try Self.proxy("client_header_timeout 200ms; return 200 x;")
        for bytes in [[], [0x16, 3, 1] as [UInt8]] {
            let client = try proxy.client()
            try client.send(bytes)
            #expect(client.stream.readToEnd().bytes.isEmpty)
        }
    }

    @Test func theEndIsSaid() throws {
        let proxy = try Self.proxy("return 200 x;")
        let said = try OpenSSL.run(
            ["s_client", "-connect", "127.0.0.1:\(proxy.port)", "-quiet", "-nocommands", "-msg"], in: proxy.directory,
            input: "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", failing: true)
        #expect(said.contains("close_notify"))
        #expect(said.contains("200 OK"))
    }

    @Test func aSessionIsTakenUpAgain() throws {
        let proxy = try Self.proxy("location / { return 200 $ssl_session_reused; }")
        for version in ["-tls1_2", "-tls1_3"] {
            let first = try TLSClient(proxy, [version, "-sess_out", proxy.path("session")])
            #expect(try first.request("GET", "/", ["Connection: close"]).text == ".")
            _ = first.raw.stream.readToEnd()
            try Harness.wait(for: "the session") { !proxy.read("session").isEmpty }
            #expect(try TLSClient(proxy, [version, "-sess_in", proxy.path("session")]).request().text == "r")
        }
    }

    @Test func aReloadChangesTheCertificateOfNewConnections() throws {
        let proxy = try Self.proxy("return 200 x;")
        let before = try TLSClient(proxy)
        #expect(try before.request().text == "x")
        try proxy.reload(
            Proxy.wrapped(
                "server { listen 127.0.0.1:%PORT% ssl; ssl_certificate rsa.crt; ssl_certificate_key rsa.key; location / { return 200 $ssl_cipher; } }")
        ) {
            try TLSClient(proxy, ["-tls1_2"]).request().text.contains("RSA")
        }
        // The old connection is served by the new configuration.
        #expect(try before.request().text.hasPrefix("TLS_"))
    }
}
