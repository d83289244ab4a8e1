// Owns the setting of the suites about switching: two pools, blue and green, behind the split `app`, and what both have seen.
// Used by the suites of Switching*Tests. Connections are kept on both sides, and the proxy has no reason of its own to end one.

import Foundation
import TestSupport
import Testing

final class BlueGreen {
    let blue: Upstream
    let green: Upstream
    let proxy: Proxy

    /// - Parameters:
    ///   - split: what stands in `split app { }`.
    ///   - location: what stands in `location / { }`, besides.
    ///   - http: what stands before the server.
    ///   - handler: makes the script of each from its name; they say their names when nil.
    init(
        split: String = "blue 1; green 0;", location: String = "", http: String = "", main: String = "",
        _ handler: ((String) -> Upstream.Handler)? = nil
    ) throws {
        let handler = handler ?? { name in { _, connection in try connection.answer(body: name) } }
        blue = try Upstream(readsBodies: false, handler("blue"))
        green = try Upstream(readsBodies: false, handler("green"))
        let text = Self.configuration(blue.endpoint, green.endpoint, split: split, location: location, http: http, main: main)
        proxy = try Proxy(text)
    }

    static func configuration(
        _ blue: Endpoint, _ green: Endpoint, split: String = "blue 1; green 0;", location: String = "", http: String = "",
        main: String = ""
    ) -> String {
        Proxy.wrapped(
            """
            upstream blue { server \(blue); keepalive 64; }
            upstream green { server \(green); keepalive 64; }
            split app { \(split) }
            keepalive_requests 1000000;
            \(http)
            server {
                listen 127.0.0.1:%PORT%;
                location / {
                    proxy_pass http://app;
                    proxy_http_version 1.1;
                    proxy_set_header Connection "";
                    proxy_request_buffering off;
                    proxy_buffering off;
                    \(location)
                }
            }
            """, main)
    }

    var requestCount: Int { blue.requestCount + green.requestCount }

    /// The ids of all requests that both have seen.
    var seenIds: [String] { (blue.requests + green.requests).compactMap { $0["X-Request-Id"] } }

    func admin(_ folder: String = ".") throws -> Admin { try Admin(proxy, folder: folder) }
}

/// What the receipts of a run say together, and whether each is as it should be when nothing was lost.
struct Receipts {
    private(set) var started = 0
    private(set) var completed = 0

    /// Waits for the figures of `revisions`, the last of which may be current; complains of each that is not clean.
    init(_ revisions: ClosedRange<Int>, _ admin: Admin, sourceLocation: SourceLocation = #_sourceLocation) throws {
        for revision in revisions {
            var receipt = try admin.get("/receipts/\(revision)?wait=1")
            try Harness.wait(for: "the requests of revision \(revision) to end: \(receipt)") {
                receipt = try admin.get("/receipts/\(revision)")
                return receipt["after"]["in_flight"].int == 0 && receipt["carried"]["in_flight"].int == 0
            }
            let faults = Self.faults(receipt)
            #expect(faults == [], "receipt of revision \(revision): \(receipt)", sourceLocation: sourceLocation)
            started += receipt["after"]["started"].int ?? 0
            completed += receipt["after"]["completed"].int ?? 0
        }
    }

    /// What a receipt says that it should not.
    private static func faults(_ receipt: JSONValue) -> [String] {
        var faults: [String] = receipt["balances"].bool == true ? [] : ["it does not balance"]
        for account in ["before", "carried", "after"] {
            for figure in ["failed_by_proxy", "failed_by_upstream", "moved", "aborted_by_client"]
            where receipt[account][figure].int != 0 { faults.append("\(account) \(figure)") }
        }
        let rest = ["closed_by_proxy", "closed_by_drain", "retried", "held"]
        faults += rest.filter { receipt[$0].int != 0 }
        if receipt["visible_after_us"].isNull { faults.append("not visible") }
        return faults
    }
}
