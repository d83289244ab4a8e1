// Owns TLS towards upstreams: whom a peer is taken for, what it is shown, which connections and sessions may stand for each other.
// Peers are Python's ssl module and `openssl s_server`, so that other implementations' eyes see our records.

import Foundation
import TestSupport
import Testing

@Suite("TLS to upstreams", .ownThread)
struct UpstreamTLSTests {
    /// For the names a.example and b.example and the address 127.0.0.1.
    private static let named = Result {
        try OpenSSL.pair(
            "a.example",
            key: [
                "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext",
                "subjectAltName=DNS:a.example,DNS:b.example,IP:127.0.0.1",
            ])
    }
    private static let clients = Result { (one: try OpenSSL.pair("one"), two: try OpenSSL.pair("two")) }

    private func files(_ more: [String: String] = [:]) throws -> [String: String] {
        let clients = try Self.clients.get()
        return try OpenSSL.files([("named", Self.named.get()), ("localhost", OpenSSL.ec.get()), ("1", clients.one), ("2", clients.two)])
            .merging(more) { $1 }
    }

    private func proxy(_ server: String, http: String = "") throws -> Proxy { try Proxy(server: server, http: http, files: files()) }

    private func peer(_ options: String = "") throws -> TLSPeer {
        let clients = try Self.clients.get()
        return try TLSPeer(Self.named.get(), clients: clients.one.certificate + clients.two.certificate, options: options)
    }

    @Test func requestsAndBodiesGoThrough() throws {
        let peer = try peer()
        let proxy = try proxy("client_max_body_size 10m; location / { proxy_pass https://\(peer.endpoint); }")
        let answer = try proxy.get("/x?y")
        #expect(answer.text == "\(answer.told(.connection))|0|TLSv1.3|-|-|.|-|/x?y|0")
        #expect(try proxy.get("/up", method: "POST", body: Pattern.text(3 << 20)).told(.bodyBytes) == String(3 << 20))
        #expect(try proxy.get("/large").text.utf8.count > 3_000_000)
        #expect(try proxy.waitForLines(3).count == 3)
    }

    @Test func streamedBodiesAndTunnelsGoThrough() throws {
        let upstream = try Upstream { request, c in
            if request["Upgrade"] == nil { return try c.answerChunked([request.text, "end"]) }
            try c.acceptUpgrade(early: "early")
            try c.echoToEnd()
        }
        let proxy = try Proxy(
            http: """
                server { listen 127.0.0.1:%PORT%; client_max_body_size 10m; proxy_request_buffering off; proxy_buffering off;
                    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;
                    location / { proxy_pass https://127.0.0.1:%PORT2%; } }
                server { listen 127.0.0.1:%PORT2% ssl; ssl_certificate localhost.crt; ssl_certificate_key localhost.key; client_max_body_size 10m;
                    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;
                    location / { proxy_pass http://\(upstream.endpoint); } }
                """, files: files())
        let body = Pattern.text(2 << 20)
        #expect(try proxy.get("/", method: "POST", body: body).text == body + "end")
        let client = try proxy.client()
        #expect(try client.upgrade().word(1) == "101")
        #expect(try client.stream.read(exactly: 5) == Array("early".utf8))
        try client.send("back and forth")
        #expect(try client.stream.read(exactly: 14) == Array("back and forth".utf8))
    }

    // MARK: Where it goes

    @Test func hostAndPortAreTold() throws {
        let proxy = try Proxy(
            http: """
                upstream u { server 127.0.0.1:%PORT2%; }
                server { listen 127.0.0.1:%PORT%; proxy_set_header X $proxy_host,$proxy_port;
                    location /u { proxy_pass https://u; } location /port { proxy_pass https://127.0.0.1:%PORT2%; }
                    location /computed { proxy_pass https://$arg_a; } location /scheme { proxy_pass $arg_s://127.0.0.1:%PORT2%; } }
                server { listen 127.0.0.1:%PORT2% ssl; ssl_certificate localhost.crt; ssl_certificate_key localhost.key;
                    location / { return 200 "$http_host $http_x"; } }
                """, files: files())
        let port = proxy.endpoint2.port
        #expect(try proxy.get("/u").text == "u u,443")
        #expect(try proxy.get("/port").text == "127.0.0.1:\(port) 127.0.0.1:\(port),\(port)")
        #expect(try proxy.get("/computed?a=127.0.0.1:\(port)").text == "127.0.0.1:\(port) 127.0.0.1:\(port),\(port)")
        #expect(try proxy.get("/computed?a=u").text == "u u,443")
        #expect(try proxy.get("/scheme?s=https").text.hasPrefix("127.0.0.1:"))
        #expect(try proxy.get("/scheme?s=gopher").status == 500)
    }

    @Test func aUnixSocketIsAPeer() throws {
        let folder = try Harness.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let peer = try TLSPeer(Self.named.get(), endpoint: .unix(folder + "/s"))
        let proxy = try proxy("location / { proxy_pass https://\(peer.endpoint):/in/; } location /c/ { proxy_pass https://unix:$arg_p:/in; }")
        #expect(try proxy.get("/x").told(.path) == "/in/x")
        #expect(try proxy.get("/c/?p=\(folder)/s").told(.path) == "/in")
    }

    // MARK: Who it is

    @Test(
        "the name that is asked for",
        arguments: [
            ("", "-"), ("proxy_ssl_server_name on;", "u.example"), ("proxy_ssl_server_name on; proxy_ssl_name $arg_n;", "b.example"),
            ("proxy_ssl_server_name on; proxy_ssl_name c.example:443;", "c.example"),
            ("proxy_ssl_server_name on; proxy_ssl_name 127.0.0.1;", "-"), ("proxy_ssl_server_name on; proxy_ssl_name [::1]:443;", "-"),
        ])
    func names(said: String, asked: String) throws {
        let peer = try peer()
        let proxy = try proxy("location / { proxy_pass https://u.example; \(said) }", http: "upstream u.example { server \(peer.endpoint); }")
        #expect(try proxy.get("/?n=b.example").told(.name) == asked)
    }

    @Test(
        "who is trusted",
        arguments: [
            ("proxy_ssl_trusted_certificate named.crt; proxy_ssl_name a.example;", ""),
            ("proxy_ssl_trusted_certificate named.crt; proxy_ssl_name b.example:1;", ""),
            ("proxy_ssl_trusted_certificate named.crt; proxy_ssl_name 127.0.0.1;", ""),
            ("proxy_ssl_trusted_certificate named.crt;", ""),
            (
                "proxy_ssl_trusted_certificate named.crt; proxy_ssl_name c.example;",
                #"upstream SSL certificate does not match "c.example" while SSL handshaking to upstream"#
            ),
            (
                "proxy_ssl_trusted_certificate localhost.crt; proxy_ssl_name a.example;",
                "upstream SSL certificate verify error: (18:self-signed certificate) while SSL handshaking to upstream"
            ),
        ])
    func trust(said: String, complaint: String) throws {
        let peer = try peer()
        let proxy = try proxy("location / { proxy_pass https://\(peer.endpoint); proxy_ssl_verify on; \(said) }")
        for _ in 0..<2 { #expect(try proxy.get().status == (complaint.isEmpty ? 200 : 502)) }
        #expect(proxy.errorLog.contains(complaint) || complaint.isEmpty, "\(proxy.errorLog)")
        #expect(!complaint.isEmpty || !proxy.errorLog.contains("[error]"))
        #expect(complaint.isEmpty || proxy.errorLog.contains(#"upstream: "https://127.0.0.1:"#))
    }

    // MARK: A certificate of our own

    @Test func certificatesAreShown() throws {
        let peer = try peer()
        let proxy = try proxy(
            """
            proxy_ssl_certificate 1.crt; proxy_ssl_certificate_key 1.key; proxy_pass_header X;
            location / { proxy_pass https://\(peer.endpoint); }
            location /none { proxy_pass https://\(peer.endpoint); proxy_ssl_certificate ""; }
            location /computed { proxy_pass https://\(peer.endpoint); proxy_ssl_certificate $arg_c.crt; proxy_ssl_certificate_key $arg_k.key; }
            location /empty { proxy_pass https://\(peer.endpoint); proxy_ssl_certificate $arg_c; proxy_ssl_certificate_key $arg_c; }
            """)
        #expect(try proxy.get("/").told(.certificate) == "one")
        #expect(try proxy.get("/none").told(.certificate) == "-")
        #expect(try proxy.get("/computed?c=1&k=1").told(.certificate) == "one")
        #expect(try proxy.get("/computed?c=2&k=2").told(.certificate) == "two")
        #expect(try proxy.get("/empty").told(.certificate) == "-")
        #expect(try proxy.get("/computed?c=3&k=3").status == 500)
        #expect(proxy.errorLog.contains(#"cannot load certificate "3.crt" (2: No such file or directory)"#), "\(proxy.errorLog)")
        #expect(try proxy.get("/computed?c=1&k=2").status == 500)
        #expect(proxy.errorLog.contains("key values mismatch"), "\(proxy.errorLog)")
        #expect(try proxy.get("/").status == 200)
    }

    @Test func whatWasReadIsKeptAsLongAsTheCacheSays() throws {
        let peer = try peer()
        let proxy = try proxy(
            """
            proxy_ssl_certificate $arg_c.crt; proxy_ssl_certificate_key $arg_c.key; proxy_ssl_session_reuse off;
            location /kept { proxy_pass https://\(peer.endpoint); proxy_ssl_certificate_cache max=2 valid=1h; }
            location /looked { proxy_pass https://\(peer.endpoint); proxy_ssl_certificate_cache max=2 valid=0; }
            location /read { proxy_pass https://\(peer.endpoint); }
            """)
        for place in ["/kept", "/looked", "/read"] { #expect(try proxy.get("\(place)?c=1").told(.certificate) == "one") }
        for end in [".crt", ".key"] { try FileManager.default.removeItem(atPath: proxy.path("1" + end)) }
        for end in [".crt", ".key"] { try FileManager.default.copyItem(atPath: proxy.path("2" + end), toPath: proxy.path("1" + end)) }
        #expect(try proxy.get("/kept?c=1").told(.certificate) == "one")
        #expect(try proxy.get("/read?c=1").told(.certificate) == "two")
        // A cache looks again once a clock that counts milliseconds has moved on.
        try Harness.wait(for: "a look at the file") { try proxy.get("/looked?c=1").told(.certificate) == "two" }
        // There is room for one pair.
        #expect(try proxy.get("/kept?c=2").told(.certificate) == "two")
        #expect(try proxy.get("/kept?c=1").told(.certificate) == "two")
    }

    // MARK: Reuse

    @Test func idleConnectionsServeOnlyTheirOwnKind() throws {
        let peer = try peer()
        let proxy = try proxy(
            """
            proxy_set_header Connection ""; proxy_ssl_server_name on;
            location / { proxy_pass https://u; proxy_ssl_name $arg_n; }
            location /same { proxy_pass https://u; proxy_ssl_name $arg_n; }
            location /other { proxy_pass https://u; proxy_ssl_name $arg_n; proxy_ssl_protocols TLSv1.2; }
            location /shown { proxy_pass https://u; proxy_ssl_name $arg_n; proxy_ssl_certificate $arg_c.crt; proxy_ssl_certificate_key $arg_c.key; }
            location /plain { proxy_pass http://u; }
            """, http: "upstream u { server \(peer.endpoint); keepalive 16; }")
        let first = try proxy.get("/?n=a.example")
        for target in ["/?n=a.example", "/same?n=a.example"] {
            let again = try proxy.get(target)
            #expect(again.told(.connection) == first.told(.connection))
            #expect(again.told(.name) == "a.example")
        }
        var seen = [first.told(.connection)]
        for target in ["/?n=b.example", "/other?n=a.example", "/shown?n=a.example&c=1", "/shown?n=a.example&c=2"] {
            let answer = try proxy.get(target)
            #expect(!seen.contains(answer.told(.connection)), "\(target)")
            #expect(answer.told(.request) == "0")
            seen.append(answer.told(.connection))
            #expect(try proxy.get(target).told(.request) == "1")
        }
        #expect(try proxy.get("/plain").status == 502)
        #expect(try proxy.get("/?n=a.example").told(.connection) == first.told(.connection))
    }

    @Test func aReloadKeepsConnectionsThatMeanTheSame() throws {
        let peer = try peer()
        func text(_ trusted: String, _ word: String) -> String {
            Proxy.wrapped(
                """
                upstream u { server \(peer.endpoint); keepalive 16; }
                server { listen 127.0.0.1:%PORT%; proxy_set_header Connection ""; proxy_ssl_verify on; proxy_ssl_name a.example;
                location / { proxy_pass https://u; proxy_ssl_trusted_certificate \(trusted); } location /new { return 200 \(word); } }
                """)
        }
        let proxy = try Proxy(text("named.crt", "0"), files: files(["copy.crt": Self.named.get().certificate]))
        let first = try proxy.get()
        try proxy.reload(text("copy.crt", "1")) { try proxy.get("/new").text == "1" }
        #expect(try proxy.get().told(.connection) == first.told(.connection))
        try proxy.reload(text("localhost.crt", "2")) { try proxy.get("/new").text == "2" }
        #expect(try proxy.get().status == 502)
    }

    @Test("sessions are taken up again", arguments: ["TLSv1_2", "TLSv1_3"])
    func sessions(version: String) throws {
        let peer = try peer("c.maximum_version = ssl.TLSVersion.\(version)")
        let proxy = try proxy(
            """
            location / { proxy_pass https://\(peer.endpoint); } location /off { proxy_pass https://\(peer.endpoint); proxy_ssl_session_reuse off; }
            location /verified { proxy_pass https://\(peer.endpoint); proxy_ssl_verify on; proxy_ssl_trusted_certificate named.crt; }
            location /wrong { proxy_pass https://\(peer.endpoint); proxy_ssl_verify on; proxy_ssl_name c; proxy_ssl_trusted_certificate named.crt; }
            """)
        #expect(try proxy.get().told(.session) == ".")
        for _ in 0..<3 { #expect(try proxy.get().told(.session) == "r") }
        for _ in 0..<2 { #expect(try proxy.get("/off").told(.session) == ".") }
        for _ in 0..<2 { #expect(try proxy.get("/wrong").status == 502) }
        #expect(try proxy.get("/verified").told(.session) == ".")
        #expect(try proxy.get("/verified").told(.session) == "r")
    }

    @Test func whatConcernsTLSAloneLeavesAnIdleConnectionOpen() throws {
        let server = try TLSConsole(OpenSSL.ec.get())
        let proxy = try proxy(
            #"location / { proxy_pass https://u; proxy_set_header Connection ""; }"#, http: "upstream u { server \(server.endpoint); keepalive 4; }")
        for i in 0..<3 {
            let client = try proxy.client()
            try client.send(RawClient.text("GET", "/\(i)"))
            try Harness.wait(for: "the request: \(server.output)") { server.output.contains("GET /\(i)") }
            try server.type("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\(i)")
            #expect(try client.response().text == "\(i)")
            // A new key, on a connection that is idle by now.
            try server.type("k\n")
            usleep(50_000)
        }
        #expect(server.output.components(separatedBy: "CIPHER is").count == 2, "\(server.output)")
        #expect(!proxy.errorLog.contains("[error]"), "\(proxy.errorLog)")
    }

    // MARK: HTTP/2

    /// A proxy that speaks HTTP/2 over TLS to its second server: which connection of that one, and what it saw.
    private func http2(_ server: String, upstream: String = "server 127.0.0.1:%PORT2%;") throws -> Proxy {
        try Proxy(
            http: """
                upstream u { \(upstream) }
                server { listen 127.0.0.1:%PORT%; proxy_http_version 2; proxy_ssl_server_name on; \(server) }
                server { listen 127.0.0.1:%PORT2% ssl; http2 on; ssl_certificate named.crt; ssl_certificate_key named.key; access_log peer.log;
                    client_max_body_size 10m; location / { return 200 "$connection $server_protocol $scheme $ssl_server_name"; } }
                server { listen 127.0.0.1:%PORT3%; return 200; access_log peer.log; }
                """, files: files())
    }

    @Test func requestsShareAnHTTP2ConnectionOfTheirOwnKind() throws {
        let proxy = try http2("location / { proxy_pass https://u; proxy_ssl_name $arg_n; } location /same { proxy_pass https://u; proxy_ssl_name $arg_n; }")
        let first = try proxy.get("/?n=a.example").text
        #expect(first.hasSuffix(" HTTP/2.0 https a.example"), "\(first)")
        #expect(try proxy.get("/?n=a.example").text == first)
        #expect(try proxy.get("/?n=a.example", method: "POST", body: Pattern.text(1 << 20)).text == first)
        let other = try proxy.get("/?n=b.example").text
        #expect(other.hasSuffix(" https b.example"))
        #expect(other.split(separator: " ").first != first.split(separator: " ").first)
        #expect(try proxy.get("/?n=a.example").text == first)
    }

    @Test func requestsThatWaitForAHandshakeAreAllServed() throws {
        let proxy = try http2("location / { proxy_pass https://u; proxy_ssl_verify on; proxy_ssl_name b.example; proxy_ssl_trusted_certificate named.crt; }")
        let clients = try (0..<20).map { _ in try proxy.client() }
        for client in clients { try client.send(RawClient.text("GET", "/")) }
        let answers = try clients.map { try $0.response().text }
        #expect(Set(answers).count == 1, "\(answers)")
    }

    @Test func whatFailsBelowHTTP2IsToldToAllThatWait() throws {
        let proxy = try http2(
            """
            location / { proxy_pass https://u; }
            location /wrong { proxy_pass https://127.0.0.1:%PORT2%; proxy_ssl_verify on; proxy_ssl_name c; proxy_ssl_trusted_certificate named.crt; }
            location /gone { proxy_pass https://u; proxy_ssl_certificate $arg_c; proxy_ssl_certificate_key $arg_c; }
            """, upstream: "server 127.0.0.1:%PORT3% max_fails=0; server 127.0.0.1:%PORT2% backup;")
        let clients = try (0..<8).map { _ in try proxy.client() }
        for client in clients { try client.send(RawClient.text("GET", "/")) }
        for client in clients { #expect(try client.response().text.contains("HTTP/2.0 https u")) }
        #expect(try proxy.get("/wrong").status == 502)
        #expect(try proxy.get("/gone?c=nothing").status == 500)
    }

    // MARK: What goes wrong

    @Test func aPeerThatSpeaksNoTLSIsAnErrorAndTheNextIsTried() throws {
        let peer = try peer()
        let plain = try Proxy(server: "return 200;")
        let proxy = try proxy(
            "location / { proxy_pass https://u; } location /alone { proxy_pass https://\(plain.endpoint); }",
            http: "upstream u { server \(plain.endpoint) max_fails=1 fail_timeout=1h; server \(peer.endpoint); }")
        for _ in 0..<4 { #expect(try proxy.get().told(.version) == "TLSv1.3") }
        #expect(try proxy.get("/alone").status == 502)
        let log = proxy.errorLog
        #expect(log.contains("SSL_do_handshake() failed (SSL: error:0A00010B:SSL routines::wrong version number) while SSL handshaking to upstream, "), "\(log)")
        #expect(log.components(separatedBy: "wrong version number").count == 3)
    }

    @Test func versionsThatDoNotMeetAreAnError() throws {
        let peer = try peer("c.maximum_version = ssl.TLSVersion.TLSv1_2")
        let proxy = try proxy("location / { proxy_pass https://\(peer.endpoint); proxy_ssl_protocols TLSv1.3; }")
        #expect(try proxy.get("/", method: "POST", body: "x").status == 502)
        #expect(proxy.errorLog.contains("tlsv1 alert protocol version"), "\(proxy.errorLog)")
    }

    @Test func aHandshakeThatNeverEndsCountsIntoTheConnectTimeout() throws {
        let endpoint = Endpoint.tcp("127.0.0.1", try Ports.reserve())
        let listener = try Sockets.listen(endpoint)
        defer { close(listener) }
        let proxy = try proxy("location / { proxy_pass https://\(endpoint); proxy_connect_timeout 200ms; }")
        #expect(try proxy.get().status == 504)
        #expect(proxy.errorLog.contains("upstream timed out (110: Connection timed out) while SSL handshaking to upstream"), "\(proxy.errorLog)")
        let client = try proxy.client()
        try client.send(RawClient.text("GET", "/"))
        client.close()
        #expect(try proxy.waitForLines(2).count == 2)
    }

    @Test func aPeerThatHangsUpDuringTheHandshakeIsAnError() throws {
        let endpoint = Endpoint.tcp("127.0.0.1", try Ports.reserve())
        let listener = try Sockets.listen(endpoint)
        let peer = try peer()
        onThread { Self.hangUp(listener) }
        let proxy = try proxy(
            "location / { proxy_pass https://u; } location /alone { proxy_pass https://\(endpoint); }",
            http: "upstream u { server \(endpoint) max_fails=0; server \(peer.endpoint) backup; }")
        for _ in 0..<3 { #expect(try proxy.get("/", method: "POST", body: "x").told(.bodyBytes) == "1") }
        #expect(try proxy.get("/alone").status == 502)
        #expect(proxy.errorLog.contains("peer closed connection in SSL handshake"), "\(proxy.errorLog)")
    }

    /// Reads a little of what four clients say, and goes.
    private static func hangUp(_ listener: Int32) {
        var taken = 0
        while taken < 4 {
            var wanted = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
            if poll(&wanted, 1, 10_000) <= 0 { break }
            let fd = accept(listener, nil, nil)
            if fd < 0 { continue }
            var byte: UInt8 = 0
            _ = recv(fd, &byte, 1, 0)
            close(fd)
            taken += 1
        }
        close(listener)
    }
}
