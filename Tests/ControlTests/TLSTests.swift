// Owns what the TLS directives say no to: positions, and OpenSSL's reason in words.
// Certificates and keys are made by `openssl` when the first test asks for them.

import ConfigurationFile
import Engine
import Foundation
import Testing

@testable import Control

@Suite("TLS directives")
struct TLSDirectiveTests {
    /// A certificate, its key, and a key of nobody.
    private static let made = Result<[String: String], any Error> {
        let folder = FileManager.default.temporaryDirectory.appending(path: "tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let ec = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.currentDirectoryURL = folder
        process.arguments = [
            "-ec",
            """
            openssl req -x509 \(ec) -subj /CN=a -keyout a.key -out a.crt; openssl req -x509 \(ec) -subj /CN=b -keyout b.key -out b.crt
            openssl pkcs8 -topk8 -in a.key -out sealed.key -passout pass:secret
            """,
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return try ["a.crt", "b.crt", "a.key", "b.key", "sealed.key"].reduce(into: [:]) {
            $0["/prefix/" + $1] = try String(contentsOf: folder.appending(path: $1), encoding: .utf8)
        }
    }

    static func system() throws -> PlayedSystem {
        let system = PlayedSystem()
        system.files = try made.get()
        system.files["/prefix/bad"] = "no certificate at all"
        system.files["/prefix/pass"] = "wrong\r\nsecret\n"
        return system
    }

    private static let pair = "ssl_certificate a.crt; ssl_certificate_key a.key;"

    /// The text in line 2, where PAIR stands for a certificate and its key, inside a server that listens for TLS in line 1.
    private func told(_ text: String) throws -> String {
        let text = text.replacing("PAIR", with: Self.pair)
        return refusal(whole: "events { } http { server { listen 443 ssl;\n\(text)\n} }", on: try Self.system())
    }

    @Test(
        "refusals",
        arguments: [
            ("ssl_certificate a.crt;", #"no "ssl_certificate_key" is defined for certificate "a.crt" in 2:17"#),
            (
                "ssl_certificate gone.crt; ssl_certificate_key a.key;",
                #"cannot load certificate "/prefix/gone.crt" (2: No such file or directory) in 2:17"#
            ),
            ("ssl_certificate bad; ssl_certificate_key a.key;", "PEM routines::no start line"),
            ("ssl_certificate a.crt; ssl_certificate_key gone.key;", #"cannot load certificate key "/prefix/gone.key" (2: "#),
            ("ssl_certificate a.crt; ssl_certificate_key bad;", #"cannot load certificate key "/prefix/bad" (SSL: error:"#),
            ("ssl_certificate a.crt; ssl_certificate_key b.key;", "key values mismatch) in 2:44"),
            ("ssl_certificate a.crt; ssl_certificate_key sealed.key;", #"cannot load certificate key "/prefix/sealed.key" (SSL: error:"#),
            ("ssl_password_file gone; ssl_certificate a.crt; ssl_certificate_key sealed.key;", #"open() "/prefix/gone" failed (2: "#),
            ("PAIR ssl_ciphers NONE:SUCH;", #"SSL_CTX_set_cipher_list("NONE:SUCH") failed (SSL: error:0A0000B9:SSL routines::no cipher match) in 2:63"#),
            ("PAIR ssl_protocols TLSv9;", #"invalid value "TLSv9" in "ssl_protocols" directive, it must be "TLSv1", "#),
            ("PAIR ssl_ecdh_curve nowhere;", #"SSL_CTX_set1_curves_list("nowhere") failed (SSL: "#),
            ("PAIR ssl_dhparam bad;", #"PEM_read_bio_Parameters("/prefix/bad") failed (SSL: error:"#),
            ("PAIR ssl_conf_command Nonsense x;", #"SSL_CONF_cmd("Nonsense", "x") failed (SSL: error:"#),
            ("PAIR ssl_buffer_size x;", #"invalid value "x" in "ssl_buffer_size""#),
            ("ssl_certificate $ssl_server_name.crt; ssl_certificate_key $nothing.key;", #"unknown "nothing" variable in 2:"#),
            ("PAIR ssl_certificate_cache inactive=1m;", #""ssl_certificate_cache" must have the "max" parameter in 2:"#),
            ("PAIR ssl_certificate_cache max=0;", #"invalid value "0" in "ssl_certificate_cache""#),
            ("PAIR ssl_certificate_cache some;", #"invalid value "some" in "ssl_certificate_cache""#),
            ("PAIR ssl_stapling on; ssl_stapling_file gone;", #"cannot load "/prefix/gone" (2: "#),
            ("PAIR ssl_stapling on; ssl_stapling_file bad;", #"cannot load "/prefix/bad" (SSL: error:"#),
            ("PAIR ssl_stapling on; ssl_certificate_compression on;", #""ssl_stapling" is incompatible with "ssl_certificate_compression""#),
            ("PAIR ssl_ocsp sometimes;", #"invalid value "sometimes" in "ssl_ocsp""#),
            (
                "PAIR ssl_ocsp on; ssl_verify_client optional_no_ca;",
                #""ssl_ocsp" is incompatible with "ssl_verify_client optional_no_ca" in 2:"#
            ),
            ("PAIR ssl_ocsp on; ssl_ocsp_responder https://localhost/;", #"invalid URL prefix in OCSP responder "https://localhost/""#),
            ("PAIR ssl_ocsp on; ssl_ocsp_responder http://nowhere/;", #"host not found in OCSP responder "http://nowhere/""#),
            ("PAIR ssl_ocsp_cache shared:a:1;", #"OCSP cache "shared:a:1" is too small"#),
            ("PAIR ssl_ocsp_cache some;", #"invalid OCSP cache "some""#),
            ("PAIR ssl_key_log gone/x;", "failed (SSL: error:"),
            ("PAIR ssl_early_data maybe;", #"invalid value "maybe" in "ssl_early_data""#),
            ("ssl_certificate $ssl_server_name.crt; ssl_certificate_key a.key; ssl_certificate_cache max=10 valid=1h;", "accepted"),
            ("PAIR ssl_ocsp leaf; ssl_ocsp_responder http://localhost:99/x; ssl_ocsp_cache shared:a:32k; ssl_early_data on;", "accepted"),
            ("PAIR ssl_verify_client maybe;", #"invalid value "maybe" in "ssl_verify_client""#),
            ("PAIR ssl_verify_client on;", "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client"),
            ("PAIR ssl_verify_client on; ssl_client_certificate gone;", #"cannot load certificate "/prefix/gone" (2: No such"#),
            ("PAIR ssl_verify_client on; ssl_client_certificate bad;", #"cannot load certificate "/prefix/bad" (SSL: error:"#),
            ("PAIR ssl_trusted_certificate bad;", #"cannot load certificate "/prefix/bad" (SSL: error:"#),
            ("PAIR ssl_crl a.crt;", #"cannot load lists of revoked certificates "/prefix/a.crt" (SSL: error:"#),
            ("PAIR ssl_verify_depth x;", #"invalid value "x" in "ssl_verify_depth""#),
            ("PAIR ssl_session_cache some;", #"invalid session cache "some" in 2:69"#),
            ("PAIR ssl_session_cache shared:a;", #"invalid session cache "shared:a""#),
            ("PAIR ssl_session_cache shared::1m;", #"invalid session cache "shared::1m""#),
            ("PAIR ssl_session_cache builtin:x;", #"invalid session cache "builtin:x""#),
            ("PAIR ssl_session_cache shared:a:1k;", #"session cache "shared:a:1k" is too small"#),
            (
                "PAIR ssl_session_cache shared:a:1m; } server { listen 444 ssl; PAIR ssl_session_cache shared:a:2m;",
                #"the size 2097152 of shared memory zone "a" conflicts with already declared size 1048576"#
            ),
            ("PAIR ssl_session_ticket_key bad;", #""/prefix/bad" must be 48 or 80 bytes in 2:"#),
            ("PAIR ssl_session_ticket_key gone;", #"open() "/prefix/gone" failed (2: "#),
            ("PAIR", "accepted"), ("PAIR ssl_session_cache builtin:10 shared:a:1m; ssl_session_timeout 1h; ssl_session_tickets off;", "accepted"),
            ("PAIR ssl_verify_client on; ssl_client_certificate a.crt; ssl_trusted_certificate b.crt; ssl_verify_depth 3;", "accepted"), ("PAIR ssl_ciphers HIGH; ssl_ecdh_curve X25519:prime256v1; ssl_prefer_server_ciphers on;", "accepted"),
            ("PAIR ssl_protocols SSLv3 TLSv1 TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;", "accepted"),
            ("ssl_certificate a.crt; ssl_certificate_key sealed.key; ssl_password_file pass;", "accepted"),
            ("ssl_reject_handshake on;", "accepted"),
        ])
    func refused(written: String, wanted: String) throws {
        let told = try told(written)
        #expect(told.contains(wanted), "\(told)")
        if wanted != "accepted" { #expect(told.contains(" in 2:"), "\(told)") }
    }

    @Test func everyServerOfARejectingAddressNeedsItsCertificate() throws {
        let refused = refusal(
            whole: "events { } http { server { listen 443 ssl; ssl_reject_handshake on; }\nserver { listen 443; server_name a; } }", on: try Self.system())
        #expect(refused == #"no "ssl_certificate" is defined for the "listen ... ssl" directive in 2:10"#)
    }

    @Test func certificatesAreInheritedUntilAServerHasItsOwn() throws {
        let built = try build(
            "ssl_certificate a.crt; ssl_certificate_key a.key; server { listen 443 ssl; } server { listen 80; ssl_protocols TLSv1.3; }",
            on: try Self.system())
        #expect(built.root.listens[0].isTLS)
        #expect(!built.root.listens[1].isTLS)
        #expect(built.root.servers[0].tls.context != nil)
        #expect(built.root.servers[0].tls.context != built.root.servers[1].tls.context)
    }


    /// More of it than is read may matter: a list of revoked certificates of which the end is missing revokes too little.
    @Test func aFileThatIsTooLargeIsRefused() throws {
        let system = try Self.system()
        system.files["/prefix/large.crt"] = (system.files["/prefix/a.crt"] ?? "") + String(repeating: "text\n", count: 4 << 20)
        let text = "events { } http { server { listen 443 ssl; \(Self.pair)\nssl_trusted_certificate large.crt; } }"
        #expect(
            refusal(whole: text, on: system).hasPrefix(#"cannot load certificate "/prefix/large.crt" (it has more than 16 MiB)"#))
    }
}
