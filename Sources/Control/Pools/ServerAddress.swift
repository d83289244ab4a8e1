// What `server HOST[:PORT]` or `server unix:PATH` stands for: one address in digits, or those that the system resolves a name to.
// Used for the configuration's upstreams, for what proxy_pass names directly, and for the admin API.

import AdminAPI
import ConfigurationFile
import Engine

/// `sockaddr` bytes and their text.
typealias ResolvedAddress = (bytes: [UInt8], text: String)

enum ServerAddress {
    static func resolve(_ text: String, at word: Word, of directive: String, with system: any SystemFiles) throws(Diagnostic) -> [ResolvedAddress] {
        func bad(_ reason: String) -> Diagnostic {
            Diagnostic(
                at: word.position, directive: directive, "\(reason) in upstream \"\(text)\"", found: text,
                expected: "HOST[:PORT], [IPv6]:PORT or unix:PATH")
        }
        if text.hasPrefix("unix:") {
            guard let bytes = unixAddress(String(text.dropFirst(5))) else { throw bad("invalid path of a unix socket") }
            return [(bytes, text)]
        }
        let (host, port) = split(text)
        guard let port else { throw bad(text.hasPrefix("[") && !text.contains("]") ? "missing \"]\"" : "invalid port") }
        if host.isEmpty { throw bad("no host") }
        if let bytes = numericAddress(host, port: port) { return [(bytes, addressText(bytes))] }
        let found = system.resolve(host, port: port)
        if found.isEmpty {
            throw Diagnostic(
                at: word.position, directive: directive, "host not found in upstream \"\(text)\"", found: host,
                expected: "a name that the system resolves when the configuration is read")
        }
        return found
    }

    /// Digits, or a path: the same always, without a resolver.
    static func isNumeric(_ text: String) -> Bool {
        AdminAPI.ServerAddress.normalIPv4(text) != nil || text.hasPrefix("unix:") || numericAddress(split(text).host, port: 80) != nil
    }

    /// Host without brackets, and port: 80 when none is given, nil when it is none.
    private static func split(_ text: String) -> (host: String, port: UInt16?) {
        func port(_ digits: Substring) -> UInt16? { UInt16(digits).flatMap { $0 > 0 ? $0 : nil } }
        let utf8 = text.utf8
        if utf8.first == UInt8(ascii: "[") {
            guard let close = text.firstIndex(of: "]") else { return ("", nil) }
            let host = String(text[text.index(after: text.startIndex)..<close])
            let rest = text[text.index(after: close)...]
            if rest.isEmpty { return (host, 80) }
            return (host, rest.hasPrefix(":") ? port(rest.dropFirst()) : nil)
        }
        guard let colon = utf8.lastIndex(of: UInt8(ascii: ":")) else { return (text, 80) }
        return (String(text[..<colon]), port(text[utf8.index(after: colon)...]))
    }
}
