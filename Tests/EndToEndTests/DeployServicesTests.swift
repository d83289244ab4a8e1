// Owns the promises about several services, static sites, migrations, approvals and notes.

import Foundation
import TestSupport
import Testing

@Suite("deploys of several services", .ownThread)
struct DeployServicesTests {
    @Test func servicesSwitchInOneChangeAndTheSiteWithThem() throws {
        let stage = try DeployStage("services")
        try stage.deploy("v1", ["--to", "green"])
        #expect(try [stage.served("/api/"), stage.served(), stage.served("/site/index.html")] == ["v1\n", "v1\n", "v1\n"])
        let revision = try stage.revision()
        try stage.underLoad(path: "/api/x") {
            try stage.deploy("v2", ["--to", "blue"])
            #expect(try stage.revision() == revision + 1, "one change for both")
            #expect(try [stage.served("/api/"), stage.served(), stage.served("/site/index.html")] == ["v2\n", "v2\n", "v2\n"])
            let back = try stage.run("deploy", "rollback")
            #expect(back.status == 0, "\(back.all)")
            #expect(try [stage.served("/api/"), stage.served(), stage.served("/site/index.html")] == ["v1\n", "v1\n", "v1\n"])
            // One of them alone.
            try stage.deploy("v3", ["web", "--to", "blue"])
            #expect(try [stage.served("/api/"), stage.served()] == ["v1\n", "v3\n"])
        }
    }

    @Test func oneThatIsNotWellKeepsAllBack() throws {
        let stage = try DeployStage("services")
        try stage.deploy("v1", ["--to", "green"])
        try stage.underLoad {
            try stage.refuse(
                "v2", because: "wait until api is well", environment: ["BREAKS": "health", "BREAKS_VERSION": "v2", "TRIES": "10"])
        }
        #expect(try stage.served("/site/index.html") == "v1\n")
    }

    @Test func aMigrationThatFailsIsTheLastThingThatHappens() throws {
        let stage = try DeployStage("migrations", proxy: "two-ports")
        try stage.deploy("v1", ["--to", "green"])
        try stage.underLoad {
            try stage.refuse("v2", because: "this migration fails", environment: ["BREAKS": "migration"])
            // It ran, what came after it failed: it is undone as well.
            try stage.refuse(
                "v2", because: "answers 503",
                environment: ["BREAKS": "health", "BREAKS_VERSION": "v2", "TRIES": "500", "COLUMN": "phone"])
            #expect(stage.read(".deploy/deploys/00003/steps/02-migrate-app.log").contains("users has phone now"))
            #expect(stage.read(".deploy/deploys/00003/steps/02-migrate-app-undo0.log").contains("users has no phone any more"))
            try stage.deploy("v3")
        }
        #expect(FileManager.default.fileExists(atPath: stage.folder + "/.deploy/ledger.sqlite.before-4"))
        let refused = try stage.run("deploy", "--commit", "v4", environment: ["PHASE": "contract"])
        #expect(
            refused.status == 1 && refused.errors.contains("migrations.yaml:") && refused.errors.contains("way back"),
            "\(refused.all)")
        #expect(try stage.run("deploy", "finish").status == 0)
        try stage.deploy("v4", environment: ["PHASE": "contract"])
    }

    /// Killed while the migration runs: that runs on, and is waited for instead of being run twice.
    @Test func aCommandOutlivesItsProxyctl() throws {
        let stage = try DeployStage("migrations", proxy: "two-ports")
        try stage.deploy("v1", ["--to", "green"])
        try stage.write(
            "migrate.py", "#!/bin/sh\necho once >> runs\nuntil test -e go; do sleep 0.01; done\necho through >> runs\n")
        try stage.underLoad {
            let first = try stage.start(["deploy", "--commit", "v2"])
            try Harness.wait(for: "the migration: \(first.output)") { stage.read("runs") == "once\n" }
            first.signal(SIGKILL)
            #expect(try first.end() == .signalled(SIGKILL))
            let second = try stage.start(["deploy", "--resume"])
            try Harness.wait(for: "taking up: \(second.output)") { second.output.contains("taking up") }
            #expect(second.isRunning)
            try stage.write("go", "")
            let result = try second.result()
            #expect(result.status == 0, "\(result.all)")
            #expect(stage.read("runs") == "once\nthrough\n")
        }
        #expect(try stage.served() == "v2\n")
    }

    @Test func aPersonApprovesAndAReceiverIsTold() throws {
        let slack = try Upstream(readsBodies: true) { _, connection in try connection.answer(body: "ok") }
        let stage = try DeployStage("two-ports")
        let plan = stage.read("two-ports.yaml")
        try stage.write(
            "two-ports.yaml",
            plan.replacing(
                "name: arq\n",
                with: "name: arq\napprove: [switch]\nnotify: {url: \"http://\(slack.endpoint)/hook?a=b\", headers: {X-Key: k}}\n")
        )
        let first = try stage.start(["deploy", "--commit", "v1", "--to", "green"])
        try Harness.wait(for: "the question: \(first.output)", withinMs: 120_000) { first.output.contains("needs approval") }
        #expect(try stage.run("deploy", "approve").output.contains("Approved: switch service to green"))
        #expect(try first.result().status == 0)
        let second = try stage.start(["deploy", "--commit", "v2"])
        try Harness.wait(for: "the question: \(second.output)", withinMs: 120_000) { second.output.contains("needs approval") }
        #expect(try stage.run("deploy", "approve", "--reject").status == 0)
        let result = try second.result()
        #expect(result.status == 1 && result.errors.contains("rejected by"), "\(result.all)")
        #expect(try stage.served() == "v1\n")
        let notes = slack.requests.map(\.text)
        #expect(notes.first?.contains(#""text":"deploy arq 1 to green (v1): begins""#) == true, "\(notes)")
        #expect(notes.contains { $0.contains(#""event":"success""#) })
        #expect(notes.contains { $0.contains(#""event":"rollback""#) && $0.contains("everything is as before") })
        #expect(slack.requests.allSatisfy { $0.target == "/hook?a=b" && $0["X-Key"] == "k" && $0.method == "POST" })
    }

    /// Where only tidying is left, nothing is undone by itself; a person who says no means it.
    @Test func aNoInFrontOfTheTidyingIsMeant() throws {
        let stage = try DeployStage("two-ports")
        try stage.write("two-ports.yaml", stage.read("two-ports.yaml").replacing("name: arq\n", with: "name: arq\napprove: [drain]\n"))
        let deploy = try stage.start(["deploy", "--commit", "v1", "--to", "green"])
        try Harness.wait(for: "the question: \(deploy.output)", withinMs: 120_000) { deploy.output.contains("needs approval") }
        #expect(try stage.run("deploy", "approve", "--reject").status == 0)
        let result = try deploy.result()
        #expect(result.status == 1 && result.errors.contains("rejected by"), "\(result.all)")
        #expect(try stage.run("deploy", "status").output.contains("undone"))
    }

    /// A receiver that is gone costs nothing but a word at the end.
    @Test func aReceiverThatIsGoneHoldsNothingUp() throws {
        let stage = try DeployStage("two-ports")
        let plan = stage.read("two-ports.yaml")
        try stage.write(
            "two-ports.yaml",
            plan.replacing(
                "name: arq\n",
                with: "name: arq\nnotify: {url: \"http://127.0.0.1:\(try Ports.reserve())/\", tries: 2, pause: 1ms}\n"))
        let result = try stage.run("deploy", "--commit", "v1", "--to", "green")
        #expect(result.status == 0 && result.errors.contains("a note was not taken"), "\(result.all)")
    }
}
