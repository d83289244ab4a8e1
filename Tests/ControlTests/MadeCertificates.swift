// Owns the certificates that tests of this target replace: made by `openssl` once, when the first test asks for them.
// They hold from now on; tests that want another moment move the clock of the proxy.

import AdminAPI
import Foundation

@testable import Control

/// Texts in PEM by name: `NAME.crt` and `NAME.key`.
enum MadeCertificates {
    /// `a`, `b` of example.com (90 and 200 days, EC), `rsa` the same, `other` of other.org, `weak` with a key too short for OpenSSL's level;
    /// `leaf`, `middle` and `root` a chain; `sealed.key` is that of `a` under a password.
    static let files = Result<[String: String], any Error> {
        let folder = FileManager.default.temporaryDirectory.appending(path: "certificates-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.currentDirectoryURL = folder
        process.arguments = ["-ec", script]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        var files: [String: String] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) where name.hasSuffix(".crt") || name.hasSuffix(".key") {
            files[name] = try String(contentsOf: folder.appending(path: name), encoding: .utf8)
        }
        return files
    }

    private static let script = """
        ec="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        own() { openssl req -x509 -nodes -days $2 -subj "/CN=$3" -addext "subjectAltName=DNS:$3,DNS:*.$3,IP:127.0.0.1" -keyout $1.key -out $1.crt $4; }
        own a 90 example.com "$ec"; own b 200 example.com "$ec"; own rsa 90 example.com "-newkey rsa:2048"; own other 90 other.org "$ec"
        own weak 90 example.com "-newkey rsa:1024"; own root 900 Root "$ec"
        sign() { openssl req -nodes -subj "/CN=$1" -addext "basicConstraints=critical,CA:$4" -keyout $1.key -out $1.csr $ec
            openssl x509 -req -in $1.csr -copy_extensions copy -days $2 -CA $3.crt -CAkey $3.key -CAcreateserial -out $1.crt; }
        sign middle 800 root TRUE; sign leaf 90 middle FALSE
        openssl pkcs8 -topk8 -in a.key -out sealed.key -passout pass:secret
        """

    static func pem(_ names: String...) throws -> String {
        let files = try Self.files.get()
        return names.map { files[$0] ?? "" }.joined()
    }

    /// The body of a PUT.
    static func body(_ certificate: String, _ key: String, reason: String? = nil) -> String {
        CertificateWrite(reason: reason, certificate: certificate, key: key).json.text(pretty: false)
    }

    /// `NAME.crt` with `NAME.key`.
    static func body(_ name: String) throws -> String { body(try pem(name + ".crt"), try pem(name + ".key")) }

    /// Milliseconds since 1970: shortly after they were made.
    static var nowMs: Int64 { Int64(Date().timeIntervalSince1970 * 1000) }
}

/// A proxy that shows `site` (example.com, two servers of three) and `shop` (other.org).
func certificateDesk(
    _ certificate: String = "a", journal: Journal = .none(), replay: Replay? = nil, certificates: CertificateStore = CertificateStore(),
    auditFolder: String? = nil, laterMs: Int64 = 0
) throws -> AdminDesk {
    try AdminDesk(
        certificateServers + AdminDesk.pools, journal: journal, replay: replay, auditFolder: auditFolder, files: certificateFiles(certificate),
        certificates: certificates, epochMs: MadeCertificates.nowMs - 1_000_000 + laterMs)
}

let certificateServers = """
    server { listen 127.0.0.1:443 ssl; server_name shop.example.com; ssl_certificate tls/site/fullchain.pem; ssl_certificate_key tls/site/key.pem; }
    server { listen 127.0.0.1:443 ssl; server_name .example.com; ssl_certificate tls/site/fullchain.pem; ssl_certificate_key tls/site/key.pem; }
    server { listen 127.0.0.1:443 ssl; server_name other.org; ssl_certificate tls/shop.pem; ssl_certificate_key tls/shop.key; }
    """

/// - Parameter name: whose pair `site` has.
func certificateFiles(_ name: String = "a") throws -> [String: String] {
    [
        "/prefix/tls/site/fullchain.pem": try MadeCertificates.pem(name + ".crt"), "/prefix/tls/site/key.pem": try MadeCertificates.pem(name + ".key"),
        "/prefix/tls/shop.pem": try MadeCertificates.pem("other.crt"), "/prefix/tls/shop.key": try MadeCertificates.pem("other.key"),
    ]
}

extension AdminDesk {
    /// The contexts of the servers, in their order.
    var contexts: [OpaquePointer?] { (0..<publisher.current.root.servers.count).map { publisher.current.root.servers[$0].tls.context } }

    /// What is shown for `site`, by its first signs, and where it comes from.
    func shown(_ name: String = "site") -> String {
        let json = ask("GET", "/certificates/\(name)").json
        return "\(json["fingerprint"]?.string?.prefix(12) ?? "") \(json["source"]?.string ?? "")"
    }
}

func fingerprint(_ name: String) throws -> String {
    String(try CertificatePair(certificate: Array(MadeCertificates.pem(name + ".crt").utf8), key: Array(MadeCertificates.pem(name + ".key").utf8)).chain.first.fingerprint.prefix(12))
}
