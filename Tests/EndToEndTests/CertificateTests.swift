// Owns certificates that are replaced while connections are open: nothing is cut, and who comes after the answer is shown the new one.
// Clients are `openssl s_client`; what is shown is read from their own words.

import Foundation
import TestSupport
import Testing

@Suite("certificates at run time", .ownThread, .enabled(if: !Harness.isNginx))
struct CertificateTests {
    private typealias Pair = (certificate: String, key: String)

    private static func body(_ pair: Pair) throws -> String {
        let data = try JSONSerialization.data(withJSONObject: ["certificate": pair.certificate, "key": pair.key])
        return String(decoding: data, as: UTF8.self)
    }

    /// The certificate that a new client is shown.
    private static func shown(_ proxy: Proxy, _ name: String = "localhost") throws -> String {
        let said = try OpenSSL.run(["s_client", "-connect", "127.0.0.1:\(proxy.port)", "-servername", name], in: proxy.directory, failing: true)
        guard let from = said.range(of: "-----BEGIN CERTIFICATE-----"), let to = said.range(of: "-----END CERTIFICATE-----\n") else {
            throw TestFailure("no certificate: \(said)")
        }
        return String(said[from.lowerBound..<to.upperBound])
    }

    /// A client that asks one request after the other on one connection, until it is told to stop.
    private final class Holder: Sendable {
        let answered = Locked(0)
        let failure = Locked<String?>(nil)
        private let isStopped = Locked(false)
        private let ended = Signal()

        init(_ client: TLSClient) {
            onThread { [self] in
                do {
                    while !isStopped.current {
                        let answer = try client.request("GET", "/held")
                        if answer.status != 200 || answer.text != "up" { throw TestFailure("\(answer.status) \(answer.text)") }
                        answered.with { $0 += 1 }
                    }
                } catch { failure.with { $0 = "\(error)" } }
                ended.fire()
            }
        }

        func stop() {
            isStopped.with { $0 = true }
            ended.wait()
        }
    }

    @Test func aHundredReplacementsUnderLoadCutNothing() throws {
        let pairs = try [OpenSSL.pair("localhost"), OpenSSL.pair("localhost", key: ["-newkey", "rsa:2048"])]
        let upstream = try Upstream(saying: "up")
        let location = "location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\"; }"
        let proxy = try Proxy(
            http: """
                keepalive_requests 1000000; upstream u { server \(upstream.endpoint); keepalive 16; }
                server { listen 127.0.0.1:%PORT% ssl; listen 127.0.0.1:%PORT2%; server_name localhost;
                ssl_certificate site.crt; ssl_certificate_key site.key; \(location) }
                """, main: "worker_processes 2; state state;", files: OpenSSL.files([("site", pairs[0])]))
        let admin = try Admin(proxy, folder: "state")
        let bodies = try pairs.map(Self.body)
        let holders = try (0..<4).map { _ in Holder(try TLSClient(proxy)) }
        let load = Load(proxy.endpoint2, connections: 4)
        try load.waitForAnswers(10)
        var fresh = 0
        for i in 1...100 {
            let before = holders.map(\.answered.current)
            #expect(try admin.write("PUT", "/certificates/site", bodies[i % 2]) == i + 1)
            // Whichever worker takes it.
            if i % 5 == 0 {
                for _ in 0..<2 { #expect(try Self.shown(proxy) == pairs[i % 2].certificate, "replacement \(i)") }
                let client = try TLSClient(proxy)
                #expect(try client.request("GET", "/fresh").text == "up")
                fresh += 1
            }
            try Harness.wait(for: "an answer to all who stay") {
                holders.indices.allSatisfy { holders[$0].answered.current > before[$0] || holders[$0].failure.current != nil }
            }
        }
        for holder in holders { holder.stop() }
        let result = try load.finish()
        #expect(holders.compactMap(\.failure.current) == [])
        #expect(result.failures == [] && result.resent == 0 && result.count(200) == result.sent)
        let held = holders.reduce(0) { $0 + $1.answered.current }
        #expect(upstream.requestCount == held + fresh + result.sent)
        let total = try admin.get("/status")["requests"].ints
        #expect(total["started"] == held + fresh + result.sent && total["completed"] == total["started"], "\(total)")
        let receipt = try admin.get("/receipts/101?wait=1")
        #expect(receipt["balances"].bool == true && receipt["after"]["failed_by_proxy"].int == 0, "\(receipt)")
        #expect(!proxy.errorLog.contains("[crit]") && !proxy.errorLog.contains("[alert]"))
    }

    @Test func whoComesAgainWithASessionIsShownTheNewOne() throws {
        let (first, second) = (try OpenSSL.pair("other.example"), try OpenSSL.pair("other.example"))
        let proxy = try Proxy(
            http: """
                server { listen 127.0.0.1:%PORT% ssl; server_name localhost; ssl_certificate localhost.crt; ssl_certificate_key localhost.key; return 200 x; }
                server { listen 127.0.0.1:%PORT% ssl; server_name other.example; ssl_certificate other.crt; ssl_certificate_key other.key; return 200 y; }
                """, files: try OpenSSL.files([("localhost", OpenSSL.ec.get()), ("other", first)]))
        let admin = try Admin(proxy)
        func connect(_ words: [String]) throws -> String {
            try OpenSSL.run(
                ["s_client", "-connect", "127.0.0.1:\(proxy.port)", "-servername", "other.example", "-tls1_2"] + words, in: proxy.directory, failing: true)
        }
        #expect(try connect(["-sess_out", "session"]).contains("New, TLSv1.2"))
        #expect(try connect(["-sess_in", "session"]).contains("Reused, TLSv1.2"))
        try admin.write("PUT", "/certificates/other", Self.body(second))
        let again = try connect(["-sess_in", "session"])
        #expect(again.contains("New, TLSv1.2") && again.contains(second.certificate))
        #expect(try Self.shown(proxy) == OpenSSL.ec.get().certificate)
    }

    @Test func whatWasPutOutlivesTheProcessAndGivesWayToAReload() throws {
        let pairs = try (0..<3).map { _ in try OpenSSL.pair("localhost") }
        let text = """
            server { listen 127.0.0.1:%PORT% ssl; server_name localhost; ssl_certificate tls/site/fullchain.pem; ssl_certificate_key tls/site/privkey.pem;
            return 200 up; }
            """
        let proxy = try Proxy(
            http: text, main: "state state;",
            files: ["tls/site/fullchain.pem": pairs[0].certificate, "tls/site/privkey.pem": pairs[0].key, "new.crt": pairs[1].certificate, "new.key": pairs[1].key])
        var admin = try Admin(proxy, folder: "state")
        // Two days: it is warned of from the start on.
        try Harness.wait(for: "the warning: \(proxy.errorLog)") {
            proxy.errorLog.contains(#"certificate "site" ("#) && proxy.errorLog.contains("expires in 1 day, at ")
        }
        let put = try Proxyctl(proxy, ["cert", "put", "site", "--cert", "new.crt", "--key", "new.key", "--reason", "x"], admin: "unix:state/admin.sock").result()
        #expect(put.status == 0 && put.output.hasPrefix("Revision 2: certificate site: "), "\(put.all)")
        #expect(try Self.shown(proxy) == pairs[1].certificate)
        let folder = proxy.path("state/certificates")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".pem") }
        #expect(files.count == 1)
        for (path, mode) in [(folder, 0o700), (folder + "/" + (files.first ?? ""), 0o600)] {
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == mode)
        }
        for name in ["state/journal", "state/audit.log", "error.log"] { #expect(!proxy.read(name).contains("PRIVATE KEY")) }

        #expect(try proxy.stop(SIGKILL) == .signalled(SIGKILL))
        try proxy.start()
        admin = try Admin(proxy, folder: "state")
        #expect(try Self.shown(proxy) == pairs[1].certificate)
        #expect(try Proxyctl(proxy, ["undo"], admin: "unix:state/admin.sock").result().status == 0)
        #expect(try Self.shown(proxy) == pairs[0].certificate)

        // HUP reads the files again.
        try proxy.write("tls/site/fullchain.pem", pairs[2].certificate)
        try proxy.write("tls/site/privkey.pem", pairs[2].key)
        let client = try TLSClient(proxy)
        #expect(try client.request().text == "up")
        try proxy.reload(Proxy.wrapped(text, "state state;")) { try Self.shown(proxy) == pairs[2].certificate }
        #expect(try client.request().text == "up", "who was there stays")
        // A pair that does not match is refused, and nothing changes.
        try proxy.write("tls/site/privkey.pem", pairs[0].key)
        proxy.signal(SIGHUP)
        try Harness.wait(for: "the words: \(proxy.errorLog)") { proxy.errorLog.contains("key values mismatch") }
        #expect(try Self.shown(proxy) == pairs[2].certificate)
        let list = try Proxyctl(proxy, ["cert", "list"], admin: "unix:state/admin.sock").result()
        #expect(list.output.contains("site") && list.output.contains("EC prime256v1") && list.output.contains("file"), "\(list.all)")
        #expect(try admin.get("/status")["certificates"]["site"]["days_left"].int == 1)
    }
}
