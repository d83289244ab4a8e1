// Owns certificates that have variables in their names: whose they are, how long they are kept, and what happens when there is none.

import Foundation
import TestSupport
import Testing

@Suite("certificates by variable", .ownThread)
struct TLSPairTests {
    private static let made = Result { try ["a.test", "b.test", "c.test"].map { ($0, try OpenSSL.pair($0)) } }

    private static func proxy(_ words: String, http: String = "") throws -> Proxy {
        try Proxy(
            http: """
                \(http)
                server { listen 127.0.0.1:%PORT% ssl; server_name a.test b.test c.test gone.test;
                    ssl_certificate $ssl_server_name.crt; ssl_certificate_key $ssl_server_name.key; \(words) return 200 $ssl_server_name; }
                """, files: OpenSSL.files(made.get().map { (name: $0.0, pair: $0.1) } + [("rsa", OpenSSL.rsa.get())]))
    }

    /// The name in the certificate that a client is shown; empty: the handshake failed.
    private func shown(_ proxy: Proxy, _ name: String) throws -> String {
        let client = try TLSClient(proxy, ["-servername", name])
        guard (try? client.request("GET", "/", ["Host: \(name)"]).text) == name else { return "" }
        return client.remarks.split(separator: "\n").first { $0.contains("CN = ") }?.split(separator: " ").last.map(String.init) ?? "?"
    }

    private func put(_ name: String, _ files: String?, _ proxy: Proxy) throws {
        for end in [".crt", ".key"] {
            if let files {
                try proxy.read(files + end).write(toFile: proxy.path(name + end), atomically: true, encoding: .utf8)
            } else {
                try FileManager.default.removeItem(atPath: proxy.path(name + end))
            }
        }
    }

    @Test func eachNameHasItsCertificate() throws {
        let proxy = try Self.proxy("")
        for name in ["a.test", "b.test", "a.test"] { #expect(try shown(proxy, name) == name) }
        #expect(try shown(proxy, "gone.test") == "")
        #expect(try shown(proxy, "../\(proxy.directory)/a.test") == "")
        try Harness.wait(for: "the words: \(proxy.errorLog)") {
            proxy.errorLog.contains(#"cannot load certificate "gone.test.crt" while SSL handshaking (2: No such file or directory)"#)
                || proxy.errorLog.contains(#"cannot load certificate "gone.test.crt" (2: No such file or directory)"#)
        }
        #expect(!proxy.errorLog.contains("[crit]"))
        // Nothing is kept: the next handshake sees the new file.
        try put("a.test", "b.test", proxy)
        #expect(try shown(proxy, "a.test") == "b.test")
        // A key that is not the certificate's.
        try proxy.read("c.test.key").write(toFile: proxy.path("a.test.key"), atomically: true, encoding: .utf8)
        #expect(try shown(proxy, "a.test") == "")
        #expect(proxy.errorLog.contains("key values mismatch"))
    }

    @Test func whatWasReadIsKeptForAWhile() throws {
        let proxy = try Self.proxy("ssl_certificate_cache max=4 valid=1s inactive=1m;")
        #expect(try shown(proxy, "a.test") == "a.test")
        try put("a.test", nil, proxy)
        #expect(try shown(proxy, "a.test") == "a.test")
        #expect(try shown(proxy, "b.test") == "b.test")
        // A third pair makes room.
        #expect(try shown(proxy, "c.test") == "c.test")
        #expect(try shown(proxy, "a.test") == "")
        try put("b.test", "c.test", proxy)
        try Harness.wait(for: "the new certificate") { try shown(proxy, "b.test") == "c.test" }
    }

    /// The key takes its certificate's place in the cache while both are in use.
    @Test(arguments: [1, 2]) func aCacheMayBeSmallerThanAPair(entries: Int) throws {
        let proxy = try Self.proxy("ssl_certificate_cache max=\(entries) valid=1m inactive=1m;")
        for _ in 0..<3 { for name in ["a.test", "b.test", "c.test"] { #expect(try shown(proxy, name) == name) } }
        #expect(proxy.isRunning)
    }

    @Test func aMapMayNameThemAndDataMayBeThem() throws {
        let (_, pair) = try Self.made.get()[1]
        let proxy = try Proxy(
            http: """
                map $ssl_server_name $name { a.test a.test; default c.test; }
                map $ssl_server_name $pem { default "data:\(pair.certificate)"; }
                map $ssl_server_name $key { default "data:\(pair.key)"; }
                server { listen 127.0.0.1:%PORT% ssl; ssl_certificate $name.crt; ssl_certificate_key $name.key; return 200 $ssl_server_name; }
                server { listen 127.0.0.1:%PORT% ssl; server_name b.test; ssl_certificate $pem; ssl_certificate_key $key; return 200 $ssl_server_name; }
                """, files: OpenSSL.files(Self.made.get().map { (name: $0.0, pair: $0.1) }))
        #expect(try shown(proxy, "a.test") == "a.test")
        #expect(try shown(proxy, "x.test") == "c.test")
        #expect(try shown(proxy, "b.test") == "b.test")
    }
}
