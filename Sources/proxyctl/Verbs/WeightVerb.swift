// `proxyctl weight VARIANT PERCENT`: gives a variant a share of its split.

import AdminAPI
import ArgumentParser

struct WeightVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "weight",
        abstract: "Give a variant a percentage of its split.",
        discussion: """
            The other variants share the rest in proportion to what they have. The split is found by the variant's name.
            More for a variant of which no server takes requests is refused, unless --force.
              proxyctl weight green 10 --reason "release 42" --wait
            """)

    @Argument(help: "A variant: an upstream that a split names.", completion: Completions.variants)
    var variant: String

    @Argument(help: "Its share, 0 to 100, with up to two digits behind the point; with --raw its weight.")
    var percent: String

    @Option(help: "The split, where several have the variant.", completion: Completions.splits)
    var split: String?

    @Flag(help: "Set the weight as a number, and leave those of the others.")
    var raw = false

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var write: WriteOptions

    func validate() throws {
        if raw {
            guard let weight = Int(percent), (0...WeightShares.weightMax).contains(weight) else {
                throw ValidationError("a weight is a whole number from 0 to \(WeightShares.weightMax)")
            }
        } else if Share.parse(percent) == nil {
            throw ValidationError("a share is a number from 0 to 100, such as 10, 12.5 or 99.95")
        }
    }

    func run() throws {
        var change = SplitChange(variant: variant, split: split, value: .share(Share.parse(percent) ?? .all))
        if raw { change.value = .weight(Int(percent) ?? 0) }
        try change.perform(write, waiting)
    }
}

/// Reads the split, computes its weights, and sets them on condition that nothing has changed in between.
struct SplitChange {
    enum Value {
        case share(Share)
        case weight(Int)
    }
    var variant: String
    var split: String?
    var value: Value

    func perform(_ write: WriteOptions, _ waiting: WaitOptions) throws(Failure) {
        let client = try write.server.client()
        let names = try RunningNames.read(client)
        let (name, weights) = try names.split(with: variant, named: split)
        var wanted: [String: Int] = [:]
        switch value {
        case .weight(let weight): wanted = [variant: weight]
        case .share(let share):
            guard let shares = WeightShares.giving(share, to: variant, in: weights) else {
                throw Failure(.usage, "\(variant) is the only variant of the split \(name): nobody could have the rest")
            }
            wanted = shares
        }
        if !write.force, !write.dryRun { try Self.expectServers(wanted, weights, client) }
        var request = write.request("PATCH", ["splits", name], readAt: names.revision)
        request.body = WeightsPatch(weights: wanted).json.bytes(pretty: false)
        try waiting.finish(try write.perform(request, client), write.server, client)
    }

    /// Refuses to send more requests to where nobody takes them. A plan warns of it instead.
    private static func expectServers(_ wanted: [String: Int], _ now: [String: Int], _ client: AdminClient) throws(Failure) {
        let next = now.merging(wanted) { _, new in new }
        let growing = next.keys.sorted().filter { share($0, next) > share($0, now) }
        if growing.isEmpty { return }
        let status = try client.send(AdminRequest("GET", ["status"])).orProblem().decoded(Status.self)
        for upstream in status.upstreams where growing.contains(upstream.name) && !upstream.takesRequests {
            let states = upstream.servers.map { "\($0.server) is \($0.weight == 0 ? "without weight" : $0.state)" }
            let server = upstream.servers.first { ["down", "drain"].contains($0.state) }?.server
            let up = server.map { Words.printable("`proxyctl server up \(upstream.name) \($0)` takes it into service; ") } ?? ""
            throw Failure(
                .refused,
                Words.printable("no server of \(upstream.name) takes requests: nothing was changed")
                    + states.map { "\n    " + Words.printable($0) }.joined(),
                hint: up + "--force changes the weights all the same.")
        }
    }

    private static func share(_ variant: String, _ weights: [String: Int]) -> Double {
        let total = weights.values.reduce(0.0) { $0 + Double($1) }
        return total > 0 ? Double(weights[variant] ?? 0) / total : 0
    }
}

extension UpstreamStatus {
    /// A server alone is asked whatever became of the requests before.
    fileprivate var takesRequests: Bool {
        servers.contains { $0.weight > 0 && ($0.isUp || servers.count == 1 && ["failed", "ejected"].contains($0.state)) }
    }
}
