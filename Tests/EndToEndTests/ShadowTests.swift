// Owns shadows: safe requests of a split are sent to a variant that serves nobody, and what it answers is compared with what clients got.

import Foundation
import TestSupport
import Testing

@Suite("shadows", .ownThread)
struct ShadowTests {
    private static func configuration(_ blue: Upstream, _ green: Upstream, _ shadow: String) -> String {
        """
        upstream blue { server \(blue.endpoint); }
        upstream green { server \(green.endpoint); }
        split app { blue 100; green 0; \(shadow) }
        server {
            listen 127.0.0.1:%PORT%;
            location / { proxy_pass http://app; }
            location = /private { internal; proxy_pass http://app; }
        }
        """
    }

    private static func counts(_ proxy: Proxy) throws -> [Int] {
        let counts = try Admin(proxy).get("/status")["splits"]["app"]["shadow"]
        return ["compared", "differing", "compared_old", "differing_old"].map { counts[$0].int ?? -1 }
    }

    private static func wait(_ proxy: Proxy, for wanted: [Int]) throws {
        var seen: [Int] = []
        try Harness.wait(for: "\(wanted), saw \(seen)") {
            seen = try counts(proxy)
            return seen == wanted
        }
    }

    @Test("a variant that answers alike differs in nothing, and nobody is served by it")
    func alike() throws {
        let text = String(repeating: "same", count: 50_000)
        let blue = try Upstream { r, c in try c.answer("200 OK", ["X-Kind: a", "X-Server: blue"], body: r.target + text) }
        let green = try Upstream { r, c in try c.answerChunked([r.target, text], ["X-Kind: a", "X-Server: green"]) }
        let proxy = try Proxy(http: Self.configuration(blue, green, "shadow green noise=0% header=X-Kind;"))
        for i in 0..<20 {
            let answer = try proxy.get("/\(i)?a=%20b", i % 2 == 0 ? ["X-A: 1"] : [])
            #expect(answer["X-Server"] == "blue")
        }
        try Self.wait(proxy, for: [20, 0, 0, 0])
        #expect(green.requests.map { "\($0.method) \($0.target) \($0["X-A"] ?? "")" }.sorted()
            == blue.requests.map { "\($0.method) \($0.target) \($0["X-A"] ?? "")" }.sorted())
    }

    @Test("what differs in status, chosen fields or body is counted; unsafe requests are sent once",
        arguments: ["status", "field", "body", "length", "cut", "refused"])
    func differing(what: String) throws {
        let blue = try Upstream { _, c in try c.answer("200 OK", ["X-Kind: a"], body: "body") }
        let green = try Upstream { _, c in
            switch what {
            case "status": try c.answer("500 No", ["X-Kind: a"], body: "body")
            case "field": try c.answer("200 OK", ["X-Kind: b"], body: "body")
            case "body": try c.answer("200 OK", ["X-Kind: a"], body: "bodY")
            case "length": try c.answer("200 OK", ["X-Kind: a"], body: "body.")
            default:
                try c.send("HTTP/1.1 200 OK\r\nX-Kind: a\r\nContent-Length: 10\r\n\r\nbody")
                c.close()
            }
        }
        if what == "refused" { green.refuse() }
        let proxy = try Proxy(http: Self.configuration(blue, green, "shadow green noise=0% header=X-Kind;"))
        #expect(try proxy.get("/").text == "body")
        #expect(try proxy.get("/", method: "POST", body: "x").text == "body")
        #expect(try proxy.get("/", method: "DELETE").text == "body")
        #expect(try proxy.get("/", method: "OPTIONS").text == "body")
        try Self.wait(proxy, for: [2, 2, 0, 0])
        #expect(blue.requestCount == 4)
    }

    @Test("the noise is what differs between old and old")
    func noise() throws {
        let turn = Locked(0)
        let blue = try Upstream { _, c in
            let n = turn.with { $0 += 1; return $0 }
            try c.answer(body: "answer \(n)")
        }
        let green = try Upstream(saying: "green")
        let proxy = try Proxy(http: Self.configuration(blue, green, "shadow green noise=25%;"))
        for _ in 0..<40 { try proxy.get("/") }
        try Self.wait(proxy, for: [30, 30, 10, 10])
        #expect(blue.requestCount == 50 && green.requestCount == 30)
    }

    @Test("the admin API sets the share, and ends it with a change of the split")
    func switched() throws {
        let blue = try Upstream(saying: "x")
        let green = try Upstream(saying: "x")
        let proxy = try Proxy(http: Self.configuration(blue, green, ""))
        let admin = try Admin(proxy)
        try proxy.get("/")
        #expect(green.requestCount == 0)
        let shadow = #""shadow": {"to": "green", "share": 50, "noise": 0, "headers": ["Content-Type"]}"#
        try admin.write("PUT", "/splits/app", "{\"weights\": {\"blue\": 100, \"green\": 0}, \(shadow)}")
        for _ in 0..<20 { try proxy.get("/") }
        try Self.wait(proxy, for: [10, 0, 0, 0])
        try admin.write("PUT", "/splits/app", #"{"weights": {"blue": 100, "green": 0}}"#)
        for _ in 0..<10 { try proxy.get("/") }
        #expect(try Self.counts(proxy) == [10, 0, 0, 0])
        #expect(green.requestCount == 10)
        let refused = try admin.ask("PUT", "/splits/app", #"{"weights": {"blue": 1}, "shadow": {"to": "green"}}"#)
        #expect(refused.status == 422 && refused.text.contains("/shadow/to"), "\(refused.text)")
    }

    @Test("a variant that hangs delays nobody")
    func hanging() throws {
        let blue = try Upstream(saying: "quick")
        let green = try Upstream { _, c in c.hold() }
        let proxy = try Proxy(http: Self.configuration(blue, green, "shadow green;"))
        for _ in 0..<300 { #expect(try proxy.get("/").text == "quick") }
        #expect(green.requestCount <= 128)
    }
}
