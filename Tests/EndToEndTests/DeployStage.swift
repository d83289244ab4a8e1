// Owns the setting of the suites about deploys: an example of `conf/deploy` beside a running proxy, with ports and times of a test.
// Used by Deploy*Tests. What deploys have started ends with it.

import Foundation
import TestSupport
import Testing

final class DeployStage {
    let proxy: Proxy
    /// Of the plan, and what it reads.
    let folder: String
    private let plan: String
    private var variables: [String: String]

    /// - Parameters:
    ///   - name: of the plan.
    ///   - proxyName: of the proxy's configuration.
    ///   - editing: pairs of texts of that configuration; the first of each must be in it.
    init(_ name: String, proxy proxyName: String? = nil, editing: [(String, String)] = []) throws {
        plan = "conf/deploy/\(name).yaml"
        let ports = try (0..<6).map { _ in try Ports.reserve() }
        let originals = proxyName == "services" || name == "services" ? [3001, 3002, 3011, 3012] : [3001, 3002, 3003, 3004, 3005, 3006]
        var replacing = editing + [("127.0.0.1:8080", "127.0.0.1:%PORT%")]
        let text = try String(
            contentsOfFile: Harness.packageDirectory + "/conf/deploy/\(proxyName ?? name).conf", encoding: .utf8)
        for (port, original) in zip(ports, originals) where text.contains("127.0.0.1:\(original)") {
            replacing.append(("127.0.0.1:\(original)", "127.0.0.1:\(port)"))
        }
        proxy = try Proxy(example: "deploy/\(proxyName ?? name).conf", replacing: replacing)
        folder = proxy.path("conf/deploy")
        try FileManager.default.createDirectory(atPath: proxy.path("conf"), withIntermediateDirectories: true)
        try Programs.copy(Harness.packageDirectory + "/conf/deploy", to: folder)
        try? FileManager.default.removeItem(atPath: folder + "/.deploy")
        let names = ["BLUE_PORT", "GREEN_PORT", "PORT1", "PORT2", "PORT3", "API_BLUE", "API_GREEN", "WEB_BLUE", "WEB_GREEN", "PORT4", "PORT5", "PORT6"]
        variables = Dictionary(uniqueKeysWithValues: zip(names, [0, 1, 0, 1, 2, 0, 1, 2, 3, 3, 4, 5].map { "\(ports[$0])" }))
        variables.merge([
            "PROXY": "http://127.0.0.1:\(proxy.port)", "INTERVAL": "20ms", "TRIES": "3000", "BAKE": "100ms", "DRAIN": "5s",
            "DELAY": "0s",
            "MONITOR": "60ms", "START_PERIOD": "0s", "WARM_UP": "0s", "STEP": "100ms", "INCONCLUSIVE": "go_on",
            "PATH": "/usr/bin:/bin", "APPROVAL": "120s", "SLOWER": "10s", "SLOWER_MAX": "10s",
        ]) { _, new in new }
        try Harness.wait(for: "the admin socket: \(proxy.errorLog)") {
            FileManager.default.fileExists(atPath: proxy.path("switchback.state/admin.sock"))
        }
    }

    deinit {
        for pid in processes.values { kill(-pid, SIGKILL) }
    }

    static let socket = "unix:switchback.state/admin.sock"

    // MARK: Running proxyctl

    func start(_ words: [String], _ more: [String: String] = [:]) throws -> Proxyctl {
        let environment = variables.merging(more) { _, new in new }.map { "\($0.key)=\($0.value)" }
        let file = words.contains("-f") ? [] : ["-f", plan]
        return try Proxyctl(proxy, words + file, admin: Self.socket, environment: environment)
    }

    @discardableResult
    func run(_ words: String..., environment: [String: String] = [:]) throws -> Proxyctl.Result {
        try start(words, environment).result(withinMs: 60_000)
    }

    /// A version that comes into service.
    func deploy(
        _ commit: String, _ words: [String] = [], environment: [String: String] = [:],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let result = try start(["deploy"] + words + ["--commit", commit], environment).result(withinMs: 60_000)
        #expect(result.status == 0, "\(result.all)", sourceLocation: sourceLocation)
    }

    /// A version that does not: everything is as before, and the reason is told.
    func refuse(
        _ commit: String, because reason: String, environment: [String: String] = [:],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let before = (try weights(), try served(), Set(processes.keys))
        let result = try start(["deploy", "--commit", commit], environment).result(withinMs: 60_000)
        #expect(result.status == 1, "\(result.all)", sourceLocation: sourceLocation)
        #expect(result.errors.contains(reason), "\(result.all)", sourceLocation: sourceLocation)
        #expect(result.errors.contains("what ran before runs on"), "\(result.all)", sourceLocation: sourceLocation)
        #expect(try weights() == before.0, sourceLocation: sourceLocation)
        #expect(try served() == before.1, sourceLocation: sourceLocation)
        #expect(before.2.isSuperset(of: processes.keys), "\(processes)", sourceLocation: sourceLocation)
    }

    // MARK: Looking

    /// Pids of what runs, by the name of their file.
    var processes: [String: pid_t] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder + "/.deploy/pids")) ?? []
        var result: [String: pid_t] = [:]
        for name in names {
            let text = (try? String(contentsOfFile: folder + "/.deploy/pids/" + name, encoding: .utf8)) ?? ""
            guard let word = text.split(separator: " ").first, let pid = pid_t(word), kill(pid, 0) == 0 else { continue }
            result[(name as NSString).deletingPathExtension] = pid
        }
        return result
    }

    private func state() throws -> JSONValue { try Admin(proxy, folder: "switchback.state").get("/upstreams") }

    func weights() throws -> String { "\(try state()["splits"])" }
    func revision() throws -> Int { try state()["revision"].int ?? 0 }

    /// Who answers.
    func served(_ path: String = "/") throws -> String { try proxy.get(path).text }

    func write(_ name: String, _ text: String) throws {
        try Programs.write(text, to: folder + "/" + name)
    }
    func read(_ name: String) -> String { (try? String(contentsOfFile: folder + "/" + name, encoding: .utf8)) ?? "" }

    // MARK: Load

    /// While `body` runs, requests come; none of them fails, neither for its client nor in the proxy's account.
    func underLoad(path: String = "/", sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void) throws {
        let before = try failed()
        let load = Load(proxy.endpoint, connections: 4) { RawClient.text("GET", path, ["X-Request-Id: \($0)"]) }
        try load.waitForAnswers(20)
        try body()
        try load.waitForAnswers(20)
        let result = try load.finish()
        #expect(result.failures == [], sourceLocation: sourceLocation)
        #expect(result.count(200) == result.sent, "\(result.statuses)", sourceLocation: sourceLocation)
        #expect(try failed() == before, "\(proxy.errorLog.suffix(2000))", sourceLocation: sourceLocation)
    }

    private func failed() throws -> Int {
        let requests = try Admin(proxy, folder: "switchback.state").get("/status")["requests"]
        return (requests["failed_by_upstream"].int ?? -1) + (requests["failed_by_proxy"].int ?? -1)
    }
}

extension DeployStage {
    func rollouts() throws -> String { try Proxyctl(proxy, ["rollout", "list", "--json"], admin: Self.socket).result().output }
}
