// Which server of an upstream is meant: addresses as they compare, and the two ways a path names a server.
// Called by changes, numbering, differences and merge. It resolves no name.

/// The last segment of `/upstreams/{name}/servers/{id}`.
public enum ServerKey: Sendable, Equatable {
    case id(Int)
    case address(String)

    /// `segment`: percent-decoded. Digits alone are an id.
    public init(segment: String) {
        let isNumber = !segment.isEmpty && segment.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        if isNumber, let id = Int(segment) { self = .id(id) } else { self = .address(segment) }
    }
}

/// `text` as addresses of servers compare: the one way to write it, or itself if it is none.
public func normalisedAddress(_ text: String) -> String {
    ServerAddress.normalIPv4(text) != nil ? text : (try? ServerAddress(text))?.normalized ?? text
}

/// Servers of an upstream by name, made in one pass.
struct ServerNames {
    /// What tells the servers apart, in their order: the normalised address; behind a second server of the same address
    /// ` #2`, and so on. A configuration may name an address twice, the admin API may not.
    private(set) var list: [String] = []
    private var places: [String: Int] = [:]

    init(_ servers: [ServerState]) {
        list.reserveCapacity(servers.count)
        places.reserveCapacity(servers.count)
        var counts: [String: Int] = [:]
        for (i, server) in servers.enumerated() {
            var name = normalisedAddress(server.server)
            if let first = places.updateValue(i, forKey: name) {
                places[name] = first
                let count = counts[name, default: 1] + 1
                counts[name] = count
                name = Self.name(name, count)
                places[name] = i
            }
            list.append(name)
        }
    }

    subscript(name: String) -> Int? { places[name] }

    /// - Parameter count: which of the servers of this address, from 1.
    static func name(_ address: String, _ count: Int) -> String { count == 1 ? address : "\(address) #\(count)" }
}

extension UpstreamState {
    var serverNames: [String] {
        ServerAddress.areDistinct(servers) ? servers.map(\.server) : ServerNames(servers).list
    }

    /// For each server the place in `old` of the one of the same name; nil: there is none.
    func places(in old: UpstreamState) -> [Int?] {
        if hasAddresses(of: old) { return servers.indices.map { $0 } }
        let names = ServerNames(old.servers)
        var isTaken = [Bool](repeating: false, count: old.servers.count)
        var counts: [String: Int] = [:]
        return servers.map { server in
            let address = normalisedAddress(server.server)
            guard var place = names[address] else { return nil }
            if isTaken[place] {
                let count = counts[address, default: 1] + 1
                counts[address] = count
                guard let next = names[ServerNames.name(address, count)] else { return nil }
                place = next
            }
            isTaken[place] = true
            return place
        }
    }

    /// Whether the same is written in the same order, as where settings alone changed.
    func hasAddresses(of other: UpstreamState) -> Bool {
        let (mine, theirs) = (servers.span, other.servers.span)
        if mine.count != theirs.count { return false }
        for i in mine.indices where !mine[i].hasText(of: theirs[i]) { return false }
        return true
    }

    /// Where the server is; nil: there is none.
    func index(of key: ServerKey) -> Int? {
        switch key {
        case .id(let id):
            return servers.firstIndex { $0.id == id }
        case .address(let text):
            let address = normalisedAddress(text)
            return servers.firstIndex { normalisedAddress($0.server) == address }
        }
    }
}
