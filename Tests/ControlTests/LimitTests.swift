// Owns the directives of limits: zones and their forms, what a location is limited by, and what is refused.

import Bytes
import Engine
import Testing

@testable import Control

@Suite("limits")
struct LimitTests {
    static let zones = "limit_req_zone $binary_remote_addr zone=r:1m rate=5r/s; limit_conn_zone $server_name zone=c:32k;"

    @Test(
        "rates",
        arguments: [("", 1000), ("rate=5r/s", 5000), ("rate=30r/m", 500), ("rate=1r/m", 16), ("rate=7", 7000), ("rate=1000000r/s", 1_000_000_000)])
    func rates(written: String, perSecond: Int64) throws {
        // Three arguments are asked for: without a rate, the zone is named twice.
        let built = try build("limit_req_zone $uri zone=z:1m \(written.isEmpty ? "zone=z:1m" : written); server { }")
        #expect(built.root.limitZones[0].ratePerSecond == perSecond)
    }

    @Test(
        "limit_req",
        arguments: [
            ("zone=r", 0, 0), ("zone=r burst=5", 5000, 0), ("burst=5 zone=r nodelay", 5000, Int64.max), ("zone=r burst=5 delay=3", 5000, 3000),
        ])
    func requestLimit(written: String, burst: Int64, undelayed: Int64) throws {
        let limit = try build("\(Self.zones) server { limit_req \(written); }").location("").limits.requests[0]
        #expect(limit.burst == burst)
        #expect(limit.undelayed == undelayed)
    }

    @Test func limitsOfAnInnerBlockReplaceTheOuterOnes() throws {
        let built = try build(
            """
            limit_req zone=r; limit_conn c 3; limit_req_status 429;
            \(Self.zones) limit_req_zone $uri zone=r2:1m rate=1r/s;
            server {
                location /a { limit_req zone=r2 burst=1; limit_req zone=r; limit_req_dry_run on; }
                location /b { limit_conn_status 500; limit_conn_log_level info; }
            }
            """)
        func zones(_ list: Frozen<RequestLimit>) -> [String] {
            (0..<list.count).map { built.root.limitZones[Int(list[$0].zone)].name.string }
        }
        #expect(zones(built.location("").limits.requests) == ["r"])
        #expect(zones(built.location("/a").limits.requests) == ["r2", "r"])
        #expect(built.location("/a").limits.connections[0].most == 3)
        #expect(built.location("/a").limits.requestRefusal.isDryRun)
        #expect(built.location("/a").limits.requestRefusal.status == 429)
        #expect(built.location("/b").limits.connectionRefusal.status == 500)
        #expect(built.location("/b").limits.connectionRefusal.level == .info)
        #expect(built.location("/b").isGated)
    }

    @Test func aZoneOutlivesAReloadThatLeavesItAsItWas() {
        let registry = LimitZoneRegistry()
        let form = LimitZoneRegistry.Form(name: "a", isOfConnections: false, key: "$uri", bytes: 1 << 20)
        let first = registry.zone(form)
        #expect(registry.zone(form) === first)
        for change in ["name", "kind", "key", "size"] {
            var other = form
            switch change {
            case "name": other.name = "b"
            case "kind": other.isOfConnections = true
            case "key": other.key = "$host"
            default: other.bytes = 2 << 20
            }
            #expect(registry.zone(other) !== first, "\(change)")
        }
    }

    @Test func aZoneHasItsMemoryAndNoMore() {
        // As many states of 64 bytes as nginx promises, or more.
        #expect(LimitZone(bytes: 1 << 20).capacity >= 16 << 10)
        #expect(LimitZone(bytes: 32 << 10).capacity >= 512)
    }

    @Test(
        "refused",
        arguments: [
            ("limit_req_zone $uri rate=1r/s rate=1r/s;", #""limit_req_zone" must have "zone" parameter in 2:1"#),
            ("limit_req_zone $uri zone=a rate=1r/s;", #"invalid zone size "zone=a" in 2:21"#),
            ("limit_req_zone $uri zone=a:1k rate=1r/s;", #"zone "zone=a:1k" is too small in 2:21"#),
            ("limit_req_zone $uri zone=a:1m rate=0r/s;", #"invalid rate "rate=0r/s" in 2:31"#),
            ("limit_req_zone $uri zone=a:1m rate=fast;", #"invalid rate "rate=fast" in 2:31"#),
            ("limit_req_zone $uri zone=a:1m speed=1;", #"invalid parameter "speed=1" in 2:31"#),
            ("limit_req_zone $none zone=a:1m rate=1r/s;", #"unknown "none" variable in 2:16"#),
            ("limit_conn_zone $uri rate=1r/s;", #"invalid parameter "rate=1r/s" in 2:22"#),
            ("limit_req burst=1;", #""limit_req" must have "zone" parameter in 2:1"#),
            ("limit_req zone=nowhere;", #"zero size shared memory zone "nowhere" in 2:11"#),
            ("limit_req zone=a burst=0;", #"invalid value "0" in "limit_req" directive, it must be a whole number from 1 to 1000000000 in 2:24"#),
            ("limit_req zone=a nodely;", #"invalid parameter "nodely" in 2:18"#),
            ("limit_conn c 0;", #"invalid value "0" in "limit_conn" directive, it must be a whole number from 1 to 65535 in 2:14"#),
            ("limit_conn c 65536;", #"invalid value "65536" in "limit_conn" directive, it must be a whole number from 1 to 65535 in 2:14"#),
            ("limit_req_status 200;", #"invalid value "200" in "limit_req_status" directive, it must be a whole number from 400 to 599 in 2:18"#),
            (
                "limit_conn_log_level loud;",
                #"invalid value "loud" in "limit_conn_log_level" directive, it must be "info", "notice", "warn" or "error" in 2:22"#
            ),
            (
                "limit_conn_zone $uri zone=a:1m; limit_req zone=a;",
                #"the shared memory zone "a" is already declared for a different use in 2:43"#
            ),
            (
                "limit_conn_zone $uri zone=a:1m; limit_conn_zone $host zone=a:1m;",
                #"limit_conn_zone "a" is already bound to key "$uri" in 2:33; the first is at 2:1"#
            ),
            ("limit_conn_zone $uri zone=a:1m; limit_conn a 1; limit_conn a 2;", #""limit_conn" directive is duplicate in 2:49"#),
            (
                "limit_req_zone $uri zone=one:1m rate=1r/s; limit_req zone=on;",
                #"zero size shared memory zone "on" in 2:54; did you mean "one"?"#
            ),
        ])
    func refused(written: String, wanted: String) { #expect(refusal(written) == wanted) }

    @Test func aLocationHasNoMoreLimitsThanItsRequestsCanBear() {
        let zones = (0...Limits.limitsOfLocationMax).map { "limit_conn_zone $uri zone=z\($0):1m; limit_conn z\($0) 1;" }.joined(separator: "\n")
        #expect(refusal(zones) == #"too many "limit_conn" directives in one block in 18:35"#)
    }
}
