// Owns the promise that a deploy may be killed at any point: what was begun is gone on with or undone, and no request notices.
// PROXYCTL_CRASH_AT makes proxyctl kill itself (SIGKILL) at the n-th place where it has just recorded or done something.

import Foundation
import TestSupport
import Testing

@Suite("deploys that are cut off", .ownThread)
struct DeployCrashTests {
    /// Killed at each place in turn, then taken up: the release comes into service, each time.
    @Test func isTakenUpWhereverItWasCutOff() throws {
        try eachCrash { stage, version in
            let result = try stage.run("deploy", "--resume")
            #expect(result.status == 0, "\(version): \(result.all)")
            #expect(try stage.served() == "\(version)\n")
            return true
        }
    }

    /// Killed at each place in turn, then undone: the version before serves on, each time, and nothing of the new one is left.
    @Test func isUndoneWhereverItWasCutOff() throws {
        try eachCrash { stage, version in
            let before = try stage.served()
            let result = try stage.run("deploy", "rollback")
            #expect(result.status == 0, "\(version): \(result.all)")
            let after = try stage.served()
            #expect(after != "\(version)\n", "before the rollback \(before)")
            return false
        }
    }

    /// Killed on the way back from a release that does not become well: the replica comes back all the same.
    @Test func aRollingWayBackIsTakenUpWhereverItWasCutOff() throws {
        let stage = try DeployStage("three-replicas")
        try stage.deploy("v0")
        var crashes = 0
        // Three places a step, and sixty that ask in vain; from there on it goes back.
        for point in 77...88 {
            let version = "v\(point)"
            // Nine seconds: what comes back has no more to begin in.
            let bad = ["BREAKS": "health", "BREAKS_VERSION": version, "TRIES": "60", "INTERVAL": "150ms", "FAILURE_ACTION": "rollback"]
            let run = try stage.start(["deploy", "--commit", version], bad.merging(["PROXYCTL_CRASH_AT": "\(point)"]) { $1 })
            let end = try run.end(withinMs: 120_000)
            if end == .exited(1) { break }
            guard end == .signalled(SIGKILL) else { throw TestFailure("\(end): \(run.output)") }
            crashes += 1
            let result = try stage.start(["deploy", "--resume"], bad).result(withinMs: 120_000)
            #expect(result.status == 1 && result.errors.contains("failed and is undone"), "crash at \(point): \(result.all)")
            #expect(Set(try (0..<6).map { _ in try stage.served() }) == ["v0\n"], "crash at \(point)")
        }
        #expect(crashes == 12)
    }

    private func eachCrash(_ then: (DeployStage, String) throws -> Bool) throws {
        let stage = try DeployStage("two-ports")
        try stage.deploy("v0", ["--to", "green"], environment: ["BAKE": "0s"])
        var serving = "v0"
        var crashes = 0
        try stage.underLoad {
            for point in 1...100 {
                let version = "v\(point)"
                let run = try stage.start(["deploy", "--commit", version], ["PROXYCTL_CRASH_AT": "\(point)", "BAKE": "0s"])
                let end = try run.end(withinMs: 120_000)
                if end == .exited(0) { break }
                guard end == .signalled(SIGKILL) else { throw TestFailure("\(end): \(run.output)") }
                crashes += 1
                // Past its last entry there is nothing to take up.
                let headline = try stage.run("deploy", "status").output.prefix { $0 != "\n" }
                if headline.contains("version \(version),"), headline.hasSuffix(": done") {
                    serving = version
                    continue
                }
                if try then(stage, version) { serving = version }
                #expect(try stage.served() == "\(serving)\n", "crash at \(point)")
            }
        }
        // A record and an act a step, some probes of which count by themselves.
        #expect(crashes > 20)
    }
}
