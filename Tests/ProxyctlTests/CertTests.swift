// Tests what `proxyctl cert` asks of the server and prints.

import AdminAPI
import Foundation
import TestSupport
import Testing

@testable import proxyctl

@Suite("cert", .serialized)
struct CertTests {
    private static var site: CertificateInfo {
        let moment: Int64 = 1_795_269_900_000
        let link = CertificateInfo.Link(
            subject: "CN=example.com", issuer: "CN=Root", serial: "0a", fingerprint: "abcdef", notBeforeMs: 0, notAfterMs: moment)
        var site = CertificateInfo(name: "example.com", chain: [link])
        (site.file, site.names, site.keyType, site.daysLeft) = ("/tls/example.com.pem", ["example.com", "a", "b", "c"], "RSA 2048", 6)
        site.servers = [CertificateInfo.Server(names: ["example.com"], listen: ["0.0.0.0:443"])]
        return site
    }

    @Test func listAndShow() throws {
        var old = Self.site
        (old.name, old.daysLeft, old.source, old.warnings) = ("old", -1, .runTime, ["it has expired"])
        let list = JSON.members(["certificates": .array([Self.site.brief, old.brief]), "revision": 1])
        let admin = try FakeAdmin(["GET /certificates": [.json(list)], "GET /certificates/example.com": [.json(Self.site.json)]])
        let listed = try admin.run("cert", "list")
        #expect(
            listed.output == """
                NAME         GOOD FOR                      EXPIRES                 LEFT  KEY       FROM
                example.com  example.com a b and 1 more    2026-11-21 14:05:00   6 days  RSA 2048  file
                old          example.com a b and 1 more    2026-11-21 14:05:00  expired  RSA 2048  run-time  it has expired

                """.replacingOccurrences(of: "more    2026", with: "more  2026").replacingOccurrences(of: "FOR                      E", with: "FOR                    E"),
            "\(listed)")
        let shown = try admin.run("cert", "show", "example.com")
        #expect(shown.status == 0 && shown.output.contains("server       example.com on 0.0.0.0:443\n") && shown.output.contains("  issued by  CN=Root\n"))
        #expect(try admin.run("cert", "list", "--json").output.contains("\"certificates\""))
        let none = try FakeAdmin(["GET /certificates": [.json(JSON.members(["certificates": []]))]])
        #expect(try none.run("cert", "list").output == "No server shows a certificate.\n")
    }

    @Test func putAndDelete() throws {
        let answer = Accepted(revision: 3, previous: 2, changed: true, summary: "certificate a/b: x").json.merging(.members(["warnings": ["it is odd"]]))
        let admin = try FakeAdmin([
            "PUT /certificates/a%2Fb?reason=why": [.json(answer)], "DELETE /certificates/a%2Fb": [.json(answer)],
            "PUT /certificates/a%2Fb?dry_run=1": [.json(Plan(revision: 2).json)],
        ])
        try "CERT".write(toFile: admin.directory + "/c", atomically: false, encoding: .utf8)
        try "KEY".write(toFile: admin.directory + "/k", atomically: false, encoding: .utf8)
        let put = try admin.run("cert", "put", "a/b", "--cert", "c", "--key", "k", "--reason", "why")
        #expect(put.status == 0 && put.output == "Revision 3: certificate a/b: x (was 2; `proxyctl undo` goes back)\n" && put.errors == "warning: it is odd\n", "\(put)")
        #expect(admin.write?.text == #"{"certificate":"CERT","key":"KEY"}"#)
        #expect(try admin.run("plan", "cert", "put", "a/b", "--cert", "c", "--key", "-", input: "KEY").output.hasPrefix("Nothing would change"))
        #expect(try admin.run("cert", "delete", "a/b", "--if-match", "2").status == 0)
        #expect(admin.write?["If-Match"] == "\"2\"")
    }

    @Test func whatIsNotUnderstoodIsSaid() throws {
        let admin = try FakeAdmin([:])
        #expect(try admin.run("cert", "put", "a", "--cert", "-", "--key", "-").status == 2)
        #expect(try admin.run("cert", "put", "a", "--cert", "c").status == 2)
        #expect(try admin.run("cert", "put", "a", "--cert", "gone", "--key", "gone").errors.contains("cannot read gone"))
        #expect(try admin.run("cert", "show", "a").status == 1)
    }
}
