// `proxyctl switch VARIANT`: gives a variant all of its split.

import ArgumentParser

struct SwitchVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "switch",
        abstract: "Send everything to one variant of a split.",
        discussion: """
            New requests go there from the next one on; those in flight end where they are. The way back: proxyctl undo.
            To a variant of which no server takes requests is refused, unless --force.
              proxyctl switch green --reason "release 42" --wait
            """)

    @Argument(help: "A variant: an upstream that a split names.", completion: Completions.variants)
    var variant: String

    @Option(help: "The split, where several have the variant.", completion: Completions.splits)
    var split: String?

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var write: WriteOptions

    func run() throws {
        try SplitChange(variant: variant, split: split, value: .share(.all)).perform(write, waiting)
    }
}
