// Owns certificates of clients: who is asked, who is let in, who is told no, and what variables say of them.
// A chain of a root, an intermediate and clients is made once by `openssl`.

import Foundation
import TestSupport
import Testing

@Suite("certificates of clients", .ownThread)
struct TLSVerifyTests {
    /// root signs int and good; int signs deep; stranger signs itself. `revoked.crl` has good, `clean.crl` has nobody.
    private static let made = Result<[String: String], any Error> {
        let folder = try Harness.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let authority = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign"
        try OpenSSL.certificate("root", in: folder)
        try OpenSSL.certificate("int", by: "root", extensions: authority, in: folder)
        try OpenSSL.certificate("good", by: "root", days: 5, in: folder)
        try OpenSSL.certificate("deep", by: "int", in: folder)
        try OpenSSL.certificate("stranger", in: folder)
        try "[ca]\ndefault_ca=a\n[a]\ndatabase=index\ndefault_md=sha256\n".write(toFile: folder + "/ca.conf", atomically: true, encoding: .utf8)
        try "".write(toFile: folder + "/index", atomically: true, encoding: .utf8)
        let list = ["ca", "-config", "ca.conf", "-keyfile", "root.key", "-cert", "root.crt"]
        try OpenSSL.run(list + ["-gencrl", "-crldays", "2", "-out", "clean.crl"], in: folder)
        try OpenSSL.run(list + ["-revoke", "good.crt"], in: folder)
        try OpenSSL.run(list + ["-gencrl", "-crldays", "2", "-out", "revoked.crl"], in: folder)
        return try ["root", "int", "good", "deep", "stranger"].reduce(into: [:]) { files, name in
            for end in [".crt", ".key"] { files[name + end] = try String(contentsOfFile: folder + "/" + name + end, encoding: .utf8) }
        }.merging(["clean.crl", "revoked.crl"].map { ($0, try String(contentsOfFile: folder + "/" + $0, encoding: .utf8)) }) { $1 }
    }

    private static func proxy(_ server: String, http: String = "") throws -> Proxy {
        try TLSTests.proxy(server, http: http, files: made.get())
    }

    /// What a client with this certificate is answered: the status and the text.
    private func answer(_ proxy: Proxy, _ certificate: String?, name: String = "localhost", host: String? = nil, words: [String] = []) throws -> String {
        let shown = certificate.map { ["-cert", proxy.path($0 + ".crt"), "-key", proxy.path($0 + ".key")] } ?? []
        let client = try TLSClient(proxy, (name.isEmpty ? ["-noservername"] : ["-servername", name]) + shown + words)
        let answer = try client.request("GET", "/", ["Host: \(host ?? name)"])
        return "\(answer.status) \(answer.text)"
    }

    @Test(
        "who is let in",
        arguments: [
            ("on", nil, "400 No required SSL certificate was sent"), ("on", "good", "200 SUCCESS"),
            ("on", "stranger", "400 The SSL certificate error"), ("optional", nil, "200 NONE"), ("optional", "good", "200 SUCCESS"),
            ("optional", "stranger", "400 The SSL certificate error"), ("optional_no_ca", nil, "200 NONE"),
            ("optional_no_ca", "stranger", "200 FAILED:self-signed certificate"), ("off", "good", "200 NONE"),
        ] as [(String, String?, String)])
    func verification(kind: String, certificate: String?, wanted: String) throws {
        let proxy = try Self.proxy("ssl_verify_client \(kind); ssl_client_certificate root.crt; location / { return 200 $ssl_client_verify; }")
        for version in ["-tls1_2", "-tls1_3"] {
            let told = try answer(proxy, certificate, words: [version])
            #expect(wanted.hasPrefix("400") ? told.hasPrefix("400") && told.contains(wanted.dropFirst(4)) : told == wanted, "\(told)")
        }
        if wanted.contains("The SSL") {
            #expect(proxy.errorLog.contains("client SSL certificate verify error: (18:self-signed certificate)") || proxy.errorLog.contains(": (18:"))
        }
    }

    @Test func depthTrustAndRevocation() throws {
        let proxy = try Self.proxy("ssl_verify_client on; ssl_trusted_certificate root.crt; return 200 in;")
        func change(_ words: String, _ wanted: String) throws {
            try proxy.reload(
                Proxy.wrapped(
                    """
                    server { listen 127.0.0.1:%PORT% ssl; server_name localhost; \(TLSTests.certificate) ssl_verify_client optional_no_ca;
                    ssl_client_certificate root.crt; \(words) return 200 "$ssl_client_verify \(wanted)"; }
                    """)
            ) { (try? answer(proxy, nil))?.hasSuffix(wanted) == true }
        }
        #expect(try answer(proxy, "good") == "200 in")
        try change("ssl_verify_depth 2;", "a")
        let chain = ["-cert_chain", proxy.path("int.crt")]
        #expect(try answer(proxy, "deep", words: chain) == "200 SUCCESS a")
        try change("ssl_verify_depth 0;", "b")
        #expect(try answer(proxy, "deep", words: chain) == "200 FAILED:unable to get local issuer certificate b")
        try change("ssl_crl clean.crl;", "c")
        #expect(try answer(proxy, "good") == "200 SUCCESS c")
        try change("ssl_crl revoked.crl;", "d")
        #expect(try answer(proxy, "good").hasPrefix("400"))
        #expect(proxy.errorLog.contains("client SSL certificate verify error: (23:certificate revoked)"))
    }

    @Test func errorPagesKnowWhy() throws {
        let proxy = try Self.proxy(
            """
            ssl_verify_client on; ssl_client_certificate root.crt; error_page 495 =403 /bad; error_page 496 =401 /none;
            location = /bad { return 200 "bad $ssl_client_verify"; } location = /none { return 200 "none $ssl_client_verify"; }
            """)
        #expect(try answer(proxy, nil) == "401 none NONE")
        #expect(try answer(proxy, "stranger").hasPrefix("403 bad FAILED:"))
    }

    @Test func variablesTellOfTheCertificate() throws {
        let proxy = try Self.proxy(
            """
            ssl_verify_client on; ssl_client_certificate root.crt; add_header X-Raw $ssl_client_escaped_cert; add_header X-Folded $ssl_client_cert;
            location / { return 200 "$ssl_client_s_dn|$ssl_client_i_dn|$ssl_client_s_dn_legacy|$ssl_client_i_dn_legacy|$ssl_client_serial\
            |$ssl_client_fingerprint|$ssl_client_v_start|$ssl_client_v_end|$ssl_client_v_remain"; }
            location /raw { return 200 $ssl_client_raw_cert; }
            """)
        let words = ["-cert", proxy.path("good.crt"), "-key", proxy.path("good.key"), "-servername", "localhost"]
        let client = try TLSClient(proxy, words)
        let parts = try client.request("GET", "/", ["Host: localhost"]).text.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
        #expect(parts[..<4] == ["CN=good", "CN=root", "/CN=good", "/CN=root"])
        func openssl(_ word: String) throws -> String {
            let line = try OpenSSL.run(["x509", "-in", "good.crt", "-noout", word], in: proxy.directory)
            return line.split(separator: "=").last.map { $0.trimmingCharacters(in: .whitespacesAndNewlines) } ?? ""
        }
        #expect(parts[4] == (try openssl("-serial")))
        #expect(parts[5] == (try openssl("-fingerprint").replacing(":", with: "").lowercased()))
        #expect(parts[6] == (try openssl("-startdate")))
        #expect(parts[7] == (try openssl("-enddate")))
        #expect(parts[8] == "4" || parts[8] == "5")
        let raw = try client.request("GET", "/raw", ["Host: localhost"])
        #expect(raw.text == proxy.read("good.crt"))
        #expect(raw["X-Raw"]?.removingPercentEncoding == raw.text)
        #expect(raw["X-Folded"] == nil || raw["X-Folded"]?.hasPrefix("-----BEGIN") == true)
    }

    @Test func aRequestBelongsToTheServerOfItsHandshake() throws {
        let proxy = try Self.proxy(
            "return 200 plain;",
            http: """
                server { listen 127.0.0.1:%PORT% ssl default_server; server_name first; \(TLSTests.certificate)
                    ssl_verify_client optional; ssl_client_certificate stranger.crt; return 200 "first $ssl_client_verify"; }
                server { listen 127.0.0.1:%PORT% ssl; server_name strict; \(TLSTests.certificate)
                    ssl_verify_client on; ssl_client_certificate root.crt; return 200 "strict $ssl_client_verify"; }
                server { listen 127.0.0.1:%PORT% ssl; server_name same; \(TLSTests.certificate)
                    ssl_verify_client on; ssl_client_certificate stranger.crt; return 200 "same $ssl_client_verify"; }
                """)
        #expect(try answer(proxy, "good", name: "strict") == "200 strict SUCCESS")
        // Named in the handshake, and another in the request.
        #expect(try answer(proxy, "good", name: "localhost", host: "strict").hasPrefix("421 "))
        #expect(try answer(proxy, "good", name: "strict", host: "localhost") == "200 plain")
        // Not named: the default server has judged.
        #expect(try answer(proxy, "stranger", name: "", host: "first") == "200 first SUCCESS")
        #expect(try answer(proxy, "stranger", name: "", host: "strict").hasPrefix("421 "))
        #expect(try answer(proxy, "stranger", name: "", host: "same") == "200 same SUCCESS")
        #expect(try answer(proxy, nil, name: "", host: "strict").hasPrefix("400 "))
    }
}
