// Owns the library as another program uses it: a server in this very process, proxied through, reloaded and shut down.
// The code between the README marks is the README's, word for word; a test holds the two together.

import Foundation
import Switchback
import TestSupport
import Testing

// README begins
func serve(port: Int, service: Int) throws(ProxyServerError) -> ProxyServer {
    let server = try ProxyServer(
        configuration: """
            events { }
            http {
                access_log off;
                server {
                    listen 127.0.0.1:\(port);
                    location / { proxy_pass http://127.0.0.1:\(service); }
                }
            }
            """)
    try server.start()  // returns when connections are accepted; the workers are threads of their own
    return server
}
// README ends

@Suite("embedding")
struct EmbeddingTests {
    private func get(_ port: Int, _ target: String = "/") throws -> Response {
        try RawClient(.tcp("127.0.0.1", port)).request("GET", target, ["Connection: close"])
    }

    /// A configuration of one location.
    private func configuration(_ port: Int, _ location: String) -> String {
        "events { } http { access_log off; server { listen 127.0.0.1:\(port); location / { \(location) } } }"
    }

    @Test func theReadmeShowsTheCodeOfThisFile() throws {
        let source = try String(contentsOfFile: #filePath, encoding: .utf8)
        let shown = try #require(source.firstMatch(of: /README begins\n(?s)(.*?)\/\/ README ends/)?.1)
        let readme = try String(contentsOfFile: Harness.packageDirectory + "/README.md", encoding: .utf8)
        #expect(readme.contains("```swift\nimport Switchback\n\n\(shown)```"))
    }

    @Test func aProgramProxiesReloadsAndShutsDownInItsOwnProcess() throws {
        let port = try Ports.reserve()
        let blue = try Upstream(saying: "blue")
        let green = try Upstream(saying: "green")
        let server = try serve(port: port, service: blue.port)
        #expect(try get(port).text == "blue")
        #expect(blue.requests.first?.version == "HTTP/1.1")
        try server.reload(configuration: configuration(port, "proxy_pass http://\(green.endpoint);"))
        #expect(try get(port).text == "green")
        server.shutdown(gracefully: true)
        server.waitUntilStopped()
        #expect(throws: (any Error).self) { try get(port) }
    }

    @Test func aGracefulShutdownWaitsForTheRequestInFlight() throws {
        let port = try Ports.reserve()
        let release = Signal()
        let service = try Upstream { _, connection in
            release.wait()
            try connection.answer(body: "late")
        }
        let server = try serve(port: port, service: service.port)
        let client = try RawClient(.tcp("127.0.0.1", port))
        try client.send(RawClient.text())
        _ = try service.waitForRequests(1)
        server.shutdown(gracefully: true)
        try Harness.wait(for: "new connections to be refused") {
            guard let fd = try? Sockets.connect(.tcp("127.0.0.1", port)) else { return true }
            close(fd)
            return false
        }
        release.fire()
        let response = try client.response()
        #expect(response.status == 200)
        #expect(response.text == "late")
        server.waitUntilStopped()
    }

    @Test func aShutdownThatIsNotGracefulCutsTheRequestInFlight() throws {
        let port = try Ports.reserve()
        let service = try Upstream { _, connection in connection.hold() }
        let server = try serve(port: port, service: service.port)
        let client = try RawClient(.tcp("127.0.0.1", port))
        try client.send(RawClient.text())
        _ = try service.waitForRequests(1)
        server.shutdown(gracefully: false)
        server.waitUntilStopped()
        #expect(throws: (any Error).self) { try client.response() }
    }

    @Test func aBadConfigurationIsThrownWithItsPlaceAndChangesNothing() throws {
        let first = #expect(throws: ProxyServerError.self) {
            _ = try ProxyServer(configuration: "events { }\nhttp { nonsense on; }\n")
        }
        #expect(first?.place == "configuration:2:8")
        #expect(first?.description == "unknown directive \"nonsense\" in configuration:2:8")

        let port = try Ports.reserve()
        let server = try ProxyServer(configuration: configuration(port, "return 200 here;"))
        try server.start()
        let second = #expect(throws: ProxyServerError.self) {
            try server.reload(configuration: configuration(port, "proxy_pas http://127.0.0.1;"))
        }
        #expect(second?.description.hasSuffix("did you mean \"proxy_pass\"?") == true)
        #expect(try get(port).text == "here")
        server.shutdown(gracefully: true)
        server.waitUntilStopped()
    }

    @Test func anAddressInUseIsThrownWithoutAPlace() throws {
        let taken = try Upstream(saying: "x")
        let server = try ProxyServer(configuration: configuration(taken.port, "return 200;"))
        let error = #expect(throws: ProxyServerError.self) { try server.start() }
        #expect(error?.place == nil)
        #expect(error?.description == "bind() to 127.0.0.1:\(taken.port) failed (98: Address already in use)")
    }

    @Test func twoServersRunBesideEachOther() throws {
        let ports = try (0..<2).map { _ in try Ports.reserve() }
        let servers = try ports.map { port in
            let server = try ProxyServer(configuration: configuration(port, "return 200 \(port);"))
            try server.start()
            return server
        }
        for port in ports { #expect(try get(port).text == "\(port)") }
        servers[0].shutdown(gracefully: true)
        servers[0].waitUntilStopped()
        #expect(try get(ports[1]).text == "\(ports[1])")
        servers[1].shutdown(gracefully: true)
        servers[1].waitUntilStopped()
    }
}
