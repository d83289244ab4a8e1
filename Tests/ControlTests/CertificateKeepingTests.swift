// Owns what becomes of replaced certificates over time: restarts, reloads of the file, full disks, damage, and warnings before the end.

import AdminAPI
import CLinux
import Testing

@testable import Control
@testable import Engine

@Suite("Certificates over time")
struct CertificateKeepingTests {
    private typealias Made = MadeCertificates
    private static let dayMs: Int64 = 86_400_000

    /// A state folder: journal and pairs.
    private final class Folder {
        let journal = MemoryDisk()
        let pairs = MemoryDisk()
        /// Whether anybody opened the folder of pairs.
        private(set) var isMade = false

        func start(_ certificate: String = "a", laterMs: Int64 = 0, servers: String? = nil) throws -> AdminDesk {
            let (journal, replay) = try Journal.open(JournalStorage(journal))
            let store = CertificateStore(opening: { () throws(JournalFailure) in
                self.isMade = true
                return self.pairs
            })
            if let servers {
                return try AdminDesk(
                    servers + AdminDesk.pools, journal: journal, replay: replay, files: certificateFiles(certificate), certificates: store,
                    epochMs: Made.nowMs + laterMs)
            }
            return try certificateDesk(certificate, journal: journal, replay: replay, certificates: store, laterMs: laterMs)
        }
    }

    // MARK: Restarts

    @Test func aRestartShowsWhatWasShown() throws {
        let folder = Folder()
        var desk = try folder.start()
        #expect(!folder.isMade, "who replaces nothing has no folder for it")
        desk.ask("PUT", "/certificates/site", try Made.body("b"))
        desk.ask("PUT", "/certificates/site", try Made.body("rsa"))
        desk.ask("DELETE", "/certificates/site")
        desk.ask("POST", "/undo")
        #expect(folder.pairs.pendingCount == 0)
        desk = try folder.start()
        #expect(try desk.shown() == "\(fingerprint("rsa")) run-time")
        #expect(desk.controller.running.revision == 5)
        // The way back leads behind the restart.
        desk.ask("POST", "/revisions/2/restore")
        #expect(try desk.shown() == "\(fingerprint("b")) run-time")
        #expect(folder.pairs.names.keys.filter { $0.hasSuffix(".pem") }.count == 2)
    }

    @Test func whatCannotBeReadAnyMoreGivesWayToTheFile() throws {
        for damage in [nil, Array("no certificate".utf8), Array(try Made.pem("a.crt", "a.key").utf8)] {
            let folder = Folder()
            var desk = try folder.start()
            desk.ask("PUT", "/certificates/site", try Made.body("b"))
            let name = try #require(folder.pairs.names.keys.first { $0.hasSuffix(".pem") })
            if let damage { folder.pairs.put(name, damage) } else { _ = folder.pairs.remove(name) }
            desk = try folder.start()
            #expect(try desk.shown() == "\(fingerprint("a")) file")
            #expect(desk.controller.events.takeWarnings() == [#"certificate "site": the pair that was put at run time cannot be read; the file's is shown"#])
            #expect(desk.ask("POST", "/revisions/2/restore").problem == "bad-certificate")
            #expect(try desk.ask("PUT", "/certificates/site", Made.body("b")).status == 200)
        }
    }

    @Test func withoutRoomNothingChanges() throws {
        let folder = Folder()
        let desk = try folder.start()
        let before = desk.everything
        folder.pairs.fault = { _, call in call == "write" ? ENOSPC : nil }
        let full = desk.ask("PUT", "/certificates/site", try Made.body("b"))
        #expect(full.status == 507 && full.problem == "journal-failed", "\(full.text)")
        #expect(try desk.everything == before && desk.shown() == "\(fingerprint("a")) file")
        folder.pairs.fault = nil
        folder.journal.fault = { _, call in call == "write" ? ENOSPC : nil }
        #expect(try desk.ask("PUT", "/certificates/site", Made.body("b")).status == 507)
        #expect(desk.everything == before)
        folder.journal.fault = nil
        #expect(try desk.ask("PUT", "/certificates/site", Made.body("b")).revision == 2)
        #expect(try folder.start().shown() == "\(fingerprint("b")) run-time")
    }

    @Test func whatACrashLeftBehindIsSweptAway() throws {
        let folder = Folder()
        let desk = try folder.start()
        desk.ask("PUT", "/certificates/site", try Made.body("b"))
        folder.pairs.put("feed.pem", [1])
        let again = try folder.start()
        again.controller.sweepCertificates(folder.pairs.names.keys.map { "/state/certificates/" + $0 })
        #expect(folder.pairs.names["feed.pem"] == nil && folder.pairs.names.keys.filter { $0.hasSuffix(".pem") }.count == 1)
        #expect(try again.shown() == "\(fingerprint("b")) run-time")
    }

    // MARK: The file

    private func reload(_ desk: AdminDesk, _ certificate: String, _ query: String = "", servers: String = certificateServers) throws -> [String] {
        desk.owner.files = try certificateFiles(certificate).merging(["/prefix/tokens": AdminDesk.tokens]) { $1 }
        desk.owner.pools = servers + AdminDesk.pools
        _ = desk.controller.events.takeWarnings()
        #expect(desk.ask("POST", "/reload" + query).status == 200)
        return desk.controller.events.takeWarnings()
    }

    @Test func aReloadReadsTheFiles() throws {
        let desk = try certificateDesk()
        #expect(try reload(desk, "b") == [])
        #expect(try desk.shown() == "\(fingerprint("b")) file")
    }

    @Test func theRunningOneStaysUntilTheFileIsToldToWin() throws {
        let desk = try certificateDesk()
        desk.ask("PUT", "/certificates/site", try Made.body("b"))
        #expect(try reload(desk, "a") == [])
        #expect(try desk.shown() == "\(fingerprint("b")) run-time")
        let conflict = #"certificate "site": the file was changed since another one was put at run time; the one that was put at run time is shown on"#
        for _ in 0..<2 { #expect(try reload(desk, "rsa") == [conflict]) }
        #expect(try desk.shown() == "\(fingerprint("b")) run-time")
        #expect(desk.controller.events.after(0).contains { $0.kind == .conflict && $0.subject == "site" })
        let plan = desk.ask("POST", "/reload?prefer=file&dry_run=1").json
        #expect(plan["differences"]?.array?.first?["pointer"] == "/certificates/site" && plan["warnings"]?.array?.count == 1)
        #expect(try reload(desk, "rsa", "?prefer=file").count == 1)
        #expect(try desk.shown() == "\(fingerprint("rsa")) file")
    }

    @Test func whatTheFileHasByNowIsTheFiles() throws {
        let desk = try certificateDesk()
        desk.ask("PUT", "/certificates/site", try Made.body("b"))
        #expect(try reload(desk, "b") == [])
        #expect(try desk.shown() == "\(fingerprint("b")) file" && desk.controller.running.state.certificates.isEmpty)
    }

    @Test func whatTheFileNamesNoMoreIsDropped() throws {
        let desk = try certificateDesk()
        desk.ask("PUT", "/certificates/site", try Made.body("b"))
        let said = try reload(desk, "a", servers: certificateServers.replacing("tls/site/fullchain.pem", with: "tls/shop.pem").replacing("tls/site/key.pem", with: "tls/shop.key"))
        #expect(said == [#"certificate "site": the configuration names it no more; the one that was put at run time is dropped"#])
        #expect(desk.controller.running.state.certificates.isEmpty)
        // Nor does an undo bring back what nobody shows.
        #expect(desk.ask("POST", "/undo").problem == "none")
    }

    @Test func whatHasExpiredGivesWayToAFileThatHasNot() throws {
        let folder = Folder()
        var desk = try folder.start("b")
        desk.ask("PUT", "/certificates/site", try Made.body("a"))
        desk = try folder.start("b", laterMs: 100 * Self.dayMs)
        #expect(try desk.shown() == "\(fingerprint("b")) file")
        #expect(desk.controller.events.takeWarnings().contains { $0.contains("put at run time has expired; the file's is shown") })
        // And does not come back.
        #expect(desk.ask("POST", "/revisions/2/restore").json["changed"] == false)
        #expect(desk.controller.events.takeWarnings().contains { $0.contains("has expired meanwhile and does not come back") })
    }

    // MARK: The end

    @Test func isWarnedOfInTime() throws {
        // The other one of the two holds on for a hundred days more.
        let desk = try certificateDesk("a", laterMs: 58 * Self.dayMs)
        desk.ask("PUT", "/certificates/shop", try Made.body("b"))
        func warnings(after ms: Int64) -> [String] {
            desk.turn(after: ms)
            return desk.controller.events.takeWarnings().map { String($0.prefix { $0 != "," }) }
        }
        func told(_ words: String) -> [String] { ["certificate \"site\" (/prefix/tls/site/fullchain.pem) " + words] }
        #expect(warnings(after: Self.dayMs) == [])
        #expect(warnings(after: Self.dayMs) == told("expires in 29 days"))
        #expect(warnings(after: Self.dayMs) == [])
        #expect(warnings(after: 22 * Self.dayMs) == told("expires in 6 days"))
        #expect(warnings(after: 3_600_000) == [])
        #expect(warnings(after: 6 * Self.dayMs) == told("expires in less than a day"))
        #expect(warnings(after: 3_600_000) == [])
        let expired = warnings(after: Self.dayMs)
        #expect(expired.count == 1 && expired[0].contains("has expired: clients refuse it since 20"))
        #expect(warnings(after: 3_600_000) == [])
        #expect(warnings(after: Self.dayMs).count == 1, "an expired one is told of every day")
        #expect(desk.controller.events.after(0).filter { $0.kind == .certificateExpires }.count == 5)
        #expect(desk.ask("GET", "/certificates/site").json["warnings"]?.array == ["it has expired"])
        #expect(desk.ask("GET", "/status").json["certificates"]?["site"]?["days_left"] == -2)
        // Another one ends it.
        desk.ask("PUT", "/certificates/site", try Made.body("b"))
        #expect(warnings(after: Self.dayMs) == [])
    }

    @Test func aStartAndAReloadSayItAgain() throws {
        let desk = try certificateDesk("a", laterMs: 61 * Self.dayMs)
        desk.controller.watchCertificates(isFresh: true)
        #expect(desk.controller.events.takeWarnings().count == 2)
        #expect(try reload(desk, "a").count == 2)
        #expect(try reload(desk, "b").count == 1)
        // Nobody is woken for certificates that are not there.
        #expect(try AdminDesk().turn() == nil)
        #expect(desk.turn() == desk.nowMs + 3_600_000)
    }

    @Test(arguments: [
        (31, 0), (30, 1), (29, 1), (8, 1), (7, 2), (2, 2), (1, 3), (0, 4), (-1, 4),
    ])
    func stages(days: Int64, stage: Int) { #expect(CertificateWatch.stage(days * Self.dayMs, 0) == stage) }

    @Test(arguments: [
        ("example.com", true), ("EXAMPLE.com", true), ("a.example.com", true), ("a.b.example.com", false), (".example.com", false), ("*.example.com", true),
        ("other.org", false), ("com", false), ("127.0.0.1", true), ("", false),
    ])
    func aStarStandsForOneLabel(host: String, isCovered: Bool) {
        var certificate = TLSCertificate()
        certificate.names = ["example.com", "*.Example.com", "127.0.0.1"]
        #expect(certificate.covers(host) == isCovered)
    }
}
