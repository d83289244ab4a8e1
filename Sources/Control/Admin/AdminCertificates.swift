// Routes and handlers of the admin API: the certificates that clients are shown. A key comes in, and never goes out.
// Called by the dispatch. The controller decides; here its values become answers.

import AdminAPI

extension CertificateWrite: AdminBody {}

extension AdminRoute {
    static let certificates: [AdminRoute] = [
        AdminRoute(
            APIOperation("GET", "/certificates", id: "getCertificates", "The certificates that clients are shown.", answer: .json("CertificateList"))
        ) { (s, c) throws(Problem) in s.getCertificates(c) },
        AdminRoute(
            APIOperation(
                "GET", "/certificates/{name}", id: "getCertificate", "One certificate with its chain.", answer: .json("CertificateWithChain"))
        ) { (s, c) throws(Problem) in try s.getCertificate(c) },
        AdminRoute(
            APIOperation(
                "PUT", "/certificates/{name}", id: "putCertificate", "Shows another pair instead of the file's, from the next handshake on.",
                body: "CertificateWrite", answer: .json("CertificateAccepted"))
        ) { (s, c) throws(Problem) in try s.putCertificate(c) },
        AdminRoute(
            APIOperation(
                "DELETE", "/certificates/{name}", id: "deleteCertificate", "Shows the file's pair again.", body: "ReasonOnly", isBodyOptional: true,
                answer: .json("CertificateAccepted"))
        ) { (s, c) throws(Problem) in try s.deleteCertificate(c) },
    ]
}

extension AdminServer {
    func getCertificates(_ call: AdminCall) -> AdminOutcome {
        let (list, revision) = controller.shownCertificates
        return call.json(
            .members(["certificates": .array(list.map(\.brief)), "revision": .integer(Int64(clamping: revision))]), revision: revision)
    }

    func getCertificate(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let (certificate, revision) = try controller.shownCertificate(call[0])
        return call.json(certificate.json, revision: revision)
    }

    func putCertificate(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let body = try call.body(CertificateWrite.self)
        if call.isDryRun { return call.plan(try controller.planCertificate(call[0], body, ifMatch: call.ifMatch)) }
        return answer(call, try controller.putCertificate(call[0], body, by: call.author, ifMatch: call.ifMatch))
    }

    func deleteCertificate(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        if call.isDryRun { return call.plan(try controller.planDeleteCertificate(call[0], ifMatch: call.ifMatch)) }
        return answer(call, try controller.deleteCertificate(call[0], by: call.author, ifMatch: call.ifMatch))
    }

    private func answer(_ call: AdminCall, _ done: (accepted: Accepted, warnings: [String])) -> AdminOutcome {
        call.note(done.accepted)
        let json = done.accepted.json.merging(.members(["warnings": .array(done.warnings.map { .string($0) })]))
        return call.json(json, revision: done.accepted.revision)
    }
}
