import CLinux
import AdminAPI
import Bytes
import Testing

@testable import Control
@testable import Engine

@Suite("Answers of the admin API that take time")
struct AdminLiveTests {
    private func text(_ desk: AdminDesk, _ handle: Handle) -> String {
        var bytes: [UInt8] = []
        for part in desk.parts[handle] ?? [] {
            switch part {
            case .answer(let answer): bytes += answer.body
            case .data(let more): bytes += more
            case .end: bytes += Array("END".utf8)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func ids(_ text: String) -> [String] { text.split(separator: "\n").filter { $0.hasPrefix("id: ") }.map { String($0.dropFirst(4)) } }

    private func change(_ desk: AdminDesk, _ weight: Int) { desk.ask("PATCH", "/splits/app", #"{"weights": {"green": \#(weight)}}"#) }

    // MARK: Events

    @Test func eventsAreTold() throws {
        let desk = try AdminDesk()
        change(desk, 11)
        let reader = desk.send("GET", "/events")
        let head = try #require(desk.answer(to: reader))
        #expect(head.isOpen)
        #expect(head.contentType == "text/event-stream")
        #expect(text(desk, reader) == "retry: 1000\n\n", "what was before is not told")
        change(desk, 12)
        desk.ask("POST", "/splits/app/hold")
        let told = text(desk, reader)
        #expect(ids(told) == ["3", "4"])
        #expect(told.contains("event: held\n"))
        for line in told.split(separator: "\n") where line.hasPrefix("data: ") {
            let json = try JSON.parse(String(line.dropFirst(6)))
            #expect(SchemaCheck.faults(of: json, by: "Event") == [])
        }
    }

    @Test(arguments: [("/events?after=1", nil, ["2", "3"]), ("/events", "2", ["3"]), ("/events", "99", ["1", "2", "3"]), ("/events?after=0", nil, ["1", "2", "3"])]
        as [(String, String?, [String])])
    func whoComesBackTakesUpWhereHeWas(target: String, field: String?, wanted: [String]) throws {
        let desk = try AdminDesk()
        for weight in [11, 12] { change(desk, weight) }
        let reader = desk.send("GET", target, nil, field.map { [("Last-Event-ID", $0)] } ?? [])
        #expect(ids(text(desk, reader)) == wanted)
        change(desk, 13)
        #expect(ids(text(desk, reader)) == wanted + ["4"])
    }

    @Test func aCommentShowsThatTheStreamLives() throws {
        let desk = try AdminDesk()
        let reader = desk.send("GET", "/events")
        desk.turn(after: 14_900)
        #expect(!text(desk, reader).contains(":\n\n"))
        desk.turn(after: 200)
        #expect(text(desk, reader).hasSuffix(":\n\n"))
    }

    @Test func readersAreBoundedAndThoseWhoAreGoneAreForgotten() throws {
        let desk = try AdminDesk()
        var readers: [Handle] = []
        for _ in 0..<256 { readers.append(desk.send("GET", "/events")) }
        #expect(desk.ask("GET", "/events").problem == "busy")
        desk.inbox.gone(AdminReply(mailbox: desk.worker, handle: readers[7]))
        #expect(desk.answer(to: desk.send("GET", "/events"))?.status == 200)
        #expect(desk.server.live.readerCount == 256)
        desk.controller.stop()
        desk.turn()
        #expect(desk.server.live.readerCount == 0)
        #expect(text(desk, readers[0]).hasSuffix("END"))
    }

    @Test func headOfEventsEnds() throws {
        let desk = try AdminDesk()
        #expect(desk.ask("HEAD", "/events").answer.isOpen == false)
        #expect(desk.server.live.readerCount == 0)
    }

    @Test func serversThatFailAndRecoverAreTold() throws {
        let desk = try AdminDesk()
        let reader = desk.send("GET", "/events")
        desk.turn(after: 250)
        let definition = try #require(desk.controller.definitions.first { $0.settings.value.name.string == "blue" })
        let counters = definition.peers[0].counters
        counters.countFailure(nowMs: desk.nowMs)
        desk.turn(after: 250)
        #expect(text(desk, reader).contains("event: server-failed"))
        #expect(text(desk, reader).contains("127.0.0.1:3001"))
        counters.forgetFailures()
        desk.turn(after: 250)
        #expect(text(desk, reader).contains("event: server-recovered"))
        #expect(desk.controller.events.after(0).filter { $0.kind != .revision }.count == 2)
    }

    // MARK: Receipts

    @Test func aReceiptWaitsUntilEveryWorkerServesByTheRevision() throws {
        let desk = try AdminDesk()
        change(desk, 11)
        let waiting = desk.send("GET", "/receipts/2?wait=1")
        desk.turn(after: 10)
        #expect(desk.answer(to: waiting) == nil)
        #expect(desk.server.live.count == 1)
        desk.adopt()
        desk.turn(after: 2)
        let answer = Asked(try #require(desk.answer(to: waiting)))
        #expect(answer.json["visible_after_us"]?.isNull == false)
        #expect(desk.server.live.count == 0)
        #expect(desk.turn() == nil, "nothing waits, so nothing is to be woken")
    }

    @Test func aReceiptWaitsUntilItIsFinalOrTheTimeIsOver() throws {
        let desk = try AdminDesk()
        desk.adopt()
        change(desk, 11)
        desk.adopt()
        let waiting = desk.send("GET", "/receipts/2?wait=final&timeout=5s")
        let short = desk.send("GET", "/receipts/2?wait=final&timeout=100ms")
        #expect(desk.answer(to: desk.send("GET", "/receipts/2?wait=final&timeout=0s"))?.status == 200)
        desk.turn(after: 50)
        #expect(desk.answer(to: short) == nil)
        desk.turn(after: 60)
        #expect(Asked(try #require(desk.answer(to: short))).json["final"] == false)
        change(desk, 12)
        desk.adopt()
        desk.turn(after: 30)
        #expect(Asked(try #require(desk.answer(to: waiting))).json["final"] == true)
    }

    @Test func waitsAreBoundedAndForgotten() throws {
        let desk = try AdminDesk()
        change(desk, 11)
        var first: Handle?
        for _ in 0..<1024 { first = first ?? desk.send("GET", "/receipts/2?wait=1") }
        for _ in 0..<1023 { desk.send("GET", "/receipts/2?wait=1") }
        #expect(desk.server.live.count == 1024)
        #expect(desk.ask("GET", "/receipts/2?wait=1").problem == "busy")
        #expect(desk.ask("GET", "/receipts/2").status == 200)
        // Every second each is sent a part without bytes: a worker without the exchange says that it is gone.
        let gone = try #require(first)
        desk.turn(after: 1000)
        #expect(desk.parts[gone]?.contains { if case .data(let bytes) = $0 { bytes.isEmpty } else { false } } == true)
        desk.inbox.gone(AdminReply(mailbox: desk.worker, handle: gone))
        desk.turn()
        #expect(desk.server.live.count == 1023)
    }

    // MARK: Drains

    @Test func aDrainIsAnsweredWhenNothingIsInFlight() throws {
        let desk = try AdminDesk()
        let definition = try #require(desk.controller.definitions.first { $0.settings.value.name.string == "blue" })
        definition.peers[1].counters.countStart()
        let waiting = desk.send("POST", "/upstreams/blue/drain?timeout=10s&wait=1", #"{"reason": "new machine"}"#)
        desk.adopt()
        desk.turn(after: 100)
        #expect(desk.answer(to: waiting) == nil)
        #expect(desk.ask("GET", "/upstreams/blue/servers/1").json["drain"] == true)
        let other = desk.ask("POST", "/upstreams/blue/drain")
        #expect(other.status == 202)
        #expect(other.json["drained"] == false)
        #expect(other.json["in_flight"] == 1)
        definition.peers[1].counters.countEnd()
        desk.turn(after: 100)
        let answer = Asked(try #require(desk.answer(to: waiting)))
        #expect(answer.status == 200)
        #expect(answer.json["drained"] == true)
        #expect(answer.json["reason"] == "new machine")
        #expect(SchemaCheck.faults(of: answer.json, by: "Drained") == [])
        #expect(desk.controller.events.after(0).map(\.kind).contains(.drained))
    }

    @Test func aDrainThatTakesTooLongSaysWhatIsLeft() throws {
        let desk = try AdminDesk()
        let definition = try #require(desk.controller.definitions.first { $0.settings.value.name.string == "blue" })
        definition.peers[0].counters.countStart()
        let waiting = desk.send("POST", "/upstreams/blue/drain?timeout=1s&wait=1")
        desk.adopt()
        desk.turn(after: 1100)
        let answer = Asked(try #require(desk.answer(to: waiting)))
        #expect(answer.status == 202)
        #expect(answer.json["in_flight"] == 1)
        definition.peers[0].counters.countEnd()
    }

    // MARK: The audit log

    @Test func everyWriteIsInTheAuditLog() throws {
        let folder = "/tmp/switchback-audit-\(UInt64.random(in: 0...(.max)))"
        #expect(mkdir(folder, 0o700) == 0)
        defer {
            unlink(folder + "/audit.log")
            unlink(folder + "/audit.log.1")
            rmdir(folder)
        }
        let desk = try AdminDesk(auditFolder: folder)
        change(desk, 11)
        desk.ask("POST", "/undo?reason=bad+idea", nil, client: .unix(user: 0))
        desk.ask("POST", "/undo?dry_run=1")
        desk.ask("GET", "/status")
        desk.ask("PATCH", "/splits/app", #"{"weights": {"grene": 1}, "reason": "a\nb"}"#)
        #expect(rename(folder + "/audit.log", folder + "/audit.log.1") == 0)
        desk.server.audit.reopen()
        change(desk, 12)
        let lines = try lines(folder + "/audit.log.1").map { try JSON.parse($0) }
        #expect(lines.count == 3)
        #expect(lines[0]["revision"] == 2)
        #expect(lines[1]["reason"] == "bad idea")
        #expect(lines[1]["who"] == "root")
        #expect(lines[1]["path"] == "/undo")
        #expect(lines[2]["problem"] == "unknown-variant")
        #expect(lines[2]["revision"] == nil)
        #expect(lines[2]["reason"] == "a\nb")
        #expect(try self.lines(folder + "/audit.log").count == 1)
        var facts = stat()
        #expect(stat(folder + "/audit.log", &facts) == 0)
        #expect(facts.st_mode & 0o777 == 0o600)
    }

    private func lines(_ path: String) throws -> [String] {
        String(decoding: try LinuxSystemFiles().read(path), as: UTF8.self).split(separator: "\n").map(String.init)
    }
}
