// Owns certificates that are replaced at run time, as the admin API sees them: names, answers, refusals, the way back, what is kept.

import AdminAPI
import CLinux
import Foundation
import Testing

@testable import Control
@testable import Engine

@Suite("Certificates at run time")
struct CertificateTests {
    private typealias Made = MadeCertificates

    // MARK: Names

    @Test(arguments: [
        ("/etc/ssl/example.com.crt", "example.com"), ("/etc/letsencrypt/live/example.com/fullchain.pem", "example.com"), ("site.pem", "site"),
        ("/tls/TLS.CRT", "tls"), ("/a/b.c", "b.c"), ("cert.pem", "cert"), ("/x/shop.cer", "shop"), ("/x/.pem", ".pem"), ("/k8s/my-secret/tls.crt", "my-secret"),
    ])
    func theNameIsTheFiles(path: String, name: String) { #expect(CertificateTable.shortName(path) == name) }

    @Test func twoOfOneNameAreToldApartByTheirPaths() throws {
        let servers = certificateServers.replacing("tls/shop.pem", with: "tls/b/site.pem").replacing("tls/shop.key", with: "tls/site/key.pem")
        var files = try certificateFiles()
        files["/prefix/tls/b/site.pem"] = try Made.pem("a.crt")
        let desk = try AdminDesk(servers + AdminDesk.pools, files: files, epochMs: Made.nowMs)
        let names = desk.ask("GET", "/certificates").json["certificates"]?.array?.compactMap { $0["name"]?.string }
        #expect(names == ["/prefix/tls/b/site.pem", "/prefix/tls/site/fullchain.pem"])
        #expect(desk.ask("GET", "/certificates/site").status == 404)
        #expect(try desk.ask("PUT", "/certificates/%2Fprefix%2Ftls%2Fsite%2Ffullchain.pem", Made.body("b")).status == 200)
        #expect(try desk.shown("%2Fprefix%2Ftls%2Fb%2Fsite.pem") == "\(fingerprint("a")) file")
    }

    @Test func oneWhoseTextStandsInTheConfigurationHasAName() throws {
        let (crt, key) = (try Made.pem("a.crt"), try Made.pem("a.key"))
        let servers = "server { listen 127.0.0.1:443 ssl; server_name example.com; ssl_certificate 'data:\(crt)'; ssl_certificate_key 'data:\(key)'; }"
        let desk = try AdminDesk(servers + AdminDesk.pools, epochMs: Made.nowMs)
        let name = desk.ask("GET", "/certificates").json["certificates"]?.array?.first?["name"]?.string ?? ""
        #expect(name.hasPrefix("data-"))
        #expect(try desk.ask("PUT", "/certificates/\(name)", Made.body("b")).status == 200)
        #expect(try desk.shown(name) == "\(fingerprint("b")) run-time")
    }

    // MARK: Answers

    @Test func whatIsShownIsTold() throws {
        let desk = try certificateDesk()
        let list = desk.ask("GET", "/certificates").json["certificates"]?.array ?? []
        #expect(list.map { $0["name"]?.string } == ["shop", "site"])
        let site = desk.ask("GET", "/certificates/site").json
        #expect(site["subject"] == "CN=example.com" && site["issuer"] == "CN=example.com" && site["key_type"] == "EC prime256v1")
        #expect(site["names"]?.array == ["example.com", "*.example.com", "127.0.0.1"])
        #expect(site["file"] == "/prefix/tls/site/fullchain.pem" && site["source"] == "file" && site["days_left"] == 89)
        #expect(site["servers"]?.array?.count == 2 && site["servers"]?.array?.first?["listen"]?.array == ["127.0.0.1:443"])
        #expect(site["warnings"]?.array == [] && site["chain"]?.array?.count == 1)
        #expect(desk.ask("GET", "/status").json["certificates"]?["shop"]?["days_left"] == 89)
        let gone = desk.ask("GET", "/certificates/sit")
        #expect(gone.status == 404 && gone.json["hint"] == #"there is "shop", "site""#)
        #expect(try AdminDesk().ask("GET", "/certificates").json["certificates"]?.array == [])
    }

    @Test func anotherPairIsARevisionAndHasAWayBack() throws {
        let desk = try certificateDesk()
        let before = desk.contexts
        let done = desk.ask("PUT", "/certificates/site", Made.body(try Made.pem("b.crt"), try Made.pem("b.key"), reason: "renewed"))
        #expect(done.status == 200 && done.revision == 2 && done.json["warnings"]?.array == [])
        #expect(try done.json["summary"]?.string?.hasPrefix("certificate site: \(fingerprint("b")), valid to 20") == true)
        #expect(try desk.shown() == "\(fingerprint("b")) run-time")
        let after = desk.contexts
        #expect(zip(before, after).map { $0 == $1 } == [false, false, true, true, true])
        // A change of anything else makes no context anew, nor does the same pair once more.
        #expect(desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 20}}"#).revision == 3)
        #expect(desk.contexts == after)
        #expect(try desk.ask("PUT", "/certificates/site", Made.body("b")).json["changed"] == false)
        #expect(try desk.ask("PUT", "/certificates/shop", Made.body("rsa")).json["warnings"]?.array?.count == 1)
        #expect(desk.contexts[..<2] == after[..<2] && desk.contexts[2] != after[2])

        #expect(desk.ask("POST", "/undo").revision == 5)
        #expect(desk.contexts[2] == before[2])
        #expect(desk.ask("POST", "/revisions/1/restore").json["changed"] == true)
        #expect(try desk.contexts == before && desk.shown() == "\(fingerprint("a")) file")
        #expect(desk.ask("POST", "/undo").json["changed"] == true)
        #expect(try desk.shown() == "\(fingerprint("b")) run-time")
        let deleted = desk.ask("DELETE", "/certificates/site?reason=x")
        #expect(deleted.json["summary"] == "certificate site: the file's again")
        #expect(desk.contexts == before)
        #expect(desk.ask("DELETE", "/certificates/site").json["changed"] == false)
        // The file's own pair is no replacement.
        #expect(try desk.ask("PUT", "/certificates/site", Made.body("a")).json["changed"] == false)
        let pointers = desk.ask("GET", "/revisions/1/diff/2").json["differences"]?.array?.compactMap { $0["pointer"]?.string }
        #expect(pointers == ["/certificates/site"])
        #expect(try desk.ask("GET", "/revisions/2").json["certificates"]?["site"]?["fingerprint"]?.string?.hasPrefix(fingerprint("b")) == true)
        // The whole of pools is another matter.
        #expect(try desk.ask("PUT", "/certificates/site", Made.body("b")).status == 200)
        #expect(desk.ask("PUT", "/upstreams", desk.ask("GET", "/upstreams").text).json["changed"] == false)
    }

    @Test func twoTypesOfKeyAreReplacedEachForItself() throws {
        let servers = """
            server { listen 127.0.0.1:443 ssl; server_name example.com; ssl_certificate ec.pem; ssl_certificate_key ec.key;
            ssl_certificate rsa.pem; ssl_certificate_key rsa.key; }
            """
        let files = [
            "/prefix/ec.pem": try Made.pem("a.crt"), "/prefix/ec.key": try Made.pem("a.key"), "/prefix/rsa.pem": try Made.pem("rsa.crt"),
            "/prefix/rsa.key": try Made.pem("rsa.key"),
        ]
        let desk = try AdminDesk(servers + AdminDesk.pools, files: files, epochMs: Made.nowMs)
        #expect(try desk.ask("PUT", "/certificates/ec", Made.body("b")).status == 200)
        #expect(try desk.shown("ec") == "\(fingerprint("b")) run-time")
        #expect(try desk.shown("rsa") == "\(fingerprint("rsa")) file")
    }

    @Test func whatItWouldDoIsTold() throws {
        let desk = try certificateDesk()
        let before = desk.everything
        let plan = desk.ask("PUT", "/certificates/site?dry_run=1", try Made.body("other")).json
        #expect(plan["differences"]?.array?.first?["pointer"] == "/certificates/site")
        #expect(plan["warnings"]?.array?.first?.string == "it does not name shop.example.com, example.com, *.example.com, which servers that show it are called")
        #expect(try desk.everything == before && desk.shown() == "\(fingerprint("a")) file")
        #expect(desk.ask("DELETE", "/certificates/site?dry_run=1").json["differences"]?.array == [])
        #expect(try desk.ask("PUT", "/certificates/site?dry_run=1", Made.body("weak")).problem == "bad-certificate")
    }

    // MARK: Refusals

    private static let refusals: [(certificate: String, key: String, pointer: String, words: String)] = [
        ("b.crt", "a.key", "/key", "the key is not that of the certificate CN=example.com"),
        ("a.crt", "sealed.key", "/key", "the key is encrypted"), ("a.crt", "a.crt", "/key", "found no key in PEM"),
        ("a.key", "a.key", "/certificate", "found no certificate in PEM that can be read (SSL: error:"),
        ("middle.crt leaf.crt", "leaf.key", "/key", "the key is not that of the certificate CN=middle"),
        ("leaf.crt root.crt middle.crt", "leaf.key", "/certificate", "certificate 1 of the chain is issued by CN=middle, and behind it is CN=Root"),
        ("weak.crt", "weak.key", "/certificate", "ee key too small"),
    ]

    @Test(arguments: refusals.indices) func whatClientsWouldRefuseIsRefused(_ row: Int) throws {
        let (certificate, key, pointer, words) = Self.refusals[row]
        let desk = try certificateDesk()
        let before = desk.everything
        let chain = try certificate.split(separator: " ").map { try Made.pem(String($0)) }.joined()
        let told = desk.ask("PUT", "/certificates/site", Made.body(chain, try Made.pem(key)))
        #expect(told.problem == "bad-certificate" && told.status == 422 && told.pointer == pointer, "\(told.text)")
        #expect(told.json["detail"]?.string?.contains(words) == true, "\(told.text)")
        #expect(try !told.text.contains(Made.pem(key).split(separator: "\n")[1]))
        #expect(try desk.everything == before && desk.shown() == "\(fingerprint("a")) file")
    }

    @Test func aChainInOrderIsTaken() throws {
        let desk = try certificateDesk()
        let chain = try Made.pem("leaf.crt", "middle.crt", "root.crt")
        #expect(try desk.ask("PUT", "/certificates/site", Made.body(chain, Made.pem("leaf.key"))).status == 200)
        let told = desk.ask("GET", "/certificates/site").json["chain"]?.array ?? []
        #expect(told.compactMap { $0["subject"]?.string } == ["CN=leaf", "CN=middle", "CN=Root"])
    }

    @Test func whatIsNotOfThisTimeIsRefused() throws {
        let day: Int64 = 86_400_000
        let late = try certificateDesk("b", laterMs: 91 * day)
        let expired = late.ask("PUT", "/certificates/site", try Made.body("a"))
        #expect(expired.pointer == "/certificate" && expired.json["detail"]?.string?.contains("CN=example.com expired at 20") == true, "\(expired.text)")
        let early = try certificateDesk(laterMs: -2 * day)
        let notYet = early.ask("PUT", "/certificates/site", try Made.body("b"))
        #expect(notYet.json["detail"]?.string?.contains("is not valid before 20") == true, "\(notYet.text)")
    }

    @Test(arguments: [
        (#"{"certificate": "x"}"#, "missing-field", "/key"), (#"{"certificate": 1, "key": "secret"}"#, "wrong-type", "/certificate"),
        (#"{"certificate": "x", "key": ["secret"]}"#, "wrong-type", "/key"), (#"{"certificate": "x", "kay": "secret"}"#, "unknown-field", "/kay"),
        (#"{"certificate": "x", "key": "secret""#, "not-json", nil), ("", "not-json", nil),
    ] as [(String, String, String?)])
    func aBodyThatIsNoneIsRefusedAndNotRepeated(body: String, kind: String, pointer: String?) throws {
        let told = try certificateDesk().ask("PUT", "/certificates/site", body)
        #expect(told.problem == kind && told.pointer == pointer, "\(told.text)")
        #expect(!told.text.contains("secret"))
    }

    @Test func aRaceAndAReaderAreRefused() throws {
        let desk = try certificateDesk()
        #expect(try desk.ask("PUT", "/certificates/site", Made.body("b"), [("If-Match", "\"7\"")]).problem == "lost-race")
        #expect(try desk.ask("PUT", "/certificates/site", Made.body("b"), writes: false).problem == "read-only")
        #expect(try desk.ask("PUT", "/certificates/none", Made.body("b")).problem == "not-found")
        #expect(try desk.ask("PUT", "/certificates/site", Made.body("b"), [("If-Match", "\"1\"")]).status == 200)
        #expect(desk.ask("DELETE", "/certificates/site", nil, [("If-Match", "\"1\"")]).problem == "lost-race")
    }

    @Test func aKeyIsNeverShownAgain() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "audit-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let disk = MemoryDisk()
        let (journal, _) = try Journal.open(JournalStorage(disk))
        let desk = try certificateDesk(journal: journal, auditFolder: folder)
        desk.ask("PUT", "/certificates/site", try Made.body("b"))
        desk.ask("PUT", "/certificates/site", Made.body(try Made.pem("b.crt"), try Made.pem("a.key")))
        desk.ask("POST", "/undo")
        var texts = ["/certificates", "/certificates/site", "/revisions/2", "/revisions/2/diff/3", "/status", "/export", "/upstreams"].map { desk.ask("GET", $0).text }
        texts += [String(decoding: disk.bytes("journal") ?? [], as: UTF8.self), try String(contentsOfFile: folder + "/audit.log", encoding: .utf8)]
        texts += desk.controller.events.after(0).map(\.text) + desk.controller.events.takeWarnings()
        let secrets = try ["a.key", "b.key"].map { try Made.pem($0).split(separator: "\n")[1] }
        for text in texts { #expect(!text.contains("PRIVATE") && !secrets.contains { text.contains($0) }, "\(text)") }
        #expect(try texts[7].contains(fingerprint("b")) && texts[8].contains("/certificates/site"))
    }
}
