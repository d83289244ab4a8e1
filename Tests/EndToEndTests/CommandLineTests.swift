// Owns the command line: testing a configuration, its messages with file and line, exit codes.

import Foundation
import TestSupport
import Testing

@Suite("command line", .ownThread)
struct CommandLineTests {
    private func check(_ text: String, files: [String: String] = [:]) throws -> (ProcessEnd, String, Proxy) {
        let proxy = try Proxy(text, files: files, starting: false)
        let (status, output) = try proxy.run(["-t"])
        return (status, output, proxy)
    }

    @Test func aGoodConfigurationPasses() throws {
        let (status, output, proxy) = try check("events { }\nhttp { server { listen 127.0.0.1:%PORT%; return 200; } }\n")
        #expect(status == .exited(0))
        #expect(output.contains("the configuration file \(proxy.path("proxy.conf")) syntax is ok"))
        #expect(output.contains("configuration file \(proxy.path("proxy.conf")) test is successful"))
        #expect(!FileManager.default.fileExists(atPath: proxy.path("proxy.pid")) || proxy.read("proxy.pid").isEmpty)
    }

    @Test(
        "a bad configuration fails with its place",
        arguments: [
            ("events { }\nhttp {\n nonsense on;\n}\n", "unknown directive \"nonsense\"", 3),
            ("events { }\nhttp {\n server { listen 127.0.0.1:%PORT%\n return 200; }\n}\n", "invalid parameter \"return\"", 4),
            ("events { }\nhttp {\n server { listen 127.0.0.1:%PORT%; }\n", "unexpected end of file, expecting \"}\"", 4),
            ("events { }\nhttp {\n}\n}\n", "unexpected \"}\"", 4),
            ("events { }\nhttp {\n server {\n  root;\n }\n}\n", "invalid number of arguments in \"root\" directive", 4),
            ("events { }\nhttp {\n server {\n  root a b;\n }\n}\n", "invalid number of arguments in \"root\" directive", 4),
            ("events { }\nhttp {\n server { root a;\n root b; }\n}\n", "\"root\" directive is duplicate", 4),
            ("events { }\nlocation / { }\n", "\"location\" directive is not allowed here", 2),
            ("events { }\nhttp { server { listen 127.0.0.1:99999; } }\n", "invalid port", 2),
            ("events { }\nhttp { server {\n return 200 $unknown_one; } }\n", "unknown \"unknown_one\" variable", -1),
            ("events { }\nhttp { keepalive_timeout nonsense; }\n", "invalid value", 2),
            ("events { }\nhttp { server { location / { proxy_pass nonsense; } } }\n", "invalid URL prefix", 2),
            ("events { }\nhttp { upstream u { } }\n", "no servers are inside upstream", 2),
            ("events { }\nhttp { sendfile maybe; }\n", "it must be \"on\" or \"off\"", 2),
            ("events { }\nhttp { include missing.conf; }\n", "missing.conf", 2),
            ("events { }\nhttp { server { location ~ ( { } } }\n", "(", 2),
            ("events { }\nhttp { client_max_body_size 12x; }\n", "invalid value", 2),
            ("events { }\nhttp { server { location /a { } location /a { } } }\n", "duplicate location \"/a\"", 2),
            ("http { server { return 200 \"open; } }\n", "unexpected end of file", -1),
        ])
    func bad(text: String, message: String, line: Int) throws {
        let (status, output, proxy) = try check(text)
        #expect(status == .exited(1))
        #expect(output.contains("[emerg]"))
        #expect(output.contains(message), "\(output)")
        if line > 0 { #expect(output.contains("in \(proxy.path("proxy.conf")):\(line)"), "\(output)") }
        #expect(output.contains("test failed"))
    }

    @Test(.enabled(if: !Harness.isNginx)) func whatWasMadeAtRunTimeIsKnownToTheTest() throws {
        func text(_ target: String) -> String {
            Proxy.wrapped("server { listen 127.0.0.1:%PORT%; location / { proxy_pass http://\(target); } }", "state %DIR%/state;")
        }
        let proxy = try Proxy(text("127.0.0.1:9"))
        let admin = Endpoint.unix(proxy.path("state/admin.sock"))
        for name in ["violet-made-here", "other"] {
            _ = try AdminTests.ask(admin, "PUT", "/upstreams/\(name)", body: "{\"servers\": [{\"server\": \"127.0.0.1:9\"}]}")
        }
        #expect(try AdminTests.ask(admin, "DELETE", "/upstreams/other").status == 200)
        let journal = try Data(contentsOf: URL(fileURLWithPath: proxy.path("state/journal")))
        for (target, passes) in [("violet-made-here", true), ("other", false)] {
            try proxy.configure(text(target))
            let (status, output) = try proxy.run(["-t"])
            #expect(status == .exited(passes ? 0 : 1), "\(output)")
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: proxy.path("state/journal"))) == journal)
        try proxy.configure(text("violet-made-here"))
        #expect(try proxy.run(["-s", "reload"]).status == .exited(0))
        try Harness.wait(for: "the reload") { proxy.errorLog.contains("reconfigured") }
        #expect(try AdminTests.ask(admin, "DELETE", "/upstreams/violet-made-here").status == 409)
    }

    @Test func anErrorInAnIncludedFileNamesThatFile() throws {
        let (status, output, proxy) = try check(
            "events { }\nhttp { include sites/*.conf; }\n",
            files: ["sites/a.conf": "server { listen 127.0.0.1:%PORT%; }\n", "sites/b.conf": "\n\nserver { nonsense; }\n"])
        #expect(status == .exited(1))
        #expect(output.contains("in \(proxy.path("sites/b.conf")):3"), "\(output)")
    }

    @Test func aBadConfigurationDoesNotStart() throws {
        let proxy = try Proxy("events { }\nhttp { nonsense; }\n", starting: false)
        let (status, output) = try proxy.run([])
        #expect(status == .exited(1))
        #expect(output.contains("[emerg]"))
        #expect(proxy.read("error.log").contains("unknown directive \"nonsense\" in \(proxy.path("proxy.conf")):2"))
        #expect(!FileManager.default.fileExists(atPath: proxy.path("proxy.pid")))
    }

    @Test func anAddressInUseDoesNotStart() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try Proxy(http: "server { listen \(upstream.endpoint); }", starting: false)
        let (status, output) = try proxy.run([])
        #expect(status == .exited(1))
        #expect(output.contains("bind() to \(upstream.endpoint) failed (98: Address already in use)"), "\(output)")
    }

    @Test func theWholeConfigurationIsPrinted() throws {
        let proxy = try Proxy(
            "events { }\nhttp { include part.conf; }\n", files: ["part.conf": "server { listen 127.0.0.1:%PORT%; } # part\n"],
            starting: false)
        let (status, output) = try proxy.run(["-T"])
        #expect(status == .exited(0))
        #expect(output.contains("# configuration file \(proxy.path("proxy.conf")):"))
        #expect(output.contains("# configuration file \(proxy.path("part.conf")):"))
        #expect(output.contains("server { listen 127.0.0.1:\(proxy.port); } # part"))
    }

    @Test func theVersionIsTold() throws {
        let proxy = try Proxy("events { }", starting: false)
        let (status, output) = try proxy.run(["-v"])
        #expect(status == .exited(0))
        #expect(output.contains("version"))
    }

    @Test(
        "every example of conf/ is a good configuration",
        arguments: [
            "demo.conf", "blue-green-host.conf", "three-replicas.conf", "fallback.conf", "health-addresses.conf",
            "stand-ins.conf", "canary.conf", "api-versions.conf", "health-checks.conf",
        ])
    func examples(name: String) throws {
        let text = try String(contentsOfFile: Harness.packageDirectory + "/conf/" + name, encoding: .utf8)
        let names = [("backend-green:", "127.0.0.1:"), ("backend-blue:", "127.0.0.1:")]
        let proxy = try Proxy(text, replacing: names, starting: false)
        let (status, output) = try proxy.run(["-t"])
        #expect(status == .exited(0), "\(output)")
    }

    @Test func noExampleIsForgotten() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Harness.packageDirectory + "/conf")
        for name in names where name.hasSuffix(".conf") {
            let text = try String(contentsOfFile: Harness.packageDirectory + "/conf/" + name, encoding: .utf8)
            #expect(text.hasPrefix("#"), "\(name) says what it shows")
            #expect(text.contains("proxyd -p . -c conf/\(name)"), "\(name) says how it is run")
        }
    }
}
