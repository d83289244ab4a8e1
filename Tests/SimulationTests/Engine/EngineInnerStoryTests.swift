// Requests within requests, one story at a time over the simulated kernel: holds and reloads in the middle of them, parts and shadows
// that hang, blocks and conditions that are cut or wrong.

import AdminAPI
import Control
import Engine
import Simulation
import Testing

@Suite struct EngineInnerStoryTests {
    let world = World(seed: 1)
    static let names = ["pages", "parts", "blue", "green"]
    static func address(_ name: String) -> Address { .host(UInt8((names.firstIndex(of: name) ?? 0) + 2), 3001) }

    func configuration(_ http: String, _ server: String) -> String {
        let pools = Self.names.map { "upstream \($0) { server \(Self.address($0)); }" }.joined(separator: " ")
        return """
            error_log /log/error.log info; events {}
            http {
                log_format line '$http_x_id $status'; access_log \(SimulatedProxy.accessLog) line;
                proxy_read_timeout 2s; \(pools) \(http)
                server { listen \(SimulatedProxy.address); \(server) }
            }
            """
    }

    var peers: [(upstream: String, server: String)] { Self.names.map { ($0, Self.address($0).description) } }

    func proxy(_ http: String, _ server: String) throws -> SimulatedProxy {
        try SimulatedProxy(world, configuration(http, server), peers: peers)
    }

    func upstream(_ name: String, _ answer: @escaping (UpstreamRecord) -> Answer) -> HTTPUpstream {
        HTTPUpstream(world, name: name, at: Self.address(name), answer: answer)
    }

    static func page(_ text: String) -> Answer {
        var answer = Answer.text(text)
        answer.fields.append(("Content-Type", "text/html"))
        return answer
    }

    static func late(_ answer: Answer, ms: UInt64) -> Answer {
        var answer = answer
        answer.delayNs = ms * 1_000_000
        return answer
    }

    func client(_ id: String, afterMs: UInt64 = 1, target: String = "/", fields: [(String, String)] = []) -> HTTPClient {
        let client = HTTPClient(
            world, name: id, to: SimulatedProxy.address, requests: [PlannedRequest(id: id, target: target, fields: fields)])
        client.start(afterNs: afterMs * 1_000_000)
        return client
    }

    func run(_ proxy: SimulatedProxy, _ clients: [HTTPClient]) {
        #expect(proxy.run(until: { clients.allSatisfy(\.isFinished) }) == .done, "\(world.story)")
    }

    /// Nothing is left over when the workers have stopped.
    func end(_ proxy: SimulatedProxy) {
        proxy.stop()
        #expect(proxy.runToTheEnd() == .done)
        #expect(proxy.workers.allSatisfy { $0.accounts.inner == 0 && $0.accounts.shadowPairs == 0 })
        proxy.end()
        world.end()
    }

    func text(_ client: HTTPClient) -> String { String(decoding: client.records[0].body, as: UTF8.self) }

    // MARK: Pages

    @Test func aPageWhoseUpstreamStallsAfterItsPartCameIsCut() throws {
        let stalls = { (_: UpstreamRecord) -> Answer in
            var answer = Self.page("<!--#include virtual=\"/part\" wait=\"yes\" -->" + String(repeating: "x", count: 9000))
            answer.fault = .stallAfter(1000)
            return answer
        }
        let all = [upstream("pages", stalls), upstream("parts") { _ in Self.late(.text("part"), ms: 500) }]
        let proxy = try self.proxy("ssi on;", "location / { proxy_pass http://pages; } location /part { ssi off; proxy_pass http://parts; }")
        let one = client("0")
        run(proxy, [one])
        #expect(text(one).hasPrefix("partxxx") && one.records[0].outcome == .cut)
        let tookMs = (one.records[0].finishedNs - one.records[0].startedNs) / 1_000_000
        #expect((2000...3000).contains(tookMs), "\(tookMs) ms")
        withExtendedLifetime(all) { end(proxy) }
    }

    /// A part that is missing is replaced while the page is in the middle of another block.
    @Test func aBlockTakesItsPlaceWhateverThePageIsAt() throws {
        let parts = upstream("parts") { _ in Self.late(Answer(204), ms: 300) }
        let pages = upstream("pages") { _ in
            Self.page(
                "<!--#block name='a'-->A<!--#endblock--><!--#block name='open'-->O<!--#block name='b'-->o<!--#endblock-->"
                    + "1<!--#include virtual='/part' stub='a'-->2<!--#include virtual='/part' stub='open'-->3"
                    + "<!--#block name='c'-->" + String(repeating: "c", count: 5000) + "<!--#endblock-->4")
        }
        pages.pace = { _ in
            var pace = Pace()
            pace.writeBytes = 50...50
            pace.writeGapNs = 10_000_000...10_000_000
            return pace
        }
        let proxy = try self.proxy("ssi on;", "location / { proxy_pass http://pages; } location /part { proxy_pass http://parts; }")
        let one = client("0")
        run(proxy, [one])
        #expect(text(one) == "1A2O34")
        withExtendedLifetime(parts) { end(proxy) }
    }

    @Test func aBranchWithABadConditionIsNotTaken() throws {
        let text = "1<!--#if expr='$arg_no'-->2<!--#elif expr='$arg_no ~ x'-->3<!--#else-->4<!--#endif-->5"
            + "<!--#if expr='$arg_no'-->2<!--#elif expr='$arg_no = /(/'-->3<!--#endif-->6"
        let pages = upstream("pages") { _ in Self.page(text) }
        let proxy = try self.proxy("ssi on; ssi_silent_errors on;", "location / { proxy_pass http://pages; }")
        let one = client("0")
        run(proxy, [one])
        #expect(self.text(one) == "1456")
        withExtendedLifetime(pages) { end(proxy) }
    }

    // MARK: Holds and reloads

    private static let fillers = (0..<20).map { "location /f\($0)/ { return 404; }" }.joined(separator: " ")

    @Test func aHeldPartGoesOnUnderAnotherConfiguration() throws {
        let pages = upstream("pages") { _ in Self.page("<<!--#include virtual='/z/part'-->>") }
        let blue = upstream("blue") { _ in .text("blue") }
        let last = "location / { proxy_pass http://pages; } location /z/part { internal; ssi off; proxy_pass http://s; }"
        let proxy = try self.proxy("split s { blue 1; } ssi on;", Self.fillers + last)
        try proxy.controller.hold("s", HoldSettings(timeoutMs: 60_000, heldMax: 100))
        let one = client("0")
        let next = configuration("split s { blue 1; } ssi on;", last)
        world.after(100_000_000) { try? proxy.publish(next, peers: peers) }
        world.after(200_000_000) { _ = try? proxy.controller.release("s", rate: 1000) }
        run(proxy, [one])
        #expect(text(one) == "<blue>")
        withExtendedLifetime((pages, blue)) { end(proxy) }
    }

    /// What was asked while another configuration ran is asked again.
    @Test func permissionThatWasHeldIsAskedForUnderTheNewestConfiguration() throws {
        let pages = upstream("pages") { .text("\($0.head.field("x-user") ?? "-") \($0.head.field("x-more") ?? "-")") }
        let blue = upstream("blue") { _ in
            var answer = Answer(204)
            answer.fields = [("X-Who", "joe"), ("X-More", "more")]
            return answer
        }
        func server(_ more: String) -> String {
            """
            auth_request /auth; \(more) auth_request_set $user $upstream_http_x_who;
            location / { proxy_set_header X-User $user; \(more.isEmpty ? "" : "proxy_set_header X-More $more;") proxy_pass http://pages; }
            location = /auth { internal; proxy_pass http://s; }
            """
        }
        let proxy = try self.proxy("split s { blue 1; }", Self.fillers + server(""))
        try proxy.controller.hold("s", HoldSettings(timeoutMs: 60_000, heldMax: 100))
        let one = client("0")
        let next = configuration("split s { blue 1; }", server("auth_request_set $more $upstream_http_x_more;"))
        world.after(100_000_000) { try? proxy.publish(next, peers: peers) }
        world.after(200_000_000) { _ = try? proxy.controller.release("s", rate: 1000) }
        run(proxy, [one])
        #expect(one.records[0].status == 200 && text(one) == "joe more")
        #expect(blue.records.count == 2)
        #expect(EngineHoldTests.unbalanced(proxy.controller) == [])
        withExtendedLifetime(pages) { end(proxy) }
    }

    /// What a held request counts as goes by the configuration that it goes on under.
    @Test func limitsOfAHeldRequestAreThoseOfTheNewestConfiguration() throws {
        let blue = upstream("blue") { _ in Self.late(.text("blue"), ms: 1000) }
        let server = "location / { proxy_pass http://s; }"
        let proxy = try self.proxy("split s { blue 1; } limit_conn_zone $host zone=a:1m; limit_conn a 1;", server)
        try proxy.controller.hold("s", HoldSettings(timeoutMs: 60_000, heldMax: 100))
        let first = client("0")
        let next = configuration(
            "split s { blue 1; } limit_conn_zone $host zone=b:1m; limit_conn_zone $scheme zone=c:1m; limit_conn b 1; limit_conn c 9;", server)
        world.after(100_000_000) { try? proxy.publish(next, peers: peers) }
        world.after(200_000_000) { _ = try? proxy.controller.release("s", rate: 1000) }
        let second = client("1", afterMs: 500)
        let third = client("2", afterMs: 2000)
        run(proxy, [first, second, third])
        #expect([first, second, third].map(\.records[0].status) == [200, 503, 200])
        withExtendedLifetime(blue) { end(proxy) }
    }

    // MARK: Shadows and mirrors

    @Test func aShadowWaitsInNoLine() throws {
        let blue = upstream("blue") { _ in .text("same") }
        let green = upstream("green") { _ in .text("same") }
        let proxy = try self.proxy("split s { blue 1; green 0; shadow green noise=0%; }", "location / { proxy_pass http://s; }")
        try proxy.controller.hold("s", HoldSettings(timeoutMs: 60_000, heldMax: 100))
        let clients = (0..<3).map { client("\($0)", afterMs: UInt64(1 + $0)) }
        let world = world
        var releasedNs: UInt64 = 0
        world.after(100_000_000) {
            releasedNs = world.nowNs
            _ = try? proxy.controller.release("s", rate: 1)
        }
        run(proxy, clients)
        let waitedMs = zip(blue.records, green.records).map { ($1.atNs - $0.atNs) / 1_000_000 }
        #expect(waitedMs.count == 3 && waitedMs.allSatisfy { $0 < 10 }, "\(waitedMs)")
        #expect((green.records.last?.atNs ?? 0) - releasedNs < 2_500_000_000)
        end(proxy)
    }

    @Test func aShadowThatIsCutWithTheProxyIsNotCompared() throws {
        let blue = upstream("blue") { _ in .text("same") }
        let green = upstream("green") { _ in Self.late(.text("same"), ms: 1000) }
        let proxy = try self.proxy("split s { blue 1; green 0; shadow green noise=0%; }", "location / { proxy_pass http://s; }")
        run(proxy, [client("0")])
        #expect(proxy.run(until: { !green.records.isEmpty }) == .done)
        proxy.stop(gracefully: false)
        #expect(proxy.runToTheEnd() == .done)
        #expect(proxy.controller.shadowTally(of: "s") == ShadowTally())
        proxy.end()
        withExtendedLifetime(blue) { world.end() }
    }

    @Test func eachSplitHasItsShare() throws {
        let blue = upstream("blue") { _ in .text("same") }
        let green = upstream("green") { _ in .text("same") }
        let shadow = "blue 1; green 0; shadow green share=50% noise=0%;"
        let proxy = try self.proxy(
            "split s { \(shadow) } split t { \(shadow) }", "location / { proxy_pass http://s; } location /t { proxy_pass http://t; }")
        let clients = (0..<20).map { client("\($0)", afterMs: UInt64(1 + $0), target: $0 % 2 == 0 ? "/s" : "/t") }
        run(proxy, clients)
        end(proxy)
        #expect(green.records.count { $0.target == "/s" } == 5 && green.records.count { $0.target == "/t" } == 5)
        #expect(blue.records.count == 20)
    }

    @Test func aShadowOfEventsEndsWithItsClient() throws {
        let events = { (_: UpstreamRecord) -> Answer in
            var answer = Answer(body: Array(repeating: 0x0A, count: 1_000_000), framing: .untilClose)
            answer.fields.append(("Content-Type", "text/event-stream"))
            return answer
        }
        let blue = upstream("blue", events)
        let green = upstream("green", events)
        for upstream in [blue, green] {
            upstream.pace = { _ in
                var pace = Pace()
                pace.writeBytes = 100...100
                pace.writeGapNs = 100_000_000...100_000_000
                return pace
            }
        }
        let proxy = try self.proxy(
            "split s { blue 1; green 0; shadow green noise=0%; }", "location / { proxy_read_timeout 1h; proxy_pass http://s; }")
        let one = client("0")
        world.after(100_000_000) { one.leave() }
        let begunNs = world.nowNs
        #expect(proxy.run(until: { one.isFinished && blue.openConnections + green.openConnections == 0 }) == .done)
        #expect(world.nowNs - begunNs < 1_000_000_000)
        #expect(green.records.count == 1)
        #expect(proxy.controller.shadowTally(of: "s") == ShadowTally())
        end(proxy)
    }

    /// Places in the line of an upstream are for those that somebody waits for.
    @Test func mirrorsAndShadowsStandInNoLineForAPeer() throws {
        let blue = upstream("blue") { _ in .text("same") }
        let parts = upstream("parts") { _ in Self.late(.text("same"), ms: 1000) }
        let proxy = try self.proxy(
            """
            upstream narrow { server \(Self.address("parts")) max_conns=1; queue 1 timeout=60s; }
            split s { blue 1; narrow 0; shadow narrow noise=0%; }
            """,
            """
            location / { mirror /copy; proxy_pass http://blue; } location /copy { internal; proxy_pass http://narrow; }
            location /split { proxy_pass http://s; } location /direct { proxy_pass http://narrow; }
            """)
        let clients = [
            client("0"), client("1", afterMs: 100), client("2", afterMs: 200, target: "/split"), client("3", afterMs: 300, target: "/direct"),
        ]
        run(proxy, clients)
        #expect(clients.map(\.records[0].status) == [200, 200, 200, 200])
        #expect(parts.records.map(\.target) == ["/copy", "/direct"])
        #expect(proxy.controller.shadowTally(of: "s") == ShadowTally())
        withExtendedLifetime(blue) { end(proxy) }
    }

    @Test func nobodyReadsAMirrorsAnswerForEver() throws {
        let blue = upstream("blue") { _ in .text("blue") }
        let parts = upstream("parts") { _ in Answer(body: Array(repeating: 65, count: 100_000)) }
        parts.pace = { _ in
            var pace = Pace()
            pace.writeBytes = 100...100
            pace.writeGapNs = 1_000_000_000...1_000_000_000
            return pace
        }
        let proxy = try self.proxy("", "location / { mirror /copy; proxy_pass http://blue; } location /copy { internal; proxy_pass http://parts; }")
        let one = client("0")
        let begunNs = world.nowNs
        #expect(proxy.run(until: { one.isFinished && !parts.records.isEmpty && parts.openConnections == 0 }) == .done)
        #expect((55...70).contains((world.nowNs - begunNs) / 1_000_000_000))
        withExtendedLifetime(blue) { end(proxy) }
    }
}
