// Tests how tables, figures, receipts, plans and statuses read.

import AdminAPI
import Testing

@testable import proxyctl

@Suite("what people read")
struct TextTests {
    @Test func columnsAreAligned() {
        var table = Table([.left("NAME"), .right("N"), .left("WHAT"), .right("X")])
        table.rows = [
            [Cell("a"), Cell(1), Cell(""), Cell(10)], [Cell("böö"), Cell(1234), Cell("up", .green)], [],
            [Cell("x"), Cell(2), Cell("down"), Cell(3)],
        ]
        #expect(
            table.lines() == [
                "NAME     N  WHAT   X",
                "a        1        10",
                "böö   1234  up",
                "",
                "x        2  down   3",
            ])
        table.hasTitles = false
        #expect(table.lines(isColoured: true)[1] == "böö  1234  \u{1b}[32mup\u{1b}[0m")
    }

    @Test func foreignTextCannotSteerATerminal() {
        #expect(Cell("a\u{1b}[31mb\nc\u{9b}d\u{202e}e").text == "a?[31mb c?d?e")
        #expect(Words.printable("grün → 100 %") == "grün → 100 %")
    }

    static let spans: [(Int64, String)] = [
        (-1, "-"), (0, "0 µs"), (310, "310 µs"), (1200, "1.20 ms"), (12_345, "12.3 ms"), (123_456, "123 ms"),
        (999_999, "1000 ms"),
        (1_200_000, "1.2 s"), (59_940_000, "59.9 s"), (125_000_000, "2 min 5 s"), (11_400_000_000, "3 h 10 min"),
        (352_800_000_000, "4 d 2 h"),
        (.max, "106751991 d 4 h"),
    ]
    @Test(arguments: spans)
    func span(us: Int64, text: String) { #expect(Words.span(us: us) == text) }

    static let numbers: [(Double, Int, String)] = [
        (0, 1, "0.0"), (1.25, 1, "1.3"), (0.04, 1, "0.0"), (-0.04, 1, "0.0"), (-1.5, 2, "-1.50"), (99.95, 0, "100"),
        (12.034, 2, "12.03"),
        (.infinity, 1, "-"), (.nan, 1, "-"), (1e300, 1, "-"),
    ]
    @Test(arguments: numbers)
    func fixed(value: Double, digits: Int, text: String) { #expect(Words.fixed(value, digits) == text) }

    @Test func aGoodReceipt() {
        let receipt = Fixture.receipt()
        #expect(ReceiptText.isGood(receipt))
        let lines = ReceiptText.lines(receipt, isColoured: false)
        #expect(lines[0] == "Receipt of revision 43: release 42")
        #expect(lines[1].hasSuffix(" by alice"))
        #expect(
            lines.dropFirst(2).joined(separator: "\n") == """
                in force on all workers (2) after 310 µs; the last earlier request ended after 1.2 s

                                          before it  carried over     since
                started                      120345            12      3412
                  completed                  120340            12      3400
                  aborted by the client           3             0         2
                  failed by the upstream          2             0         0
                  failed by the proxy             0             0         0
                  moved on after a hold           0             0         0
                  in flight                       0             0        10
                                           balanced      balanced  balanced

                tunnels carried over 3, requests held 0, tried again 1
                connections closed by clients 7, by the proxy 0, by a drain 0

                Balanced: every request is accounted for, and the proxy failed none around this change.
                The figures still move: revision 43 serves, or requests of it are in flight.
                """)
    }

    @Test func aReceiptThatDoesNotBalance() {
        let receipt = Fixture.receipt { $0.after.completed -= 1 }
        #expect(!ReceiptText.isGood(receipt))
        let text = ReceiptText.lines(receipt, isColoured: false).joined(separator: "\n")
        #expect(text.contains("UNBALANCED"))
        #expect(text.contains("DOES NOT BALANCE: since: 3412 started, 3411 accounted for."))
        #expect(!text.contains("Balanced:"))
    }

    @Test func aReceiptOfFailures() {
        let receipt = Fixture.receipt {
            $0.carried.completed -= 2
            $0.carried.failedByProxy = 2
            $0.isFinal = true
            $0.visibleAfterUs = nil
            $0.workers = 1
        }
        #expect(receipt.balances)
        #expect(!ReceiptText.isGood(receipt))
        let text = ReceiptText.lines(receipt, isColoured: false).joined(separator: "\n")
        #expect(text.contains("The proxy failed 2 requests around this change."))
        #expect(text.contains("not in force on all workers (1) yet"))
        #expect(text.hasSuffix("The figures are final."))
    }

    /// What failed long before the change is not the change's.
    @Test func oldFailuresDoNotSpoilAReceipt() {
        let receipt = Fixture.receipt {
            $0.before.completed -= 1
            $0.before.failedByProxy = 1
        }
        #expect(ReceiptText.isGood(receipt))
    }

    @Test func status() {
        #expect(
            StatusText.lines(Fixture.status(), isColoured: false).joined(separator: "\n") == """
                Switchback 1.0, process 4211, 2 workers, up 1 min 40 s, journal on
                Revision 43. Connections 25, requests 1012: 1000 completed, 10 in flight, 2 failed by upstreams

                SPLIT  VARIANT  WEIGHT   SHARE
                app    blue         90  90.0 %  held, 12 waiting
                       green        10  10.0 %

                UPSTREAM  SERVER          WEIGHT  STATE           IN FLIGHT  REQUESTS  FAILURES  5XX
                blue      127.0.0.1:3001       1  up                      7      1000         2    0
                          127.0.0.1:3004       1  failed, backup          0         0         0    0
                green     no servers
                """)
    }

    @Test func whoIsSickIsToldWithTheReason() {
        var status = Fixture.status()
        var health = ServerHealth(server: "127.0.0.1:3001")
        health.changedAtMs = status.nowMs - 90_000
        status.upstreams[1].servers[0].health = health
        #expect(StatusText.lines(status, isColoured: false) == StatusText.lines(Fixture.status(), isColoured: false))
        health.state = .unhealthy
        health.why = "health check \"/health\": expected status 200-399, found 503"
        status.upstreams[1].servers[0].health = health
        #expect(
            StatusText.lines(status, isColoured: false).suffix(2)
                == ["", "blue 127.0.0.1:3001 is unhealthy for 1 min 30 s: health check \"/health\": expected status 200-399, found 503"])
        status.upstreams[1].servers = (0..<12).map { i in
            var server = ServerStatus(id: i, server: "h:\(i)", weight: 1)
            server.health = health
            return server
        }
        #expect(StatusText.lines(status, isColoured: false).last == "blue: and 2 more")
    }

    @Test func ratesAreBetweenTwoStatuses() throws {
        let first = Fixture.status()
        var second = Fixture.status(atMs: first.nowMs + 2000, requests: 1051)
        second.upstreams[1].servers[0].errors = 3
        let rates = try #require(Rates(from: first, to: second))
        let rate = try #require(rates.of(second.upstreams[1].servers[0], in: "blue"))
        #expect(rate.requests == 25.5)
        #expect(rate.errors == 1.5)
        let lines = StatusText.lines(second, since: first, isColoured: false)
        #expect(lines.contains { $0.hasSuffix("REQ/S  ERR/S") })
        #expect(lines.contains { $0.hasPrefix("blue") && $0.hasSuffix(" 25.5    1.5") })
        // Of another process, of the same moment, of a server that is new: nothing to compare.
        #expect(Rates(from: nil, to: second) == nil)
        #expect(Rates(from: second, to: second) == nil)
        var restarted = second
        restarted.processID += 1
        #expect(Rates(from: first, to: restarted) == nil)
        #expect(rates.of(second.upstreams[1].servers[0], in: "red") == nil)
        #expect(rates.of(ServerStatus(id: 0, server: "127.0.0.1:3001", weight: 1), in: "blue") == nil)
    }

    @Test func plan() {
        var plan = Plan(revision: 42)
        plan.differences = [
            StateDifference(.changed, "/splits/app/weights/green", from: "10", to: "50"),
            StateDifference(.removed, "/upstreams/red", from: "{}"), StateDifference(.added, "/upstreams/x"),
        ]
        plan.servers = [
            PlannedServer(upstream: "blue", server: "127.0.0.1:3001", state: "up"),
            PlannedServer(upstream: "blue", server: "b:2", state: "down"),
        ]
        plan.inFlightOnLeaving = 3
        plan.longLivedOnLeaving = 1
        plan.usersThatMove = ["app": 40]
        plan.warnings = ["green has no server that is up"]
        #expect(
            PlanText.lines(plan, isColoured: false).joined(separator: "\n") == """
                Would change revision 42 (nothing has been changed):
                  ~ /splits/app/weights/green  10 -> 50
                  - /upstreams/red  {}
                  + /upstreams/x

                Would serve:
                  UPSTREAM  SERVER          NOW
                  blue      127.0.0.1:3001  up
                            b:2             down

                In flight on servers that would get no new requests: 3, 1 of them long-lived connections. They end where they are.

                Users that would get another variant: app 40.0 %

                warning: green has no server that is up
                """)
        #expect(PlanText.lines(Plan(revision: 42), isColoured: false) == ["Nothing would change: revision 42 is like that."])
    }

    @Test func documentsHaveRemarksAboveThem() throws {
        let document = StateDocument(Array("# a\n#\n{\"revision\": 7}\n#".utf8))
        #expect(String(decoding: document.bytes, as: UTF8.self) == "{\"revision\": 7}\n#")
        #expect(StateDocument(Array("{\"revision\": 7}".utf8)).revision == 7)
        #expect(StateDocument(document.below("x\n\ny")).bytes == document.bytes)
        #expect(String(decoding: document.below("x\n\ny"), as: UTF8.self).hasPrefix("# x\n#\n# y\n{"))
        #expect(StateDocument(Array("# no end".utf8)).bytes.isEmpty)
        #expect(StateDocument([]).revision == nil)
    }
}
