// A certificate with its chain and its key, as it was put at run time, and what it must keep to.
// Made from the body of a write, and from the store's file. The key goes nowhere but into a context and into that file.

import AdminAPI
import Engine

package struct CertificatePair: Sendable {
    let chain: TLSCertificateChain
    /// PEM, nothing else beside it.
    let key: [UInt8]

    /// - Throws: `bad-certificate`, with a pointer into the body of the write.
    init(certificate: [UInt8], key: [UInt8]) throws(Problem) {
        do throws(TLSFailure) { chain = try TLSCertificateChain(certificate) } catch {
            throw Problem(
                .badCertificate, "found no certificate in PEM that can be read (\(error.reason))", hint: "it begins with -----BEGIN CERTIFICATE-----",
                pointer: "/certificate")
        }
        switch chain.verdict(onKey: key) {
        case .fits: break
        case .differs:
            throw Problem(
                .badCertificate, "the key is not that of the certificate \(chain.first.subject)",
                hint: chain.certificates.dropFirst().contains { _ in true } ? "the server's own certificate comes first in the chain" : "", pointer: "/key")
        case .isEncrypted:
            throw Problem(.badCertificate, "the key is encrypted", hint: "take its password away: openssl pkey -in KEY -out PLAIN", pointer: "/key")
        case .cannotBeRead:
            throw Problem(.badCertificate, "found no key in PEM that can be read", hint: "it begins with -----BEGIN PRIVATE KEY-----", pointer: "/key")
        }
        guard let alone = TLSCertificateChain.keyAlone(key) else {
            throw Problem(.badCertificate, "found no key in PEM that can be read", pointer: "/key")
        }
        self.key = alone
    }

    /// From the body of a write: what clients would refuse is refused here.
    init(_ body: CertificateWrite, nowMs: Int64) throws(Problem) {
        try self.init(certificate: Array(body.certificate.utf8), key: Array(body.key.utf8))
        try checkTimes(nowMs)
        if let place = chain.breakAt {
            let (one, next) = (chain.certificates[place], chain.certificates[place + 1])
            throw Problem(
                .badCertificate, "certificate \(place + 1) of the chain is issued by \(one.issuer), and behind it is \(next.subject)",
                hint: "put each certificate before the one that issued it", pointer: "/certificate")
        }
    }

    func checkTimes(_ nowMs: Int64) throws(Problem) {
        if chain.first.notAfterMs <= nowMs {
            throw Problem(
                .badCertificate, "the certificate \(chain.first.subject) expired at \(Timestamp.text(ms: chain.first.notAfterMs))", pointer: "/certificate")
        }
        if chain.first.notBeforeMs > nowMs {
            throw Problem(
                .badCertificate, "the certificate \(chain.first.subject) is not valid before \(Timestamp.text(ms: chain.first.notBeforeMs))",
                pointer: "/certificate")
        }
    }

    func state(replacing file: TLSCertificateChain) -> CertificateState {
        CertificateState(fingerprint: chain.first.fingerprint, chain: chain.digest, replaces: file.digest, notAfterMs: chain.first.notAfterMs)
    }
}
