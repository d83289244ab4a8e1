// Owns the plain delivery of requests and responses: bodies in each framing, both ways.

import TestSupport
import Testing

@Suite("delivery", .ownThread)
struct DeliveryTests {
    @Test func aRequestReachesTheUpstreamAndItsAnswerTheClient() throws {
        let upstream = try Upstream(saying: "hello")
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); }")
        let response = try proxy.get("/path?q=1", ["X-One: 1"])
        #expect(response.status == 200)
        #expect(response.text == "hello")
        let seen = upstream.requests
        #expect(seen.count == 1)
        #expect(seen.first?.target == "/path?q=1")
        #expect(seen.first?["X-One"] == "1")
    }
}
