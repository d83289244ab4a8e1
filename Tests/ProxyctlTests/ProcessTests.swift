// Tests how programs are ended: with all that they have started, in their time, and not longer.

import Foundation
import Testing

@testable import proxyctl

@Suite("processes")
struct ProcessTests {
    /// A shell in a group of its own that runs `script`; the pids that it has written to `file`.
    private func begin(_ script: String, pids count: Int) throws -> (identity: ProcessIdentity, pids: [pid_t]) {
        let file = NSTemporaryDirectory() + "pids-" + UUID().uuidString
        defer { unlink(file) }
        let spawned = try Spawn.shell("read -r go <&3; \(script)", [file], env: [:], log: "/dev/null", isSession: false)
        spawned.open()
        let identity = try #require(ProcessIdentity(running: spawned.pid))
        let endMs = Clock.monotonicMs + 10_000
        var pids: [pid_t] = []
        while pids.count < count, Clock.monotonicMs < endMs {
            pids = (Files.text(file) ?? "").split(separator: "\n").compactMap { pid_t($0) }
            usleep(5000)
        }
        #expect(pids.count == count)
        return (identity, pids)
    }

    private func runs(_ pid: pid_t) -> Bool { ProcessIdentity(running: pid) != nil }

    /// The shell in front goes at once; what it has started is deaf.
    @Test func whatIsDeafIsKilledThoughItsShellIsGone() throws {
        let (identity, pids) = try begin("sh -c 'trap \"\" TERM; echo $$ >> \"$0\"; while :; do sleep 1; done' \"$1\"; true", pids: 1)
        #expect(identity.end(SIGTERM, graceMs: 200, patienceMs: 5000) == .killed)
        #expect(!identity.isRunning && pids.allSatisfy { !runs($0) })
    }

    /// It has the time it takes, behind a shell too.
    @Test func whatTidiesUpHasItsTime() throws {
        let (identity, pids) = try begin("sh -c 'trap \"sleep 0.3; exit 0\" TERM; echo $$ >> \"$0\"; while :; do sleep 0.05; done' \"$1\"; true", pids: 1)
        let begunMs = Clock.monotonicMs
        #expect(identity.end(SIGTERM, graceMs: 10_000, patienceMs: 1000) == .byItself)
        #expect(Clock.monotonicMs - begunMs >= 250 && pids.allSatisfy { !runs($0) })
    }
}
