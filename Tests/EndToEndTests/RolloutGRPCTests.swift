// Owns rollouts of gRPC services: a call that ends with a status that is the server's fault is an error, whatever HTTP says of it.

import Foundation
import TestSupport
import Testing

@Suite("rollouts of gRPC", .ownThread, .serialized, .enabled(if: !Harness.isNginx))
struct RolloutGRPCTests {
    private let call = [("content-type", "application/grpc"), ("te", "trailers")]
    private let head = [(":status", "200"), ("content-type", "application/grpc")]

    /// Answers each call as `status` says: in trailers, or in the head alone when it begins with "!".
    private func service(_ status: Locked<String>) throws -> Upstream {
        try Upstream(http2: nil) { [head] peer in
            while true {
                let r = try peer.request()
                let now = status.current
                if now.hasPrefix("!") {
                    try peer.send(HTTP2Peer.headers(r.stream, head + [("grpc-status", String(now.dropFirst()))], end: true))
                } else {
                    try peer.send(
                        HTTP2Peer.headers(r.stream, head),
                        HTTP2Peer.Frame(type: HTTP2Peer.Frame.data, flags: 0, stream: r.stream, payload: [0, 0, 0, 0, 0]),
                        HTTP2Peer.headers(r.stream, [("grpc-status", now)], end: true))
                }
            }
        }
    }

    @Test func aStatusThatIsTheServersFaultIsAnError() throws {
        let (blue, green) = (Locked("0"), Locked("0"))
        let (old, new) = (try service(blue), try service(green))
        let proxy = try Proxy(
            server: "http2 on; location / { grpc_pass app; } location /plain { proxy_http_version 2; proxy_pass http://app; }",
            http: "upstream blue { server \(old.endpoint); keepalive 8; } upstream green { server \(new.endpoint); keepalive 8; } split app { blue 1; green 0; }")
        let admin = try Admin(proxy)
        let client = try HTTP2Client(proxy)
        func ask(_ path: String = "/s/m") throws { _ = try client.answer(client.begin("POST", path, call)) }
        let policy = #"{"steps": [100], "interval": "1h", "warm_up": "0s", "bake": "1h", "guards": {"window": "10m", "samples_min": 100000, "throughput_drop_max": null}}"#
        let started = try admin.ask("POST", "/rollouts", #"{"split": "app", "to": "green", "policy": \#(policy)}"#)
        try #require(started.status == 201, "\(started.text)")
        try Harness.wait(for: "everything to go to green") { try admin.weights()["green"] == 100 }
        func figures() throws -> JSONValue { try admin.get("/rollouts/1")["figures"]["new"] }
        var calls = 0
        var errors = 0
        for (status, isError) in [
            ("0", false), ("1", false), ("2", true), ("3", false), ("4", true), ("5", false), ("6", false), ("7", false), ("8", false), ("9", false),
            ("10", false), ("11", false), ("12", true), ("13", true), ("14", true), ("15", true), ("16", false), ("17", true), ("what", true),
            ("", true), ("!0", false), ("!14", true), ("!5", false),
        ] {
            green.with { $0 = status }
            try ask()
            calls += 1
            errors += isError ? 1 : 0
            try Harness.wait(for: "call \(calls) with the status \(status) to be counted") { try figures()["finished"].int == calls }
            #expect(try figures()["errors_by_class"]["grpc_status"].int ?? 0 == errors, "grpc-status \(status)")
        }
        #expect(try figures()["errors"].int == errors)
        // By proxy_pass it is an answer like any other.
        green.with { $0 = "14" }
        try ask("/plain")
        try Harness.wait(for: "the plain request to be counted") { try figures()["finished"].int == calls + 1 }
        #expect(try figures()["errors"].int == errors)
    }

    @Test func aReleaseWhoseCallsFailIsTakenBack() throws {
        let (blue, green) = (Locked("0"), Locked("14"))
        let (old, new) = (try service(blue), try service(green))
        let proxy = try Proxy(
            server: "http2 on; location / { grpc_pass app; }",
            http: "upstream blue { server \(old.endpoint); keepalive 8; } upstream green { server \(new.endpoint); keepalive 8; } split app { blue 1; green 0; }")
        let admin = try Admin(proxy)
        let client = try HTTP2Client(proxy)
        let policy = #"{"steps": [50, 100], "interval": "1m", "warm_up": "0s", "guards": {"window": "5s"}}"#
        let started = try admin.ask("POST", "/rollouts", #"{"split": "app", "to": "green", "policy": \#(policy)}"#)
        try #require(started.status == 201, "\(started.text)")
        var end = try admin.get("/rollouts/1")
        try Harness.wait(for: "the rollout to end: \(end)") {
            for _ in 0..<20 { _ = try client.answer(client.begin("POST", "/s/m", call)) }
            end = try admin.get("/rollouts/1")
            return RolloutTests.ends.contains(end["phase"].text ?? "")
        }
        #expect(end["phase"].text == "rolled_back", "\(end)")
        #expect(end["finding"]["kind"].text == "error_ratio" || end["finding"]["kind"].text == "error_rise" || end["finding"]["kind"].text == "error_test")
        #expect(try admin.weights() == ["blue": 100, "green": 0])
        #expect(try admin.ask("GET", "/metrics").text.contains("switchback_rollout_verdicts_total{verdict=\"failed\"} 1"))
    }
}
