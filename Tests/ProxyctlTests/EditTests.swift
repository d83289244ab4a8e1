// Tests `upstreams put` and `upstreams edit`: an edit is sent, comes up again, or is kept, and is never lost.

import AdminAPI
import Foundation
import TestSupport
import Testing

@testable import proxyctl

@Suite("editing", .serialized)
struct EditTests {
    /// An editor that is a script: round by round one of `rounds` with the file as $1.
    private func editor(_ admin: FakeAdmin, _ rounds: [String]) throws -> String {
        let path = admin.directory + "/editor"
        var script =
            "#!/bin/sh\nn=$(cat \(path).n 2>/dev/null || echo 0); n=$((n+1)); "
            + "echo $n > \(path).n; cp \"$1\" \(path).seen.$n\ncase $n in\n"
        for (i, round) in rounds.enumerated() { script += "\(i + 1)) \(round) ;;\n" }
        script += "*) exit 9 ;;\nesac\n"
        try Programs.write(script, to: path, mode: "755")
        return path
    }

    private func seen(_ admin: FakeAdmin, _ round: Int) throws -> String {
        try String(contentsOfFile: admin.directory + "/editor.seen.\(round)", encoding: .utf8)
    }

    private func leftovers(_ admin: FakeAdmin) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: admin.directory).filter { $0.hasPrefix("proxyctl-") }
    }

    private static let change = "sed -i s/3001/3999/ \"$1\""
    private static var changed: String { Fixture.state.replacingOccurrences(of: "3001", with: "3999") }

    @Test func anEditIsSentOnConditionOfTheRevisionThatWasRead() throws {
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)], "PUT /upstreams?reason=more": [.accepted(43, "1 server changed")],
        ])
        let ran = try admin.run("upstreams", "edit", "--reason", "more", environment: ["EDITOR": editor(admin, [Self.change])])
        #expect(ran.status == 0, "\(ran)")
        #expect(ran.output.hasPrefix("Revision 43: 1 server changed"))
        #expect(admin.write?.text == Self.changed)
        #expect(admin.write?["If-Match"] == "\"42\"")
        #expect(try leftovers(admin) == [])
    }

    @Test func nothingEditedIsNothingSent() throws {
        let admin = try FakeAdmin(["GET /upstreams": [.json(Fixture.state)]])
        let ran = try admin.run("upstreams", "edit", environment: ["VISUAL": editor(admin, ["true"]), "EDITOR": "false"])
        #expect(ran.status == 0)
        #expect(ran.output == "Nothing was edited, nothing is changed.\n")
        #expect(admin.write == nil)
        #expect(try leftovers(admin) == [])
    }

    @Test func whatIsRefusedComesUpAgainWithItsReason() throws {
        let problem = Problem(.badAddress, "found port 3999", hint: "try 3001", pointer: "/upstreams/blue/servers/0/server")
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)], "PUT /upstreams": [.problem(problem), .accepted(43)],
        ])
        let ran = try admin.run(
            "upstreams", "edit", environment: ["EDITOR": editor(admin, [Self.change, "sed -i s/3999/4000/ \"$1\""])])
        #expect(ran.status == 0, "\(ran)")
        let second = try seen(admin, 2)
        #expect(
            second == """
                # Bad address: found port 3999
                #     at /upstreams/blue/servers/0/server
                # try 3001
                # Mend it, or leave it as it is to stop.

                """ + Self.changed)
        // The remarks are no part of what is sent.
        #expect(admin.write?.text == Fixture.state.replacingOccurrences(of: "3001", with: "4000"))
        #expect(try leftovers(admin) == [])
    }

    @Test func whatIsGivenUpIsKept() throws {
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)], "PUT /upstreams": [.problem(Problem(.badAddress, "no")), .accepted(43)],
        ])
        let ran = try admin.run("upstreams", "edit", environment: ["EDITOR": editor(admin, [Self.change, "true"])])
        #expect(ran.status == 1)
        let name = try #require(try leftovers(admin).first)
        #expect(ran.errors.contains("The edit is kept in \(admin.directory)/\(name)\n"))
        // As the hint says, the file can be put as it is, remarks and all.
        let put = try admin.run("upstreams", "put", name)
        #expect(put.status == 0, "\(put)")
        #expect(admin.write?.text == Self.changed)
        #expect(admin.write?["If-Match"] == "\"42\"")
    }

    @Test func aLostRaceKeepsTheEdit() throws {
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)],
            "PUT /upstreams": [.problem(Problem(.lostRace, "not 42", revision: 45)), .accepted(46)],
        ])
        let ran = try admin.run("upstreams", "edit", environment: ["EDITOR": editor(admin, [Self.change])])
        #expect(ran.status == 4)
        let name = try #require(try leftovers(admin).first)
        #expect(ran.errors.contains("put \(admin.directory)/\(name) --any-revision` takes it"))
        #expect(try admin.run("upstreams", "put", name, "--any-revision").status == 0)
        #expect(admin.write?["If-Match"] == nil)
    }

    @Test func anEditorThatFailsLosesNothing() throws {
        let admin = try FakeAdmin(["GET /upstreams": [.json(Fixture.state)]])
        let failed = try admin.run(
            "upstreams", "edit", environment: ["EDITOR": editor(admin, ["exit 1", Self.change + "; exit 1"])])
        #expect(failed.status == 2)
        #expect(try leftovers(admin) == [])
        let written = try admin.run("upstreams", "edit", environment: ["EDITOR": admin.directory + "/editor"])
        #expect(written.status == 2)
        #expect(written.errors.contains("The edit is kept in "))
        #expect(try leftovers(admin).count == 1)
        #expect(admin.write == nil)
    }

    @Test func aServerThatGoesAwayLosesNothing() throws {
        let admin = try FakeAdmin(["GET /upstreams": [.json(Fixture.state)]])
        let ran = try admin.run(
            "upstreams", "edit", environment: ["EDITOR": editor(admin, [Self.change + "; rm -f \(admin.directory)/admin.sock"])])
        #expect(ran.status == 3)
        #expect(ran.errors.contains("The edit is kept in "))
        #expect(try leftovers(admin).count == 1)
    }

    @Test func aPlanOfAnEditKeepsIt() throws {
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)], "PUT /upstreams?dry_run=1": [.json(Plan(revision: 42).json)],
        ])
        let ran = try admin.run("plan", "upstreams", "edit", environment: ["EDITOR": editor(admin, [Self.change])])
        #expect(ran.status == 0, "\(ran)")
        #expect(ran.errors.contains("The edit is kept in "))
        #expect(try leftovers(admin).count == 1)
    }

    @Test func aFileMayStandForEveryRevision() throws {
        let admin = try FakeAdmin(["PUT /upstreams": [.accepted(43)]])
        #expect(try admin.run("upstreams", "put", "-", input: "{\"upstreams\":{}}").status == 0)
        #expect(admin.write?["If-Match"] == nil)
        #expect(try admin.run("upstreams", "put", "-", "--if-match", "40", input: Fixture.state).status == 0)
        #expect(admin.write?["If-Match"] == "\"40\"")
    }
}
