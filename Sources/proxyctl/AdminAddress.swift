// Owns where an admin API is looked for: the forms of an address, and the places where a running configuration puts its socket.
// Called by Options. Pure: it opens nothing.

/// Where an admin API answers.
enum AdminAddress: Equatable, Sendable {
    case unix(String)
    /// `prefix` is the admin location: empty, or a path that begins with `/` and does not end with one.
    case tcp(host: String, port: UInt16, prefix: String)

    /// Tried in this order where nothing is said.
    static let places: [AdminAddress] = [
        .unix("admin.sock"), .unix("logs/admin.sock"), .unix("state/admin.sock"),
        .unix("/var/lib/switchback/admin.sock"), .unix("/run/switchback/admin.sock"),
    ]

    /// sockaddr_un holds no more.
    static let pathBytesMax = 107

    struct Malformed: Error, Equatable {
        let text: String
    }

    /// Reads `unix:/path`, `/path`, `./path`, `host:port[/prefix]`, `http://host[:port][/prefix]`, with `[IPv6]` as a host.
    static func parse(_ text: String) -> Result<AdminAddress, Malformed> {
        if text.hasPrefix("unix:") { return socket(text.dropFirst(5)) }
        if text.hasPrefix("/") || text.hasPrefix(".") { return socket(text[...]) }
        if text.hasPrefix("http://") { return url(text.dropFirst(7), defaultPort: 80) }
        if text.hasPrefix("https://") {
            return .failure(
                Malformed(text: "proxyctl speaks no TLS; reach the machine with ssh and use its socket, or forward a port of it"))
        }
        if text.hasSuffix(".sock") { return socket(text[...]) }
        return url(text[...], defaultPort: nil)
    }

    private static func socket(_ path: Substring) -> Result<AdminAddress, Malformed> {
        // Two slashes more are a URL's: unix:///run/admin.sock.
        let path = path.hasPrefix("//") ? path.drop { $0 == "/" }.withSlash : String(path)
        if path.isEmpty { return .failure(Malformed(text: "the path of the socket is missing: unix:/path/admin.sock")) }
        if path.utf8.count > pathBytesMax {
            return .failure(
                Malformed(text: "the path of a socket has at most \(pathBytesMax) bytes, this one \(path.utf8.count)"))
        }
        if path.utf8.contains(0) { return .failure(Malformed(text: "a path holds no NUL")) }
        return .success(.unix(path))
    }

    private static func url(_ text: Substring, defaultPort: UInt16?) -> Result<AdminAddress, Malformed> {
        let authority = text.prefix { $0 != "/" }
        var prefix = text.dropFirst(authority.count)
        while prefix.hasSuffix("/") { prefix = prefix.dropLast() }
        guard prefix.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }) else {
            return .failure(Malformed(text: "the prefix is a path of the admin location: http://127.0.0.1:8080/_admin"))
        }
        var host = authority
        var port = defaultPort
        let colon = authority.lastIndex(of: ":")
        if let colon, authority.hasSuffix("]") == false, authority.hasPrefix("[") || authority.firstIndex(of: ":") == colon {
            host = authority[..<colon]
            guard let number = UInt16(authority[authority.index(after: colon)...]), number > 0 else {
                return .failure(Malformed(text: "a port is a number from 1 to 65535"))
            }
            port = number
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "@") }) else {
            return .failure(Malformed(text: forms))
        }
        guard let port else { return .failure(Malformed(text: forms)) }
        return .success(.tcp(host: String(host), port: port, prefix: String(prefix)))
    }

    static let forms = "an address is unix:/path/admin.sock, /path/admin.sock or http://host:port/prefix"

    /// What stands in front of every path of the API.
    var prefix: String { if case .tcp(_, _, let prefix) = self { prefix } else { "" } }

    /// The value of the Host field. On a socket any is right.
    var host: String {
        switch self {
        case .unix: "localhost"
        case .tcp(let host, let port, _): (host.contains(":") ? "[\(host)]" : host) + (port == 80 ? "" : ":\(port)")
        }
    }
}

extension AdminAddress: CustomStringConvertible {
    /// As it can be given to --admin.
    var description: String {
        switch self {
        case .unix(let path): path.hasPrefix("/") ? "unix:" + path : path.hasPrefix(".") ? path : "./" + path
        case .tcp(_, _, let prefix): "http://" + host + prefix
        }
    }
}

extension Substring {
    fileprivate var withSlash: String { "/" + self }
}
