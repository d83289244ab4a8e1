// Owns OCSP: answers that are shown to clients, and questions about certificates of clients.
// The responder is `openssl ocsp`; what it knows is in a file that the tests change.

import Foundation
import TestSupport
import Testing

@Suite("status of certificates", .ownThread)
struct TLSStatusTests {
    /// A root that has signed `server` and `client`, and a responder that speaks for it.
    private final class Authority {
        let folder: String
        let port: Int
        private var responder: OpenSSL.Responder?

        init() throws {
            folder = try Harness.temporaryDirectory()
            port = try Ports.reserve()
            try OpenSSL.certificate("root", in: folder)
            let where_ = "authorityInfoAccess=OCSP;URI:http://127.0.0.1:\(port)\n"
            for name in ["server", "client"] { try OpenSSL.certificate(name, by: "root", extensions: where_, in: folder) }
            try knows(revoked: [])
        }

        deinit {
            responder = nil
            try? FileManager.default.removeItem(atPath: folder)
        }

        /// The index of a CA, in which all certificates are good but these.
        func knows(revoked: [String]) throws {
            var index = ""
            for name in ["server", "client"] {
                let serial = try OpenSSL.run(["x509", "-in", name + ".crt", "-noout", "-serial"], in: folder)
                    .split(separator: "=").last.map { $0.trimmingCharacters(in: .whitespacesAndNewlines) } ?? ""
                let isGone = revoked.contains(name)
                index += "\(isGone ? "R" : "V")\t390101000000Z\t\(isGone ? "240101000000Z" : "")\t\(serial)\tunknown\t/CN=\(name)\n"
            }
            try index.write(toFile: folder + "/index", atomically: true, encoding: .utf8)
            responder = nil
            responder = try OpenSSL.Responder(folder: folder, port: port)
        }

        func files() throws -> [String: String] {
            try ["root", "server", "client"].flatMap { [$0 + ".crt", $0 + ".key"] }.reduce(into: [:]) {
                $0[$1] = try String(contentsOfFile: folder + "/" + $1, encoding: .utf8)
            }
        }
    }

    /// What s_client says when it asks for the status.
    private func status(_ proxy: Proxy) throws -> String {
        try OpenSSL.run(
            ["s_client", "-connect", "127.0.0.1:\(proxy.port)", "-status", "-servername", "localhost"], in: proxy.directory, input: "Q\n", failing: true)
    }

    private func proxy(_ authority: Authority, _ words: String) throws -> Proxy {
        try Proxy(
            http: """
                server { listen 127.0.0.1:%PORT% ssl; server_name localhost; ssl_certificate server.crt; ssl_certificate_key server.key; \(words)
                    location / { return 200 "$ssl_client_verify $ssl_session_reused"; } }
                """, files: authority.files().merging(["other.der": ""]) { $1 })
    }

    @Test func anAnswerIsShownOnceItIsThere() throws {
        let authority = try Authority()
        let proxy = try proxy(authority, "ssl_stapling on; ssl_stapling_verify on; ssl_trusted_certificate root.crt;")
        #expect(try status(proxy).contains("OCSP response: no response sent"))
        try Harness.wait(for: "the answer: \(proxy.errorLog)") { try status(proxy).contains("Cert Status: good") }
        // Who does not ask is not shown any.
        #expect(try TLSClient(proxy).request().text == "NONE .")
    }

    @Test func aRevokedCertificateIsNotStapled() throws {
        let authority = try Authority()
        try authority.knows(revoked: ["server"])
        let proxy = try proxy(authority, "ssl_stapling on; ssl_trusted_certificate root.crt;")
        _ = try status(proxy)
        try Harness.wait(for: "the words: \(proxy.errorLog)") { proxy.errorLog.contains("certificate revoked while requesting certificate status") }
        #expect(try status(proxy).contains("no response sent"))
    }

    @Test func aFileIsShownAsItIs() throws {
        let authority = try Authority()
        try OpenSSL.run(
            ["ocsp", "-issuer", "root.crt", "-cert", "server.crt", "-url", "http://127.0.0.1:\(authority.port)", "-respout", "answer.der"]
                + ["-CAfile", "root.crt"], in: authority.folder)
        let proxy = try proxy(authority, "ssl_stapling on; ssl_stapling_file \(authority.folder)/answer.der;")
        #expect(try status(proxy).contains("Cert Status: good"))
    }

    @Test func withoutAnIssuerOrAResponderItIsLeftAndSaid() throws {
        let proxy = try TLSTests.proxy("ssl_stapling on; return 200 x;")
        #expect(proxy.errorLog.contains(#""ssl_stapling" ignored, issuer certificate not found for certificate "/CN=localhost""#))
        #expect(try TLSClient(proxy).request().text == "x")
    }

    @Test func clientsAreAskedAbout() throws {
        let authority = try Authority()
        let proxy = try proxy(authority, "ssl_ocsp on; ssl_verify_client on; ssl_client_certificate root.crt; error_page 495 =403 /; ")
        let words = ["-servername", "localhost", "-cert", proxy.path("client.crt"), "-key", proxy.path("client.key")]
        func answer(_ more: [String] = []) throws -> String {
            let answer = try TLSClient(proxy, words + more).request("GET", "/", ["Host: localhost"])
            return "\(answer.status) \(answer.text)"
        }
        #expect(try answer() == "200 SUCCESS .")
        #expect(try answer(["-tls1_2"]) == "200 SUCCESS .")
        let kept = try TLSClient(proxy, words + ["-sess_out", proxy.path("session")])
        #expect(try kept.request("GET", "/", ["Host: localhost", "Connection: close"]).text == "SUCCESS .")
        #expect(kept.hasSession(proxy.path("session")))
        #expect(try answer(["-sess_in", proxy.path("session")]) == "200 SUCCESS r")
        try authority.knows(revoked: ["client"])
        #expect(try answer() == "403 FAILED:certificate revoked .")
        // A session does not help.
        #expect(try answer(["-sess_in", proxy.path("session")]) == "403 FAILED:certificate revoked r")
    }

    /// The default server, whose handshake it was, has asked nobody about the certificate.
    @Test func aServerThatDoesNotAskCannotSpeakForOneThatDoes() throws {
        let authority = try Authority()
        let words = "ssl_certificate server.crt; ssl_certificate_key server.key; ssl_verify_client on; ssl_client_certificate root.crt;"
        let proxy = try Proxy(
            http: """
                server { listen 127.0.0.1:%PORT% ssl; server_name a; \(words) return 200 a; }
                server { listen 127.0.0.1:%PORT% ssl; server_name b; \(words) ssl_ocsp on; return 200 b; }
                """, files: authority.files())
        try authority.knows(revoked: ["client"])
        let pair = ["-cert", proxy.path("client.crt"), "-key", proxy.path("client.key")]
        #expect(try TLSClient(proxy, ["-noservername"] + pair).request("GET", "/", ["Host: a"]).text == "a")
        #expect(try TLSClient(proxy, ["-noservername"] + pair).request("GET", "/", ["Host: b"]).status == 421)
        #expect(try TLSClient(proxy, ["-servername", "b"] + pair).request("GET", "/", ["Host: b"]).status == 400)
        try authority.knows(revoked: [])
        #expect(try TLSClient(proxy, ["-servername", "b"] + pair).request("GET", "/", ["Host: b"]).text == "b")
    }

    @Test func noAnswerIsNoGoodOne() throws {
        let authority = try Authority()
        let nobody = try Ports.reserve()
        let proxy = try proxy(
            authority,
            "ssl_ocsp leaf; ssl_ocsp_responder http://127.0.0.1:\(nobody)/; ssl_verify_client optional; ssl_client_certificate root.crt; error_page 495 =403 /;")
        let words = ["-servername", "localhost", "-cert", proxy.path("client.crt"), "-key", proxy.path("client.key")]
        let answer = try TLSClient(proxy, words).request("GET", "/", ["Host: localhost"])
        #expect(answer.text == "FAILED:certificate status request failed .")
        #expect(proxy.errorLog.contains("connect() failed (111: Connection refused) while requesting certificate status"))
        #expect(try TLSClient(proxy).request("GET", "/", ["Host: localhost"]).text == "NONE .")
    }

    @Test func answersAreKept() throws {
        let authority = try Authority()
        let proxy = try proxy(
            authority, "ssl_ocsp on; ssl_ocsp_cache shared:status:1m; ssl_verify_client on; ssl_client_certificate root.crt; error_page 495 =403 /;")
        let words = ["-servername", "localhost", "-cert", proxy.path("client.crt"), "-key", proxy.path("client.key")]
        for _ in 0..<2 {
            #expect(try TLSClient(proxy, words).request("GET", "/", ["Host: localhost"]).text == "SUCCESS .")
            try authority.knows(revoked: ["client"])
        }
    }
}
