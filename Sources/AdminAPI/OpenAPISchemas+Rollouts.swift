// The schemas of rollouts and their policies: bodies and answers. The codecs stand in the module Rollout, which this one does not know;
// tests hold the two against each other.

extension OpenAPISchemas {
    private static func number(_ about: String) -> JSON { type("number", about) }
    private static func orOff(_ name: String, _ about: String) -> JSON { orNull(name, about + " null: off.") }
    private static func timeOrOff(_ about: String) -> JSON {
        .members(["description": .string(about + " null: off."), "examples": ["200ms", "1s"], "type": ["string", "integer", "null"]])
    }

    private static let errorClasses = ["connect", "timeout", "reset", "invalid_answer", "status_5xx", "status_4xx", "grpc_status"]
    private static let strategies = ["blue-green", "canary", "rolling", "ab"]
    private static let phases = [
        "pending", "shadowing", "running", "waiting_for_approval", "paused", "inconclusive", "frozen", "baking", "rolling_back", "succeeded",
        "rolled_back", "aborted", "failed",
    ]

    // MARK: Policies

    private static let policy: KeyValuePairs<String, JSON> = [
        "name": text("By which it is kept."), "strategy": words(strategies, "How traffic moves."),
        "steps": list(integer("", 1...100), "Shares of the new variant, in percent, rising."),
        "interval": time("How long a step is looked at.", default: "1m"), "warm_up": time("Left out at a step's beginning; a quarter of it at most."),
        "samples_min": count("Fewest requests of each variant in a step, for a verdict."),
        "alpha": number("The probability of ever failing a variant that is no worse."),
        "error_rise_min": number("The smallest rise of the error ratio worth a failure; of 1."),
        "latency_rise_min": time("The smallest rise of p95 and p99 worth a failure ..."), "latency_rise_min_ratio": number("... and by what ratio."),
        "errors": list(words(errorClasses), "What counts as an error."),
        "inconclusive": words(["hold", "probe", "go_on"], "When nothing can be said at the end of a step."),
        "approval_steps": list(integer("", 1...100), "Steps that an operator must approve."), "guards": reference("Guards"),
        "bake": time("How long guards stand when the new variant has everything.", default: "5m"),
        "rollback": type("boolean", "false: what calls for a rollback freezes instead."),
        "sick_way_back": words(["freeze", "roll_back"], "When the variant to go back to is sick itself."),
        "shadow": .members(["anyOf": [reference("ShadowGate"), .members(["type": "null"])]]),
        "checks": .members(["anyOf": [reference("HealthCheck"), .members(["type": "null"])]]),
        "dependencies": list(reference("Dependency")), "notify": list(type("string"), "Addresses that are told by a POST of JSON with \"text\"."),
    ]

    private static let guards: KeyValuePairs<String, JSON> = [
        "window": time("What they look at.", default: "15s"), "samples_min": count("Fewest requests of a variant in it."),
        "errors_min": count("Fewest errors."), "deviations": number("By how many standard deviations a limit must be exceeded."),
        "checks_failed_max": orOff("integer", "Health checks of the new variant failed in a row."),
        "error_ratio_max": orOff("number", "Of requests to the new variant; of 1."),
        "error_rise_max": orOff("number", "Over the old variant's; of 1."), "latency_rise_max": timeOrOff("Of p95 over the old variant's."),
        "latency_rise_max_ratio": orOff("number", "Of p95 over the old variant's."), "latency_rise_floor": time("A rise by a ratio is so long at least."),
        "throughput_drop_max": orOff("number", "Of the share of requests that are answered at all; of 1."),
        "dependency_fails_max": orOff("integer", "Checks of a dependency failed in a row."), "metrics": list(reference("Metric")),
    ]

    private static let target: KeyValuePairs<String, JSON> = [
        "interval": time("", default: "5s"), "timeout": time("", default: "2s"), "uri": text("A path on every server of a variant."),
    ]

    static let rolloutBodies: [String: JSON] = [
        "Policy": object("How a rollout goes; fields left out have their defaults.", policy, required: ["name"]),
        "PolicyWrite": object("The policy, and why. Its name is that of the path.", policy, and: ["reason": reason], required: []),
        "Guards": object("Limits that act at once.", guards, required: []),
        "ShadowGate": object(
            "Mirrored answers must be the old variant's.",
            [
                "compared_min": count("Fewest requests."), "differs_max": number("Share that may differ beyond the noise; of 1."),
                "time_max": time("How long to wait for so many.", default: "10m"),
                "share": integer("Percent of the safe requests that are sent twice.", 1...100),
                "noise": integer("Percent of these that go to the old variant again.", 0...100),
                "headers": list(type("string"), "Fields that are compared besides status and body."),
            ], required: []),
        "HealthCheck": object("Health requests to both variants.", target, required: ["uri"]),
        "Dependency": object(
            "What the variants depend on: asked of them (uri), or itself (url).", target,
            and: ["name": text(), "url": text("`$variant` in it is the variant's name.")], required: ["name"]),
        "Metric": object(
            "A figure from outside; `$variant` in texts is the variant's name.",
            [
                "name": text(), "max": number("More is too much."), "breaches": count("Readings over it in a row."), "interval": time("", default: "5s"),
                "rss": text("A file with the number of a process: its resident memory, in MiB."),
                "command": list(type("string"), "A program in the folder of rollout_commands, and arguments."),
                "url": text("An address that answers a number."), "prometheus": object("A query.", ["url": text(), "query": text()]),
            ], required: ["name", "max"]),
        "RolloutStart": object(
            "A rollout, and why.",
            [
                "split": text(), "to": text("The variant that is to have everything."),
                "policy": .members(["anyOf": [.members(["type": "string"]), reference("Policy")], "description": "A name, or a policy."]),
                "way_back": flag("It leads back from a release that failed: it is frozen rather than rolled back."), "reason": reason,
            ], required: ["split", "to"]),
        "ReplayRequest": object(
            "Another policy.",
            ["policy": .members(["anyOf": [.members(["type": "string"]), reference("Policy")], "description": "A name, or a policy."]), "reason": reason],
            required: ["policy"]),
    ]

    // MARK: Rollouts

    private static let summary: KeyValuePairs<String, JSON> = [
        "number": count(), "split": text(), "old": text("The way back."), "new": text(), "policy": text("Its name."), "strategy": words(strategies),
        "phase": words(phases), "percent": integer("The new variant's share.", 0...100), "step": type("integer", "Of `steps`, from 0; -1: none yet."),
        "steps": list(integer("", 1...100)), "started": moment(""), "who": text(), "reason": text(),
        "revision": count("The one that its last switch made."), "finding": reference("Finding"),
    ]

    private static let always = [
        "number", "split", "old", "new", "policy", "strategy", "phase", "percent", "step", "steps", "started", "who", "reason",
    ]

    static let ofRollouts: [String: JSON] = [
        "RolloutSummary": object("A rollout.", summary, required: always),
        "Rollout": object(
            "A rollout with its figures and what it has said.", summary,
            and: [
                "due": moment("When the step is judged next, or the bake time ends."), "entries": list(reference("RolloutEntry"), "What it has said."),
                "figures": object("Over the window of the guards.", ["new": reference("VariantFigures"), "old": reference("VariantFigures")]),
                "plan": reference("Policy"), "way_back": words(["well", "sick"]), "warnings": list(type("string")),
            ], required: always + ["entries"]),
        "RolloutList": object("Newest first.", ["rollouts": list(reference("RolloutSummary"))]),
        "PolicyList": object("Sorted by name.", ["policies": list(reference("Policy"))]),
        "VariantFigures": object(
            "What was seen of a variant.",
            [
                "window": time(""), "started": count(), "finished": count(), "errors": count(), "error_ratio": number("Of 1."),
                "errors_by_class": map(count()), "p50_ms": number(""), "p95_ms": number(""), "p99_ms": number(""),
            ], required: ["window", "started", "finished", "errors", "error_ratio", "errors_by_class"]),
        "Figure": object("A number that was seen or compared with.", ["name": text(), "value": number("")]),
        "Finding": object(
            "A reason.",
            [
                "kind": text("For programs."), "text": text("One sentence."), "common": flag("Both variants have it."),
                "figures": list(reference("Figure")),
            ], required: ["kind", "text"]),
        "RolloutEntry": object(
            "What a rollout said, with the figures it saw.",
            [
                "at": moment(""), "at_ms": type("integer", "Milliseconds since 1970."), "kind": text("For programs."), "phase": words(phases),
                "percent": integer("", 0...100), "text": text("One sentence."), "figures": list(reference("Figure")), "finding": text(),
                "who": text("The operator; left out: the rollout itself."), "revision": count(),
            ], required: ["at", "at_ms", "kind", "phase", "percent", "text"]),
        "Record": object("What went in and what was said.", ["plan": type("object"), "lines": list(type("object"))]),
        "Replay": object(
            "What another policy would have done.",
            [
                "policy": text(), "phase": words(phases), "percent": integer("", 0...100), "summary": text("One sentence."),
                "requests": count("Of the new variant until then."), "errors": count("Among them."), "ended": moment("When it would have ended."),
                "finding": reference("Finding"), "entries": list(reference("RolloutEntry")),
            ], required: ["policy", "phase", "percent", "summary", "requests", "errors", "entries"]),
    ]
}
