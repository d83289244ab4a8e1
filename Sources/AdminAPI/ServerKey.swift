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
public func normalisedAddress(_ text: String) -> String { (try? ServerAddress(text))?.normalized ?? text }

extension UpstreamState {
    /// What tells the servers apart, in their order: the normalised address; behind a second server of the same address
    /// ` #2`, and so on. A configuration may name an address twice, the admin API may not.
    var serverNames: [String] {
        var counts: [String: Int] = [:]
        return servers.map { server in
            let address = normalisedAddress(server.server)
            let count = counts[address, default: 0] + 1
            counts[address] = count
            return count == 1 ? address : "\(address) #\(count)"
        }
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
