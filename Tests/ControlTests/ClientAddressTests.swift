// Owns the directives about clients' addresses: which addresses a network has, who is believed, and what is refused.

import Bytes
import Engine
import HTTPMessage
import Testing

@testable import Control

@Suite("clients' addresses")
struct ClientAddressTests {
    private func address(_ text: String) -> ClientAddress {
        if text == "unix:" { return ClientAddress() }
        let bytes = Array(text.utf8)
        return parseIPEndpoint(bytes.span).map(ClientAddress.init) ?? ClientAddress()
    }

    @Test(
        "a network has its addresses and no others",
        arguments: [
            ("192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1:99"], ["192.0.2.2", "192.0.3.1", "::1", "::192.0.2.1", "unix:"]),
            ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.9"], ["192.0.3.0", "192.0.1.255", "2001:db8::1"]),
            ("192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127"]), ("10.0.0.0/9", ["10.127.255.255"], ["10.128.0.0", "11.0.0.0"]),
            ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::1", "unix:"]),
            ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff::1"], ["2001:db9::", "2001:db7:ffff::", "192.0.2.1"]),
            ("2001:db8::/65", ["2001:db8::7fff:ffff:ffff:ffff"], ["2001:db8::8000:0:0:0", "2001:db8:0:1::"]),
            ("2001:db8::1", ["2001:db8::1"], ["2001:db8::2", "2001:db8::1:1"]), ("::/0", ["::", "ffff::", "::ffff:1.2.3.4"], ["1.2.3.4", "unix:"]),
            ("unix:", ["unix:"], ["127.0.0.1", "::1"]), ("all", ["unix:", "127.0.0.1", "::1"], []),
        ])
    func network(written: String, has: [String], hasNot: [String]) throws {
        let rule = try build(server: "deny \(written);").location("").accessRules[0].value
        #expect(rule.denies)
        for text in has { #expect(rule.range.contains(address(text)), "\(text)") }
        for text in hasNot { #expect(!rule.range.contains(address(text)), "\(text)") }
    }

    @Test func hostsAreResolvedWhenTheConfigurationIsRead() throws {
        let system = PlayedSystem()
        system.hosts["front.example"] = ["192.0.2.1", "2001:db8::1"]
        let trusted = try build("set_real_ip_from front.example; set_real_ip_from 10.0.0.0/8; server { }", on: system).location("").realIP.trusted
        let believed = ["192.0.2.1", "2001:db8::1", "10.1.2.3", "192.0.2.2"].map { text in
            (0..<trusted.count).contains { trusted[$0].value.contains(address(text)) }
        }
        #expect(believed == [true, true, true, false])
    }

    @Test func bitsBehindTheNetworkAreWarnedOf() throws {
        let warnings = try build("set_real_ip_from 10.0.0.1/8; server { }").warnings
        #expect(warnings.count == 1 && warnings[0].hasPrefix("low address bits of 10.0.0.1/8 are meaningless in "), "\(warnings)")
        #expect(try build("allow 10.0.0.0/8; deny 10.0.0.1; server { }").warnings == [])
    }

    @Test(
        "sources",
        arguments: [
            ("X-Forwarded-For", RealIPSettings.Source.forwardedFor), ("x-forwarded-for", .forwardedFor), ("X-Real-IP", .field),
            ("proxy_protocol", .proxyProtocol), ("CF-Connecting-IP", .field),
        ])
    func source(written: String, source: RealIPSettings.Source) throws {
        let settings = try build(server: "real_ip_header \(written);").location("").realIP
        #expect(settings.source == source)
        #expect(settings.fieldName.string == written)
    }

    @Test func onlyWhatAsksForItIsGated() throws {
        let built = try build(server: "location /a { allow all; } location /b { set_real_ip_from unix:; } location /c { real_ip_recursive on; }")
        #expect(["/a", "/b", "/c", ""].map { built.location($0).isGated } == [true, true, false, false])
    }

    @Test func anAddressTakesPROXYHeadersWhenOneOfItsServersSaysSo() throws {
        let built = try build("server { listen 80; } server { listen 80 proxy_protocol; listen 81; }")
        #expect((0..<2).map { built.root.listens[$0].acceptsProxyProtocol } == [true, false])
    }

    @Test(
        "refused",
        arguments: [
            ("allow 10.0.0.0/33;", #"invalid value "10.0.0.0/33" in "allow" directive, it must be a number of bits from 0 to 32 behind the "/" in 2:7"#),
            ("deny ::/129;", #"invalid value "::/129" in "deny" directive, it must be a number of bits from 0 to 128 behind the "/" in 2:6"#),
            ("deny ::/-1;", #"invalid value "::/-1" in "deny" directive, it must be a number of bits from 0 to 128 behind the "/" in 2:6"#),
            (
                "deny example.com;",
                #"invalid value "example.com" in "deny" directive, it must be an address, a network such as 192.0.2.0/24, "unix:" or "all" in 2:6"#
            ),
            ("set_real_ip_from nowhere.example;", #"host not found in set_real_ip_from "nowhere.example" in 2:18"#),
            ("set_real_ip_from 10.0.0.0/x;", #"invalid value "10.0.0.0/x" in "set_real_ip_from" directive, it must be a number of bits from 0 to 32 behind the "/" in 2:18"#),
            ("real_ip_header \"a b\";", #"invalid value "a b" in "real_ip_header" directive, it must be the name of a header field in 2:16"#),
            (
                "proxy_send_proxy_protocol on;",
                #"invalid value "on" in "proxy_send_proxy_protocol" directive, it must be "v1", "v2" or "off" in 2:27"#
            ),
        ])
    func refused(written: String, wanted: String) { #expect(refusal(written) == wanted) }
}
