// `proxyctl weight VARIANT PERCENT`: gives a variant a share of its split.

import AdminAPI
import ArgumentParser

struct WeightVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "weight",
        abstract: "Give a variant a percentage of its split.",
        discussion: """
            The other variants share the rest in proportion to what they have. The split is found by the variant's name.
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
        var request = write.request("PATCH", ["splits", name], readAt: names.revision)
        request.body = WeightsPatch(weights: wanted).json.bytes(pretty: false)
        try waiting.finish(try write.perform(request, client), write.server, client)
    }
}
