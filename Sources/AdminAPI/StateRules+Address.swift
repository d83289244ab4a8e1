// The address of a server as it is written: taken apart, checked, and told in one normal form by which duplicates are found.
// Text only: whether a name resolves is asked when the change is made.

/// `host[:port]`, `[IPv6][:port]` or `unix:/path`.
public struct ServerAddress: Sendable, Hashable {
    public enum Host: Sendable, Hashable {
        /// In lower case.
        case name(String)
        case ipv4(String)
        /// Its eight groups.
        case ipv6([UInt16])
        case unix(path: String)
    }
    public let host: Host
    /// 1 to 65535, 80 where none is written; 0 of a unix socket.
    public let port: Int

    /// A path's length in `sockaddr_un`, without the zero at its end.
    private static let pathBytesMax = 107
    private static let form = "host:port, [IPv6]:port or unix:/path"

    /// - Throws: `bad-address` with an empty pointer, relative to the text.
    public init(_ text: String) throws(Problem) {
        let bytes = Array(text.utf8)
        func bad(_ found: String, _ expected: String = Self.form, hint: String = "") -> Problem {
            Problem(.badAddress, "found \(found) in \"\(shortened(text))\", expected \(expected)", hint: hint, pointer: "")
        }
        if bytes.isEmpty { throw bad("nothing") }
        if bytes.contains(where: { $0 <= 0x20 || $0 == 0x7F }) { throw bad("a space or a control character") }
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            if !path.hasPrefix("/") { throw bad("a path that does not begin with \"/\"", "unix:/path") }
            if path.utf8.count > Self.pathBytesMax {
                throw bad("a path of \(path.utf8.count) bytes", "at most \(Self.pathBytesMax)")
            }
            (host, port) = (.unix(path: path), 0)
            return
        }
        if let end = Self.scheme(bytes) {
            throw bad("a scheme", hint: "write the address without \"\(String(decoding: bytes[..<end], as: UTF8.self))\"")
        }
        if bytes.contains(where: { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }) {
            throw bad("a path", hint: "the location's proxy_pass names the path; a unix socket is written unix:/path")
        }
        if bytes.contains(UInt8(ascii: "@")) { throw bad("a user", hint: "an address has no user and no password") }
        if bytes[0] == UInt8(ascii: "[") {
            guard let close = bytes.firstIndex(of: UInt8(ascii: "]")) else { throw bad("no \"]\"", "[IPv6]:port") }
            guard let groups = Self.ipv6(bytes[1..<close]) else {
                throw bad("no IPv6 address between the brackets", "[IPv6]:port")
            }
            host = .ipv6(groups)
            port = try Self.port(bytes[(close + 1)...], bad)
            return
        }
        let colon = bytes.firstIndex(of: UInt8(ascii: ":")) ?? bytes.count
        if bytes.lastIndex(of: UInt8(ascii: ":")) ?? bytes.count != colon {
            throw Self.ipv6(bytes[...]) == nil
                ? bad("more than one \":\"") : bad("an IPv6 address without brackets", hint: "write [\(shortened(text))]:port")
        }
        host = try Self.host(bytes[..<colon], bad)
        port = try Self.port(bytes[colon...], bad)
    }

    /// The same for all ways to write one address: `127.0.0.1:80`, `app.example:8080`, `[::1]:80`, `unix:/path`.
    public var normalized: String {
        switch host {
        case .name(let name), .ipv4(let name): "\(name):\(port)"
        case .ipv6(let groups): "[\(Self.text(groups))]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }

    /// The numbers of an IPv4 address and a port in their normal form, as most are: told without taking the text apart.
    /// Nil: something else, or another way to write it.
    public static func normalIPv4(_ text: String) -> (address: UInt32, port: UInt16)? {
        let bytes = text.utf8Span.span
        // 1.1.1.1:1 and 255.255.255.255:65535.
        if bytes.count < 9 || bytes.count > 21 { return nil }
        var address: UInt32 = 0
        var number: UInt32 = 0
        var digits = 0
        var dots = 0
        var isPort = false
        for i in bytes.indices {
            let byte = bytes[i]
            let digit = byte &- UInt8(ascii: "0")
            if digit < 10 {
                // No zero in front of another digit.
                if digits > 0, number == 0 || digits == 5 { return nil }
                number = number &* 10 &+ UInt32(digit)
                digits &+= 1
                continue
            }
            if isPort || digits == 0 || number > 255 { return nil }
            if dots < 3 {
                if byte != UInt8(ascii: ".") { return nil }
                dots &+= 1
            } else {
                if byte != UInt8(ascii: ":") { return nil }
                isPort = true
            }
            address = address << 8 | number
            number = 0
            digits = 0
        }
        return isPort && number > 0 && number <= 65_535 ? (address, UInt16(truncatingIfNeeded: number)) : nil
    }

    /// The same as one number, the address shifted by 16 and the port; 0: something else, or another way to write it.
    static func number(_ text: String) -> UInt64 {
        normalIPv4(text).map { UInt64($0.address) << 16 | UInt64($0.port) } ?? 0
    }

    /// Whether each is such an address and none stands twice.
    static func areDistinct(_ servers: [ServerState]) -> Bool {
        var keys: [UInt64] = []
        keys.reserveCapacity(servers.count)
        for i in servers.indices {
            if servers[i].ipv4 == 0 { return false }
            keys.append(servers[i].ipv4)
        }
        return areDistinct(&keys)
    }

    /// Puts them in order, which most often they have.
    static func areDistinct(_ keys: inout [UInt64]) -> Bool {
        let isAscending = { (keys: [UInt64]) in keys.indices.dropFirst().allSatisfy { keys[$0 - 1] < keys[$0] } }
        if isAscending(keys) { return true }
        keys.sort()
        return isAscending(keys)
    }

    private typealias Bad = (_ found: String, _ expected: String, _ hint: String) -> Problem

    /// Behind `http://` and the like.
    private static func scheme(_ bytes: [UInt8]) -> Int? {
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), bytes[colon...].starts(with: "://".utf8) else { return nil }
        return colon + 3
    }

    private static func port(_ bytes: ArraySlice<UInt8>, _ bad: Bad) throws(Problem) -> Int {
        if bytes.isEmpty { return 80 }
        let digits = bytes.dropFirst()
        var port = 0
        for byte in digits where port < 65_536 {
            guard isDigit(byte) else { throw bad("a port that is no number", "a port from 1 to 65535", "") }
            port = port * 10 + Int(byte - UInt8(ascii: "0"))
        }
        guard bytes.first == UInt8(ascii: ":"), !digits.isEmpty else {
            throw bad("no port behind the host", "a port from 1 to 65535", "")
        }
        guard (1...65_535).contains(port) else { throw bad("a port out of range", "a port from 1 to 65535", "") }
        return port
    }

    private static func host(_ bytes: ArraySlice<UInt8>, _ bad: Bad) throws(Problem) -> Host {
        if bytes.isEmpty { throw bad("no host", form, "") }
        if bytes.count > 253 { throw bad("a host of \(bytes.count) bytes", "at most 253", "") }
        if bytes.allSatisfy({ isDigit($0) || $0 == UInt8(ascii: ".") }) {
            guard ipv4(bytes) != nil else {
                let hint =
                    bytes.contains(UInt8(ascii: "."))
                    ? "" : "a port alone has no host: 127.0.0.1:\(String(decoding: bytes, as: UTF8.self))"
                throw bad("no IPv4 address", form, hint)
            }
            return .ipv4(String(decoding: bytes, as: UTF8.self))
        }
        for label in bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            // An empty last label is the dot of a name that is complete.
            if label.isEmpty, label.startIndex != bytes.endIndex { throw bad("an empty part of the name", form, "") }
            if label.count > 63 { throw bad("a part of the name of \(label.count) bytes", "at most 63", "") }
            for byte in label where !isNameByte(byte) {
                if byte >= 0x80 { throw bad("a letter beyond ASCII", form, "write the name as DNS has it: xn--...") }
                throw bad("\"\(String(Unicode.Scalar(byte)))\"", form, "a name has letters, digits, \"-\", \"_\" and \".\"")
            }
        }
        return .name(
            String(decoding: bytes.map { $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z") ? $0 | 0x20 : $0 }, as: UTF8.self))
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        let lower = byte | 0x20
        return isDigit(byte) || lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "z") || byte == UInt8(ascii: "-")
            || byte == UInt8(ascii: "_")
    }

    // MARK: Numbers

    /// Four decimal numbers without leading zeros, which some read as octal.
    private static func ipv4(_ bytes: ArraySlice<UInt8>) -> (UInt16, UInt16)? {
        var value: UInt32 = 0
        let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        if parts.count != 4 { return nil }
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy(isDigit), part.count == 1 || part.first != UInt8(ascii: "0")
            else { return nil }
            let number = part.reduce(UInt32(0)) { $0 * 10 + UInt32($1 - UInt8(ascii: "0")) }
            if number > 255 { return nil }
            value = value << 8 | number
        }
        return (UInt16(value >> 16), UInt16(value & 0xFFFF))
    }

    /// RFC 4291 section 2.2.
    private static func ipv6(_ bytes: ArraySlice<UInt8>) -> [UInt16]? {
        var groups: [UInt16] = []
        /// Where `::` stands.
        var gap: Int?
        var rest = bytes
        if rest.starts(with: "::".utf8) {
            gap = 0
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty, groups.count < 8 {
            let group = rest.prefix { $0 != UInt8(ascii: ":") }
            if group.contains(UInt8(ascii: ".")) {
                guard group.count == rest.count, groups.count <= 6, let (high, low) = ipv4(group) else { return nil }
                groups += [high, low]
                rest = []
                break
            }
            guard (1...4).contains(group.count), group.allSatisfy({ isHex($0) }),
                let value = UInt16(String(decoding: group, as: UTF8.self), radix: 16)
            else { return nil }
            groups.append(value)
            rest = rest.dropFirst(group.count)
            if rest.isEmpty { break }
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: ":") {
                if gap != nil { return nil }
                gap = groups.count
                rest = rest.dropFirst()
            } else if rest.isEmpty {
                return nil
            }
        }
        guard rest.isEmpty, gap == nil ? groups.count == 8 : groups.count < 8 else { return nil }
        if let gap { groups.insert(contentsOf: Array(repeating: 0, count: 8 - groups.count), at: gap) }
        return groups
    }

    private static func isHex(_ byte: UInt8) -> Bool {
        isDigit(byte) || byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "f")
    }

    /// RFC 5952: the first of the longest runs of zeros, of two groups or more, is `::`.
    private static func text(_ groups: [UInt16]) -> String {
        var best = 0..<0
        var first = 0
        for i in 0...groups.count where i == groups.count || groups[i] != 0 {
            if i - first > max(best.count, 1) { best = first..<i }
            first = i + 1
        }
        func text(_ part: ArraySlice<UInt16>) -> String { part.map { String($0, radix: 16) }.joined(separator: ":") }
        return best.isEmpty ? text(groups[...]) : text(groups[..<best.lowerBound]) + "::" + text(groups[best.upperBound...])
    }
}
