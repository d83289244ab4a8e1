// The locations of a server (or nested in a location): exact names and prefixes in a radix tree, then expressions.
// Built by Control; searched once a request or internal redirect. A look-up costs the length of the path, not the number of locations.

import Bytes

package struct LocationTree: BitwiseCopyable {
    private var nodes: Frozen<Node>
    private var edges: Frozen<Edge>
    package private(set) var regexes: Frozen<RegexLocation>

    struct Node: BitwiseCopyable {
        var label: ByteView
        var firstEdge: Int32 = 0
        var edgeCount: Int32 = 0
        var exact: Int32 = -1
        var prefix: Int32 = -1
        var stopsRegexes = false
        var nested: Ref<LocationTree>?
    }
    struct Edge: BitwiseCopyable {
        var byte: UInt8
        var node: Int32
    }
    package struct RegexLocation: BitwiseCopyable {
        var regex: Int32
        var location: Int32
        var nested: Ref<LocationTree>?
    }

    package static var empty: LocationTree { LocationTree() }

    private init() {
        nodes = .empty
        edges = .empty
        regexes = .empty
    }

    /// What the configuration says of one location.
    package struct Entry {
        package enum Kind { case exact, prefix, prefixBeforeRegexes, regex(Int32) }
        package var kind: Kind
        package var name: [UInt8]
        package var location: Int32
        package var nested: LocationTree?
        package init(kind: Kind, name: [UInt8], location: Int32, nested: LocationTree?) {
            self.kind = kind
            self.name = name
            self.location = location
            self.nested = nested
        }
    }

    /// Entries in the order of the configuration, which decides among expressions. Names of one kind are distinct.
    package init(_ entries: [Entry], arena: Arena) {
        let builder = RadixBuilder()
        var expressions: [RegexLocation] = []
        for entry in entries {
            let nested = entry.nested.map { arena.freeze($0) }
            switch entry.kind {
            case .exact:
                builder.node(for: entry.name).exact = entry.location
            case .prefix, .prefixBeforeRegexes:
                let node = builder.node(for: entry.name)
                node.prefix = entry.location
                node.nested = nested
                if case .prefixBeforeRegexes = entry.kind { node.stopsRegexes = true }
            case .regex(let regex):
                expressions.append(RegexLocation(regex: regex, location: entry.location, nested: nested))
            }
        }
        var nodes: [Node] = []
        var edges: [Edge] = []
        builder.freeze(into: &nodes, &edges, arena: arena)
        self.nodes = arena.freeze(nodes)
        self.edges = arena.freeze(edges)
        regexes = arena.freeze(expressions)
    }

    enum Found {
        case none
        case exact(Int32)
        /// The longest prefix.
        case prefix(Int32, stopsRegexes: Bool, nested: Ref<LocationTree>?)
        /// No location for the path, but a prefix location that is the path and a slash.
        case slashMissing(Int32)
    }

    /// The exact or longest prefix location for `path`.
    func find(_ path: ByteView, redirects: (Int32) -> Bool) -> Found {
        var best = Found.none
        if nodes.isEmpty { return best }
        var current = nodes[0]
        var position = 0
        while true {
            if current.prefix >= 0 {
                best = .prefix(current.prefix, stopsRegexes: current.stopsRegexes, nested: current.nested)
            }
            if position == path.count {
                if current.exact >= 0 { return .exact(current.exact) }
                if let next = child(of: current, 0x2F), next.label.count == 1, next.prefix >= 0, redirects(next.prefix) {
                    return .slashMissing(next.prefix)
                }
                return best
            }
            guard let next = child(of: current, path[position]) else { return best }
            let rest = path.slice(position)
            if !rest.hasPrefix(next.label) {
                // The label may be the rest of the path and a slash.
                if next.label.count == rest.count + 1, next.label[rest.count] == 0x2F, next.label.hasPrefix(rest),
                    next.prefix >= 0, redirects(next.prefix)
                {
                    return .slashMissing(next.prefix)
                }
                return best
            }
            position += next.label.count
            current = next
        }
    }

    private func child(of node: Ref<Node>, _ byte: UInt8) -> Ref<Node>? {
        var low = Int(node.firstEdge)
        var high = low + Int(node.edgeCount)
        while low < high {
            let middle = (low + high) / 2
            let edge = edges[middle]
            if edge.byte == byte { return nodes[Int(edge.node)] }
            if edge.byte < byte { low = middle + 1 } else { high = middle }
        }
        return nil
    }
}

/// The tree while it is built: ordinary objects.
private final class RadixBuilder {
    final class Node {
        var label: [UInt8]
        var children: [UInt8: Node] = [:]
        var exact: Int32 = -1
        var prefix: Int32 = -1
        var stopsRegexes = false
        var nested: Ref<LocationTree>?
        init(label: [UInt8]) { self.label = label }
    }

    private let root = Node(label: [])

    /// The node whose labels from the root spell `name`.
    func node(for name: [UInt8]) -> Node {
        var current = root
        var rest = name[...]
        while let first = rest.first {
            guard let next = current.children[first] else {
                let leaf = Node(label: Array(rest))
                current.children[first] = leaf
                return leaf
            }
            let shared = zip(next.label, rest).prefix { $0 == $1 }.count
            if shared < next.label.count {
                let middle = Node(label: Array(next.label[..<shared]))
                next.label.removeFirst(shared)
                middle.children[next.label[0]] = next
                current.children[first] = middle
                current = middle
            } else {
                current = next
            }
            rest = rest.dropFirst(shared)
        }
        return current
    }

    func freeze(into nodes: inout [LocationTree.Node], _ edges: inout [LocationTree.Edge], arena: Arena) {
        func place(_ node: Node) -> Int32 {
            let index = nodes.count
            nodes.append(
                LocationTree.Node(
                    label: arena.freeze(bytes: node.label), exact: node.exact, prefix: node.prefix, stopsRegexes: node.stopsRegexes,
                    nested: node.nested))
            let children = node.children.sorted { $0.key < $1.key }
            let placed = children.map { LocationTree.Edge(byte: $0.key, node: place($0.value)) }
            nodes[index].firstEdge = Int32(edges.count)
            nodes[index].edgeCount = Int32(placed.count)
            edges += placed
            return Int32(index)
        }
        _ = place(root)
    }
}
