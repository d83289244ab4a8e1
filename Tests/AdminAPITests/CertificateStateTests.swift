// Owns how replaced certificates go through states: changes, differences, summaries, merges, and their JSON.

import Testing

@testable import AdminAPI

@Suite("Certificates in a state")
struct CertificateStateTests {
    private let one = CertificateState(fingerprint: "00112233445566", chain: "aa", replaces: "ff", notAfterMs: 1_795_269_900_000)
    private let other = CertificateState(fingerprint: "99887766554433", chain: "bb", replaces: "ff", notAfterMs: 1_798_761_599_999)
    private let empty = ProxyState(upstreams: ["u": UpstreamState(servers: [ServerState(server: "a:1")])]).numbered(after: ProxyState())

    @Test func changesDifferencesAndSummaries() throws {
        let first = try StateChange.putCertificate("site", one).applied(to: empty)
        let second = try StateChange.putCertificate("site", other).applied(to: first)
        let last = try StateChange.deleteCertificate("site").applied(to: second)
        #expect(last == empty)
        let steps = [(empty, first), (first, second), (second, last)]
        #expect(
            steps.map { summary(from: $0, to: $1) } == [
                "certificate site: 001122334455, valid to 2026-11-21", "certificate site: 998877665544, valid to 2026-12-31",
                "certificate site: the file's again",
            ])
        #expect(steps.map { differences(from: $0, to: $1).map(\.kind) } == [[.added], [.changed], [.removed]])
        #expect(differences(from: first, to: second)[0].pointer == "/certificates/site")
        #expect(try StateChange.deleteCertificate("site").applied(to: empty) == empty)
        // Whoever replaces pools and splits says nothing of certificates.
        #expect(try StateChange.replaceAll(upstreams: empty.upstreams, splits: [:]).applied(to: first).certificates == ["site": one])
    }

    @Test func aMergeKeepsWhatRuns() throws {
        let running = try StateChange.putCertificate("site", one).applied(to: empty)
        for preferringFile in [false, true] {
            let (merged, conflicts) = merge(base: empty, file: empty, running: running, preferringFile: preferringFile)
            #expect(merged == running && conflicts.isEmpty)
        }
    }

    @Test func theJSONOfAStateIsThatOfPoolsAlone() throws {
        let state = try StateChange.putCertificate("site", one).applied(to: empty)
        #expect(state.json == empty.json)
        let revision = Revision(number: 2, kind: .change, atMs: 0, who: "", reason: "", summary: "")
        #expect(revision.json(with: state)["certificates"]?["site"]?["not_after"] == "2026-11-21T14:05:00.000Z")
        #expect(revision.json(with: empty)["certificates"] == nil)
        #expect(try CertificateState(json: one.json) == one)
        #expect(throws: Problem.self) { try CertificateState(json: .members(["chain": "aa"])) }
    }

    @Test(arguments: [(0, 0), (1, 0), (86_399_999, 0), (86_400_000, 1), (-1, -1), (-86_400_000, -1), (-86_400_001, -2)] as [(Int64, Int)])
    func daysAreRoundedDown(ms: Int64, days: Int) { #expect(CertificateInfo.days(from: 1000, to: 1000 + ms) == days) }

    @Test func answersAreReadBack() throws {
        let link = CertificateInfo.Link(subject: "CN=a", issuer: "CN=b", serial: "1", fingerprint: "aa", notBeforeMs: 0, notAfterMs: 1000)
        var info = CertificateInfo(name: "site", chain: [link, link])
        (info.source, info.file, info.names, info.keyType, info.daysLeft) = (.runTime, "/a", ["a"], "EC", -3)
        info.servers = [CertificateInfo.Server(names: ["a"], listen: ["b"])]
        info.warnings = ["w"]
        #expect(try CertificateInfo(json: info.json) == info)
        info.chain = [link]
        #expect(try CertificateInfo(json: info.brief) == info)
        var status = Status()
        status.certificates = [CertificateStatus(name: "site", notAfterMs: 90_000_000, nowMs: 0, source: .file)]
        #expect(try Status(json: status.json).certificates == status.certificates)
        #expect(status.certificates[0].daysLeft == 1 && status.certificates[0].secondsLeft == 90_000)
    }
}
