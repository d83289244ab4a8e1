// Owns a run of proxyctl beside a proxy: its words, what it printed, how it ended.
// Called by the suites. It finds the proxy as an operator's shell would, by PROXYCTL_ADMIN.

import Foundation

public final class Proxyctl: Sendable {
    public struct Result: Sendable {
        public var status: Int32
        public var output: String
        public var errors: String
        /// For words of an expectation.
        public var all: String { "exit status \(status)\n\(output)\(errors)" }
    }

    private let child: ChildProcess
    private let words: [String]
    private let base: String

    /// Starts it in the proxy's directory.
    public init(_ proxy: Proxy, _ words: [String], admin: String = "unix:admin.sock", environment more: [String] = []) throws {
        self.words = words
        base = proxy.path("proxyctl-" + UUID().uuidString)
        let environment = ["-C", proxy.directory, "PROXYCTL_ADMIN=" + admin, "NO_COLOR=1", "TZ=UTC"] + more
        child = try ChildProcess(
            "/usr/bin/env", environment + [Harness.proxyctl] + words, stdout: base + ".out", stderr: base + ".err")
    }

    deinit { child.signal(SIGKILL) }

    public var output: String { (try? String(contentsOfFile: base + ".out", encoding: .utf8)) ?? "" }
    private var errors: String { (try? String(contentsOfFile: base + ".err", encoding: .utf8)) ?? "" }
    public var isRunning: Bool { child.isRunning }
    public func signal(_ number: Int32) { child.signal(number) }

    /// Its end, whatever it is.
    public func end(withinMs: Int = 60_000) throws -> ProcessEnd {
        guard let end = child.waitForEnd(withinMs: withinMs) else { throw TestFailure("proxyctl \(words) did not end: \(output)\(errors)") }
        return end
    }

    /// Waits for its end.
    public func result(withinMs: Int = 60_000) throws -> Result {
        guard let end = child.waitForEnd(withinMs: withinMs) else {
            throw TestFailure("proxyctl \(words) did not end in \(withinMs) ms: \(output)\(errors)")
        }
        guard case .exited(let status) = end else { throw TestFailure("proxyctl \(words) ended, \(end)") }
        return Result(status: status, output: output, errors: errors)
    }
}

extension Proxy {
    /// Runs proxyctl to its end.
    public func proxyctl(_ words: String..., admin: String = "unix:admin.sock") throws -> Proxyctl.Result {
        try Proxyctl(self, words, admin: admin).result()
    }
}
