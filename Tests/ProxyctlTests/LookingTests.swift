// Tests the verbs that only look, finding and reaching the server, and completion.

import AdminAPI
import Foundation
import TestSupport
import Testing

@testable import proxyctl

@Suite("looking", .serialized)
struct LookingTests {
    /// `proxyctl upstreams get > before.json && ...` on a full disk.
    @Test func outputThatIsNotTakenIsAFailure() throws {
        let admin = try FakeAdmin(["GET /upstreams": [.json(Fixture.state)]])
        let errors = admin.directory + "/errors"
        let status = system("'\(Ran.binary)' upstreams get --admin '\(admin.directory)/admin.sock' > /dev/full 2> '\(errors)'")
        #expect((status >> 8) & 0xff == 1)
        let told = try String(contentsOfFile: errors, encoding: .utf8)
        #expect(told == "proxyctl: it is done, but standard output has not taken all of it: no space left on device\n")
    }

    @Test func status() throws {
        let status = Fixture.status()
        let admin = try FakeAdmin(["GET /status": [.json(status.json)]])
        let ran = try admin.run("status")
        #expect(ran.status == 0)
        // Upstreams are told by name.
        #expect(ran.output == StatusText.lines(status, isColoured: false).map { $0 + "\n" }.joined())
        #expect(try admin.run("status", "--json").output == status.json.text())
    }

    @Test func watchingTellsRates() throws {
        let first = Fixture.status()
        let admin = try FakeAdmin([
            "GET /status": [.json(first.json), .json(Fixture.status(atMs: first.nowMs + 1000, requests: 1050).json)]
        ])
        let ran = try admin.run("status", "--watch", "0.05", "--count", "2")
        #expect(ran.status == 0, "\(ran)")
        #expect(ran.output.components(separatedBy: "Switchback 1.0").count == 3)
        #expect(ran.output.components(separatedBy: "REQ/S").count == 2)
        #expect(ran.output.contains("   50.0    0.0\n"))
        #expect(!ran.output.contains("\u{1b}"))
    }

    @Test func history() throws {
        let revisions = [
            Revision(
                number: 43, kind: .restore, atMs: 1_795_269_802_000, who: "alice", reason: "bad\u{1b}[2J",
                summary: "split app: green 50 -> 10", restores: 41),
            Revision(number: 1, kind: .start, atMs: 0, who: "", reason: "", summary: "2 upstreams"),
        ]
        let list = JSON.array(revisions.map(\.json))
        let admin = try FakeAdmin([
            "GET /revisions?limit=20": [.json(list), .json(JSON.members(["revisions": list]))],
            "GET /revisions?limit=1": [.json("[]")],
        ])
        // The server may answer a list or an object with one.
        for _ in 0..<2 {
            #expect(
                try admin.run("history").output == """
                    REVISION  MADE                 BY     KIND           WHAT                       WHY
                          43  2026-11-21 14:03:22  alice  restore to 41  split app: green 50 -> 10  bad?[2J
                           1  1970-01-01 00:00:00         start          2 upstreams

                    """)
        }
        #expect(try admin.run("history", "-l", "1").status == 0)
    }

    @Test func documentsAreUnchanged() throws {
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)], "GET /upstreams/a%2Fb": [.json("{}")],
            "GET /revisions/7": [.json("{ \"x\": 1 }\n")],
            "GET /export": [Reply(fields: ["Content-Type: text/plain"], body: "upstream blue {\n}\n")],
        ])
        #expect(try admin.run("upstreams", "get").output == Fixture.state)
        #expect(try admin.run("upstreams", "get", "a/b").output == "{}\n")
        #expect(try admin.run("show", "7").output == "{ \"x\": 1 }\n")
        #expect(try admin.run("export").output == "upstream blue {\n}\n")
    }

    @Test func diff() throws {
        let list = #"[{"kind":"changed","pointer":"/a","from":1,"to":{"x":[2]}},{"kind":"added","pointer":"/b","to":"t"}]"#
        let admin = try FakeAdmin(["GET /revisions/1/diff/2": [.json(list), .json("{\"differences\":[]}")]])
        #expect(try admin.run("diff", "1", "2").output == "~ /a  1 -> {\"x\":[2]}\n+ /b  \"t\"\n")
        #expect(try admin.run("diff", "1", "2").output == "Revisions 1 and 2 have the same pools and splits.\n")
    }

    // MARK: Events

    @Test func eventsGoOnWhereTheyWere() throws {
        @Sendable func event(_ id: UInt64, _ text: String) -> String {
            let event = Event(id: id, kind: .serverFailed, atMs: 1_795_269_802_000, revision: 43, subject: "blue", text: text)
            return "id: \(id)\nevent: x\ndata: \(event.json.text(pretty: false))\n\n"
        }
        let upstream = try Upstream { request, connection in
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            let text =
                request["Last-Event-ID"] == "2"
                ? event(3, "c") + event(4, "d") : "retry: 10\n\n" + event(1, "a") + event(2, "b") + "id: 3\ndata: half"
            try connection.send(head + String(text.utf8.count, radix: 16) + "\r\n" + text + "\r\n")
            // In the middle of the stream.
            connection.close()
        }
        defer { upstream.stop() }
        let ran = try Ran(["events", "--count", "3", "--admin", "127.0.0.1:\(upstream.port)"], in: "/tmp")
        #expect(ran.status == 0)
        let expected = ["a", "b", "c"].map { "2026-11-21 14:03:22  43  server-failed  blue  \($0)\n" }
        #expect(ran.output == expected.joined())
        #expect(ran.errors.contains("trying again"))
        #expect(upstream.requests.map { $0["Last-Event-ID"] } == [nil, "2"])
        #expect(upstream.requests.allSatisfy { $0["Accept"] == "text/event-stream" })
        let json = try Ran(
            ["events", "--count", "1", "--after", "2", "--json", "--admin", "127.0.0.1:\(upstream.port)"], in: "/tmp")
        #expect(json.output.hasPrefix("{\"at\":\"2026-11-21T14:03:22.000Z\",\"id\":3,"))
    }

    // MARK: Reaching

    @Test func theSocketIsFoundInItsPlaces() throws {
        for place in ["admin.sock", "logs/admin.sock", "state/admin.sock"] {
            let admin = try FakeAdmin(["GET /export": [Reply(body: place)]], socket: place)
            #expect(try admin.run("export", isNamed: false).output == place + "\n")
        }
    }

    @Test func whatWasTriedIsTold() throws {
        let directory = try Harness.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        // A socket that nobody serves any more.
        close(try Sockets.listen(.unix(directory + "/admin.sock")))
        let ran = try Ran(["status"], in: directory)
        #expect(ran.status == 3)
        #expect(ran.errors.contains("    ./admin.sock: nobody listens there\n    ./logs/admin.sock: no such socket\n"))
        #expect(ran.errors.contains("Is proxyd running?"))
        let one = try Ran(["status", "--admin", "/nowhere/x.sock"], in: directory)
        #expect(one.status == 3)
        #expect(one.errors.hasPrefix("proxyctl: cannot reach unix:/nowhere/x.sock: no such socket\n"))
        let bad = try Ran(["status"], environment: ["PROXYCTL_ADMIN": "https://x"], in: directory)
        #expect(bad.status == 2)
    }

    @Test func anAdminLocationIsReachedWithATokenAndAPrefix() throws {
        let seen = try Upstream { request, connection in
            let isWelcome = request["Authorization"] == "Bearer s3cret" && request.target == "/_admin/export"
            let problem = Problem(.unauthorized, "no token was given")
            if isWelcome { return try connection.answerChunked(["yes"]) }
            try connection.answer("401 Unauthorized", ["Content-Type: application/problem+json"], body: problem.json.text())
        }
        defer { seen.stop() }
        let directory = try Harness.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try "# tokens\nalice s3cret\nbob other\n".write(toFile: directory + "/token", atomically: true, encoding: .utf8)
        let address = "http://127.0.0.1:\(seen.port)/_admin/"
        #expect(try Ran(["export", "--admin", address, "--token", "s3cret"], in: directory).output == "yes\n")
        #expect(try Ran(["export", "--admin=\(address)", "--token-file", "token"], in: directory).output == "yes\n")
        #expect(
            try Ran(
                ["--admin", "127.0.0.1:\(seen.port)/_admin", "export"], environment: ["PROXYCTL_TOKEN": "s3cret"], in: directory
            ).output == "yes\n")
        let refused = try Ran(["export", "--admin", address], in: directory)
        #expect(refused.status == 1)
        #expect(
            refused.errors
                == "proxyctl: Not authorized: no token was given\nGive the token with --token-file or PROXYCTL_TOKEN.\n")
        #expect(seen.requests.first?["Host"] == "127.0.0.1:\(seen.port)")
    }

    /// Whatever is on the other side, it ends in words and a status.
    @Test(arguments: [
        ("", "ended without an answer"), ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", "ended in the middle"),
        ("SSH-2.0-x\r\n\r\n", "not HTTP/1.1"), ("HTTP/1.1 200 OK\r\n\r\n<html>", "the answer is no JSON"),
        ("HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<html>", "the server answers 404"),
        ("HTTP/1.1 200 OK\r\n\r\n{\"revision\": \"x\"}", "not understood"),
    ])
    func strangers(bytes: String, words: String) throws {
        let stranger = try Upstream { _, connection in
            try connection.send(bytes)
            connection.close()
        }
        defer { stranger.stop() }
        let ran = try Ran(["status", "--admin", "http://127.0.0.1:\(stranger.port)"], in: "/tmp")
        #expect(ran.status == 3, "\(ran)")
        #expect(ran.errors.contains(words))
        #expect(ran.output == "")
    }

    @Test func aWriteWithoutAnAnswerIsNotCalledUndone() throws {
        let stranger = try Upstream { _, connection in connection.reset() }
        defer { stranger.stop() }
        let ran = try Ran(["undo", "--admin", "http://127.0.0.1:\(stranger.port)"], in: "/tmp")
        #expect(ran.status == 3)
        #expect(ran.errors.contains("Whether the change was made is not known"))
    }

    /// A server that refuses a large body before it has read it is heard all the same.
    @Test func anEarlyAnswerIsHeard() throws {
        let problem = Problem(.tooLarge, "found 9 MiB")
        let upstream = try Upstream(readsBodies: false) { _, connection in
            try connection.answer(
                "413 Too Large", ["Content-Type: application/problem+json", "Connection: close"], body: problem.json.text())
            connection.stream.halfClose()
            connection.hold()
        }
        defer { upstream.stop() }
        let body = "{\"upstreams\":{}}" + String(repeating: " ", count: 9 << 20)
        let ran = try Ran(["upstreams", "put", "-", "--admin", "http://127.0.0.1:\(upstream.port)"], input: body, in: "/tmp")
        #expect(ran.status == 1, "\(ran)")
        #expect(ran.errors.contains("found 9 MiB"))
    }

    // MARK: Completion

    @Test(arguments: ["bash", "zsh", "fish"])
    func scripts(shell: String) throws {
        let ran = try Ran(["--generate-completion-script", shell], in: "/tmp")
        #expect(ran.status == 0)
        #expect(ran.output.contains("proxyctl"))
    }

    @Test func namesAreCompletedByAskingTheServer() throws {
        let admin = try FakeAdmin(["GET /upstreams": [.json(Fixture.state)]])
        let words = ["proxyctl", "switch", "", "--admin", admin.directory + "/admin.sock"]
        func complete(_ position: [String]) throws -> Ran {
            try Ran(["---completion"] + position + ["2", "0"] + words, environment: ["SAP_SHELL": "bash"], in: "/tmp")
        }
        let ran = try complete(["switch", "--", "positional@0"])
        #expect(ran.status == 0, "\(ran)")
        #expect(ran.output.split(separator: "\n") == ["blue", "green", "red"])
        // Without a server there are none, and no complaint.
        admin.stop()
        let none = try complete(["switch", "--", "positional@0"])
        #expect(none.status == 0)
        #expect(none.output.split(separator: "\n").isEmpty)
        #expect(none.errors == "")
    }
}
