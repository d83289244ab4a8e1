// `proxyctl rollout pause|resume|approve|promote|abort`: what people say to a rollout that lives.

import AdminAPI
import ArgumentParser

protocol RolloutSteering: ParsableCommand {
    /// As in the path of the request.
    static var word: String { get }
    var choice: RolloutChoice { get }
    var write: WriteOptions { get }
}

extension RolloutSteering {
    func run() throws {
        let client = try write.server.client()
        let number = try choice.resolved(client, isLive: true)
        let answer = try client.send(write.request("POST", ["rollouts", String(number), Self.word])).orProblem()
        if write.server.json { return Output.document(answer.body) }
        if write.dryRun { return Output.line("Rollout \(number) would take it.") }
        let json = try answer.json
        Output.line("Rollout \(number) \(RolloutText.phase(json)).")
    }
}

struct RolloutPauseVerb: RolloutSteering {
    static let word = "pause"
    static let configuration = CommandConfiguration(commandName: word, abstract: "Stay at the present share. Guards stand.")
    @OptionGroup var choice: RolloutChoice
    @OptionGroup var write: WriteOptions
}

struct RolloutResumeVerb: RolloutSteering {
    static let word = "resume"
    static let configuration = CommandConfiguration(
        commandName: word, abstract: "Go on with the present step, after a pause or a freeze.")
    @OptionGroup var choice: RolloutChoice
    @OptionGroup var write: WriteOptions
}

struct RolloutApproveVerb: RolloutSteering {
    static let word = "approve"
    static let configuration = CommandConfiguration(commandName: word, abstract: "Let the next step begin.")
    @OptionGroup var choice: RolloutChoice
    @OptionGroup var write: WriteOptions
}

struct RolloutPromoteVerb: RolloutSteering {
    static let word = "promote"
    static let configuration = CommandConfiguration(
        commandName: word, abstract: "Give the new variant everything now. Guards stand for the bake time.")
    @OptionGroup var choice: RolloutChoice
    @OptionGroup var write: WriteOptions
}

struct RolloutAbortVerb: RolloutSteering {
    static let word = "abort"
    static let configuration = CommandConfiguration(commandName: word, abstract: "Give the old variant everything now.")
    @OptionGroup var choice: RolloutChoice
    @OptionGroup var write: WriteOptions
}
