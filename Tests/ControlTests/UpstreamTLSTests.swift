// Owns what the directives of TLS to upstreams come to, and what they say no to: positions, and OpenSSL's reason in words.
// Certificates and keys are those of TLSTests.swift.

import Bytes
import ConfigurationFile
import Engine
import Testing

@testable import Control

@Suite("directives of TLS to upstreams")
struct UpstreamTLSDirectiveTests {
    private static let pair = "proxy_ssl_certificate a.crt; proxy_ssl_certificate_key a.key;"

    /// The text in line 2, inside a location whose peers speak TLS.
    private func told(_ text: String, _ target: String = "https://127.0.0.1") throws -> String {
        let text = text.replacing("PAIR", with: Self.pair)
        return refusal(whole: "events { } http { server { location / { proxy_pass \(target);\n\(text)\n} } }", on: try TLSDirectiveTests.system())
    }

    @Test(
        "refusals",
        arguments: [
            ("proxy_ssl_certificate a.crt;", #"no "proxy_ssl_certificate_key" is defined for certificate "a.crt" in 2:23"#),
            (
                "proxy_ssl_certificate gone.crt; proxy_ssl_certificate_key a.key;",
                #"cannot load certificate "/prefix/gone.crt" (2: No such file or directory) in 2:23"#
            ),
            ("proxy_ssl_certificate a.crt; proxy_ssl_certificate_key b.key;", "key values mismatch) in 2:56"),
            ("proxy_ssl_certificate a.crt; proxy_ssl_certificate_key sealed.key;", #"cannot load certificate key "/prefix/sealed.key" (SSL: error:"#),
            ("proxy_ssl_verify on;", "no proxy_ssl_trusted_certificate for proxy_ssl_verify in 2:18"),
            ("proxy_ssl_verify on; proxy_ssl_trusted_certificate gone;", #"cannot load certificate "/prefix/gone" (2: No such file or directory) in 2:52"#),
            ("proxy_ssl_verify on; proxy_ssl_trusted_certificate bad;", #"cannot load certificate "/prefix/bad" (SSL: error:"#),
            ("proxy_ssl_verify on; proxy_ssl_trusted_certificate a.crt; proxy_ssl_crl a.crt;", #"cannot load CRL "/prefix/a.crt" (SSL: error:"#),
            ("proxy_ssl_verify_depth x;", #"invalid value "x" in "proxy_ssl_verify_depth""#),
            ("proxy_ssl_ciphers NONE:SUCH;", #"SSL_CTX_set_cipher_list("NONE:SUCH") failed (SSL: error:0A0000B9:SSL routines::no cipher match) in 2:19"#),
            ("proxy_ssl_protocols TLSv9;", #"invalid value "TLSv9" in "proxy_ssl_protocols" directive, it must be "TLSv1", "#),
            ("proxy_ssl_conf_command Nonsense x;", #"SSL_CONF_cmd("Nonsense", "x") failed (SSL: error:"#),
            ("proxy_ssl_session_reuse maybe;", #"invalid value "maybe" in "proxy_ssl_session_reuse""#),
            ("proxy_ssl_name $nobody;", #"unknown "nobody" variable in 2:16"#),
            ("proxy_ssl_certificate_cache valid=1s;", #""proxy_ssl_certificate_cache" must have the "max" parameter in 2:1"#),
            ("proxy_ssl_certificate_cache max=0;", #"invalid value "0" in "proxy_ssl_certificate_cache""#),
            ("proxy_ssl_certificate_cache max=1 often;", #"invalid value "often" in "proxy_ssl_certificate_cache""#),
            ("proxy_ssl_certificate $arg_a; proxy_ssl_certificate_key $arg_a; proxy_ssl_password_file gone;", #"open() "/prefix/gone" failed (2: "#),
            ("PAIR proxy_ssl_verify on; proxy_ssl_trusted_certificate a.crt; proxy_ssl_name $host; proxy_ssl_server_name on;", "accepted"),
            ("proxy_ssl_certificate a.crt; proxy_ssl_certificate_key sealed.key; proxy_ssl_password_file pass;", "accepted"),
            ("proxy_ssl_certificate $arg_a; proxy_ssl_certificate_key $arg_a; proxy_ssl_certificate_cache max=2 inactive=1s valid=1s;", "accepted"),
            (#"proxy_ssl_certificate ""; proxy_ssl_certificate_key ""; proxy_ssl_certificate_cache off;"#, "accepted"),
        ])
    func refused(written: String, wanted: String) throws {
        let told = try told(written)
        #expect(told.contains(wanted), "\(told)")
        if wanted != "accepted" { #expect(told.contains(" in 2:"), "\(told)") }
    }

    @Test func whatNoLocationNeedsIsNotLookedAt() throws {
        let bad = "proxy_ssl_certificate gone.crt; proxy_ssl_certificate_key gone.key; proxy_ssl_ciphers NONE:SUCH;"
        #expect(try told(bad, "http://127.0.0.1") == "accepted")
        #expect(try told(bad, "http://$arg_a") == "accepted")
        #expect(try told(bad, "https://$arg_a").contains("NONE:SUCH"))
        #expect(try told(bad, "$arg_a").contains("NONE:SUCH"))
    }

    @Test func oneContextServesAllThatSayTheSame() throws {
        let built = try build(
            """
            upstream u { server 127.0.0.1:1; } proxy_ssl_name x;
            server { location /a { proxy_pass https://u; } location /b { proxy_pass https://127.0.0.2; proxy_ssl_server_name on; }
                location /c { proxy_pass https://u; proxy_ssl_protocols TLSv1.3; } location /d { proxy_pass http://u; }
                location /e { proxy_pass https://u; proxy_ssl_protocols TLSv1.2 TLSv1.3; if ($arg_x) { set $y 1; } } }
            """, on: try TLSDirectiveTests.system())
        let tls = ["/a", "/b", "/c", "/e"].map { built.location($0).proxy.tls }
        #expect(tls[0]?.value.context == tls[1]?.value.context)
        #expect(tls[0]?.value.context == tls[3]?.value.context)
        #expect(tls[0]?.value.context != tls[2]?.value.context)
        #expect(tls[0]?.value.digest.string != tls[2]?.value.digest.string)
        #expect(tls[0]?.value.digest.count == 32)
        #expect(built.location("/d").proxy.tls == nil)
        #expect(built.inside(built.location("/e")).proxy.tls != nil)
        #expect(tls.map { $0.map { text($0.value.name) } } == ["x", "x", "x", "x"])
        #expect(built.location("/a").proxy.usesTLS)
        #expect(!built.location("/d").proxy.usesTLS)
    }

    @Test func theDigestIsOfWhatTheFilesHold() throws {
        let system = try TLSDirectiveTests.system()
        func digest() throws -> [UInt8] {
            let built = try build(
                "server { location / { proxy_pass https://127.0.0.1; proxy_ssl_verify on; proxy_ssl_trusted_certificate trusted; } }", on: system)
            return (built.location("/").proxy.tls?.value.digest.buffer).map { Array($0) } ?? []
        }
        system.files["/prefix/trusted"] = system.files["/prefix/a.crt"]
        let first = try digest()
        #expect(try digest() == first)
        system.files["/prefix/trusted"] = (system.files["/prefix/a.crt"] ?? "") + "\n" + (system.files["/prefix/a.crt"] ?? "")
        #expect(try digest() != first)
    }

    @Test(
        "host and port",
        arguments: [
            ("https://127.0.0.1", "127.0.0.1", "443", "127.0.0.1:443"), ("https://127.0.0.1:443", "127.0.0.1", "443", "127.0.0.1:443"),
            ("https://127.0.0.1:80/x", "127.0.0.1:80", "80", "127.0.0.1:80"), ("HTTPS://[::1]", "[::1]", "443", "[::1]:443"),
            ("https://unix:/s:/x", "localhost", "", "unix:/s"), ("http://127.0.0.1:80", "127.0.0.1", "80", "127.0.0.1:80"),
        ])
    func hosts(target: String, host: String, port: String, address: String) throws {
        let built = try build(server: "location / { proxy_pass \(target); }")
        let proxy = built.location("/").proxy
        #expect(proxy.hostText.string == host)
        #expect(proxy.portText.string == port)
        guard case .named(let slot) = proxy.target else {
            Issue.record("no slot")
            return
        }
        let upstream = built.snapshot.upstreams[Int(built.root.targets[Int(slot)].value.code >> 1)]
        #expect(upstream.settings.peers[0].address.text.string == address)
    }

    @Test func theSameHostPlainAndByTLSHasAPoolForEachPort() throws {
        let built = try build(
            server: "location /a { proxy_pass https://127.0.0.1; } location /b { proxy_pass http://127.0.0.1; } location /c { proxy_pass http://127.0.0.1:443; }")
        #expect(built.snapshot.upstreams.map { $0.settings.peers[0].address.text.string } == ["127.0.0.1:443", "127.0.0.1:80"])
    }
}
