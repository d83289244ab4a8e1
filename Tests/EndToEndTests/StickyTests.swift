// Owns sessions that stay with their server: the cookie of `sticky`, and what a server's `drain` means to them.

import Foundation
import TestSupport
import Testing

@Suite("sticky sessions", .ownThread)
struct StickyTests {
    private func proxy(_ upstreams: [Upstream], _ sticky: String, _ parameters: [String] = ["", ""]) throws -> Proxy {
        let servers = zip(upstreams, parameters).map { "server \($0.endpoint) \($1);" }.joined(separator: " ")
        return try Proxy(server: "location / { proxy_pass http://u; }", http: "upstream u { \(servers) \(sticky) }")
    }

    private func upstreams() throws -> [Upstream] { try ["a", "b"].map { try Upstream(saying: $0) } }

    /// `name=value` of the answer's only Set-Cookie.
    private func pair(_ response: Response) -> String {
        let cookies = response.values("Set-Cookie")
        #expect(cookies.count == 1)
        return String((cookies.first ?? "").prefix { $0 != ";" })
    }

    @Test func aClientStaysWithItsServerAsLongAsItSendsTheCookie() throws {
        let both = try upstreams()
        defer { for upstream in both { upstream.stop() } }
        let proxy = try proxy(both, "sticky cookie srv_id;")
        let first = try proxy.get()
        let cookie = pair(first)
        #expect(cookie.hasPrefix("srv_id=") && cookie.utf8.count == 7 + 16)
        for _ in 0..<6 {
            let again = try proxy.get("/", ["Cookie: x=1; \(cookie)"])
            #expect(again.text == first.text && pair(again) == cookie)
        }
        let others = try (0..<4).map { _ in try proxy.get("/", ["Cookie: srv_id=unknown"]).text }
        #expect(Set(others) == ["a", "b"])
    }

    @Test(
        arguments: [
            ("", ""), ("expires=max", "; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000"),
            ("path=/app secure httponly domain=.example.com samesite=strict", "; domain=.example.com; httponly; secure; samesite=strict; path=/app"),
            ("domain=$arg_d samesite=$arg_s", "; domain=here; samesite=lax"), ("samesite=$arg_d", "; samesite=strict"), ("domain=$arg_none", ""),
        ])
    func theCookieHasItsAttributes(parameters: String, attributes: String) throws {
        let both = try upstreams()
        defer { for upstream in both { upstream.stop() } }
        let proxy = try proxy(both, "sticky cookie s \(parameters);")
        let cookie = try proxy.get("/?d=here&s=lax").values("Set-Cookie").first ?? ""
        #expect(cookie.dropFirst(2 + 16) == attributes)
    }

    @Test func anExpiryIsADateAndAnAge() throws {
        let both = try upstreams()
        defer { for upstream in both { upstream.stop() } }
        let proxy = try proxy(both, "sticky cookie s expires=1h;")
        let cookie = try proxy.get().values("Set-Cookie").first ?? ""
        #expect(cookie.contains(/; expires=\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT; max-age=3600$/))
    }

    @Test func aDrainedServerKeepsItsSessionsAndNoOthers() throws {
        let both = try upstreams()
        let proxy = try proxy(both, "sticky cookie s;")
        let text = proxy.configuration
        let cookies = try (0..<2).map { _ in try proxy.get() }.sorted { $0.text < $1.text }.map { pair($0) }
        try proxy.reload(text.replacingOccurrences(of: "server \(both[0].endpoint) ;", with: "server \(both[0].endpoint) drain;")) {
            try (0..<4).allSatisfy { _ in try proxy.get().text == "b" }
        }
        for _ in 0..<4 {
            let stuck = try proxy.get("/", ["Cookie: \(cookies[0])"])
            #expect(stuck.text == "a" && stuck.values("Connection") == ["close"])
            #expect(try proxy.get("/", ["Cookie: \(cookies[1])"]).text == "b")
        }
    }

    @Test func aSessionWhoseServerIsGoneFindsAnother() throws {
        let both = try upstreams()
        let proxy = try proxy(both, "sticky cookie s;", ["drain", ""])
        // The drained server refuses: the only other one is asked although the drained one was no choice of the balancer's.
        let one = try Proxy(server: "location / { proxy_pass http://u; }", http: "upstream u { server \(both[0].endpoint); sticky cookie s; }")
        let cookie = pair(try one.get())
        #expect(try proxy.get("/", ["Cookie: \(cookie)"]).text == "a")
        both[0].refuse()
        let answer = try proxy.get("/", ["Cookie: \(cookie)"])
        #expect(answer.text == "b" && pair(answer) != cookie)
    }

    @Test(
        arguments: [
            ("sticky cookie;", "sticky"), ("sticky route $arg_a;", "\"route\" and \"learn\" are not supported"),
            ("sticky cookie s; sticky cookie t;", "duplicate"), ("sticky cookie s path=/ path=/;", "parameter \"path\" is duplicate"),
            ("sticky cookie s expire=1h;", "did you mean \"expires\"?"), ("sticky cookie s samesite=maybe;", "strict, lax, none"),
            ("sticky cookie s domain=$nothing;", "unknown \"nothing\" variable"), ("sticky cookie s 'path=/;x';", "sticky"),
        ])
    func mistakesAreTold(directives: String, words: String) throws {
        let proxy = try Proxy(http: "upstream u { server 127.0.0.1:1; \(directives) }", starting: false)
        let (status, output) = try proxy.run(["-t"])
        #expect(status != .exited(0) && output.contains(words), "\(output)")
    }
}
