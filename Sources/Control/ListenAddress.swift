// The address part of `listen`: ports, ranges of ports, addresses in digits, names, unix sockets.
// Parsed by the listen directive; bound by Listeners.swift.

import CLinux
import ConfigurationFile

package struct ListenAddress: Hashable, Sendable {
    /// `sockaddr` bytes.
    package var bytes: [UInt8]
    /// `0.0.0.0:80`, `[::]:80`, `unix:/path`: what names the socket over reloads.
    package var text: String

    package var isUnix: Bool { bytes.count > 0 && Int32(bytes[0]) == AF_UNIX }
    package var isWildcard: Bool { text.hasPrefix("0.0.0.0:") || text.hasPrefix("[::]:") }
    /// No other host reaches it.
    package var isLocal: Bool { isUnix || text.hasPrefix("127.") || text.hasPrefix("[::1]:") }
    package var port: Int { isUnix ? 0 : Int(bytes[2]) << 8 | Int(bytes[3]) }
    package var unixPath: String { String(text.dropFirst(5)) }

    /// All addresses `text` stands for: a range of ports gives several.
    static func parse(_ text: String, at position: Position, system: (any SystemFiles)? = nil) throws(Diagnostic) -> [ListenAddress] {
        func bad(_ reason: String) -> Diagnostic {
            Diagnostic(
                at: position, directive: "listen", "\(reason) in \"\(text)\" of the \"listen\" directive", found: text,
                expected: "PORT, ADDRESS:PORT, [IPv6]:PORT or unix:PATH")
        }
        if text.hasPrefix("unix:") {
            guard let bytes = unixAddress(String(text.dropFirst(5))) else { throw bad("invalid path of a unix socket") }
            return [ListenAddress(bytes: bytes, text: text)]
        }
        var host = "0.0.0.0"
        var ports = ""
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { throw bad("missing \"]\"") }
            host = String(text[text.index(after: text.startIndex)..<close])
            let rest = text[text.index(after: close)...]
            if !rest.isEmpty, !rest.hasPrefix(":") { throw bad("invalid port") }
            ports = String(rest.dropFirst())
        } else if let colon = text.lastIndex(of: ":") {
            host = String(text[..<colon])
            ports = String(text[text.index(after: colon)...])
            if ports.isEmpty { throw bad("invalid port") }
        } else if text.allSatisfy({ $0.isNumber || $0 == "-" }) {
            ports = text
        } else {
            host = text
        }
        if host == "*" { host = "0.0.0.0" }
        let bounds = ports.isEmpty ? [80] : ports.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        guard bounds.count <= 2, let low = bounds.first, let high = bounds.last, low > 0, high < 65536, low <= high else { throw bad("invalid port") }
        var result: [ListenAddress] = []
        for port in low...high {
            if let bytes = numericAddress(host, port: UInt16(port)) {
                result.append(ListenAddress(bytes: bytes, text: addressText(bytes)))
                continue
            }
            let found = system?.resolve(host, port: UInt16(port)) ?? []
            if found.isEmpty { throw bad("host not found") }
            result += found.map { ListenAddress(bytes: $0.bytes, text: $0.text) }
        }
        return result
    }
}
