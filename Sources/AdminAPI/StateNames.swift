// Names that are wanted and not there, and the names that are: what a problem tells about them.
// Called by changes and by the check of routes. It decides nothing.

extension ProxyState {
    /// Of all upstreams and splits.
    public var names: Set<String> { Set(upstreams.keys).union(splits.keys) }

    /// The names of `used` that are neither an upstream nor a split, each once, sorted.
    /// `used`: names that routes pass to.
    public func missingNames(_ used: [String]) -> [String] {
        Set(used).filter { upstreams[$0] == nil && splits[$0] == nil }.sorted()
    }

    /// The splits that have `upstream` as a variant, sorted.
    public func splits(using upstream: String) -> [String] {
        splits.filter { $0.value.weights[upstream] != nil }.keys.sorted()
    }

    func noUpstream(_ name: String) -> Problem {
        let hint =
            splits[name] == nil
            ? Naming.listed("upstream", Naming.nearest(to: name, upstreams.keys)) : "that is the name of a split"
        return Problem(.notFound, "there is no upstream \(Naming.quoted(name))", hint: hint)
    }

    func noSplit(_ name: String) -> Problem {
        let hint =
            upstreams[name] == nil
            ? Naming.listed("split", Naming.nearest(to: name, splits.keys)) : "that is the name of an upstream"
        return Problem(.notFound, "there is no split \(Naming.quoted(name))", hint: hint)
    }
}

extension UpstreamState {
    /// `name`: of this upstream.
    func noServer(_ key: ServerKey, in name: String) -> Problem {
        let wanted: String
        let nearestServers: [ServerState]
        switch key {
        case .id(let id):
            wanted = "with the id \(id)"
            nearestServers = servers.sorted {
                ($0.id.distance(to: id).magnitude, $0.id) < ($1.id.distance(to: id).magnitude, $1.id)
            }
        case .address(let text):
            wanted = Naming.quoted(text)
            let byText = Dictionary(servers.map { ($0.server, $0) }, uniquingKeysWith: { first, _ in first })
            nearestServers = Naming.nearest(to: text, byText.keys).compactMap { byText[$0] }
        }
        let list = Naming.listed("server", nearestServers.map { "\($0.server) (id \($0.id))" }, isQuoted: false)
        return Problem(.notFound, "the upstream \(Naming.quoted(name)) has no server \(wanted)", hint: list)
    }
}

/// How problems name things.
enum Naming {
    /// `the upstreams are "blue", "green" and 5 more`: at most ten of `names`, in their order.
    static func listed(_ kind: String, _ names: [String], isQuoted: Bool = true) -> String {
        let shownMax = 10
        let shown = names.prefix(shownMax).map { isQuoted ? quoted($0) : $0 }
        if names.count > shownMax {
            return "the \(kind)s are \(shown.joined(separator: ", ")) and \(names.count - shownMax) more"
        }
        guard let last = shown.last else { return "there are no \(kind)s" }
        if shown.count == 1 { return "the only \(kind) is \(last)" }
        return "the \(kind)s are \(shown.dropLast().joined(separator: ", ")) and \(last)"
    }

    /// `"app"` or `"app", "api" and "web"`.
    static func enumerated(_ names: [String]) -> String {
        let shown = names.map { quoted($0) }
        guard shown.count > 1, let last = shown.last else { return shown.joined() }
        return shown.dropLast().joined(separator: ", ") + " and " + last
    }

    /// Text of whoever asks, as a problem shows it: in quotes, on one line, at most 64 characters.
    static func quoted(_ text: String) -> String {
        let shown = text.prefix(64).map { character in
            character.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F } ? "?" : character
        }
        return "\"\(String(shown))\(text.count > 64 ? "..." : "")\""
    }

    /// `names`, the likest to `wanted` first; of equally like ones in byte order.
    /// Likeness: the fewest bytes added, removed or replaced.
    static func nearest(to wanted: String, _ names: some Sequence<String>) -> [String] {
        let wanted = Array(wanted.utf8.prefix(64))
        return names.map { (editCount(wanted, Array($0.utf8.prefix(64))), $0) }.sorted { $0 < $1 }.map(\.1)
    }

    /// Levenshtein's distance, by two rows of the usual table.
    private static func editCount(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var last = Array(0...b.count)
        for (i, byte) in a.enumerated() {
            var row = [i + 1]
            row.reserveCapacity(b.count + 1)
            for (j, other) in b.enumerated() {
                row.append(min(last[j + 1] + 1, row[j] + 1, last[j] + (byte == other ? 0 : 1)))
            }
            last = row
        }
        return last[b.count]
    }
}
