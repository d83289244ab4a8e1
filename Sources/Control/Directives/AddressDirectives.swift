// Directives about the addresses of clients: who is let in (allow, deny), and who is believed about them (set_real_ip_from and its kin).

import CLinux
import ConfigurationFile
import Engine
import HTTPMessage

enum AddressDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("set_real_ip_from", .httpLevels, 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("set_real_ip_from", \.trustedProxies)
            let word = d.arguments[0]
            if word == "unix:" {
                scope.location.trustedProxies.append(.unix)
            } else if let range = try network(word, of: "set_real_ip_from", scope) {
                scope.location.trustedProxies.append(range)
            } else {
                scope.location.trustedProxies += try hosts(word, scope)
            }
        },
        DirectiveRule("real_ip_header", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            let name = try AnswerDirectives.headerName(d.arguments[0], of: "real_ip_header")
            scope.location.settings.realIP.fieldName = scope.builder.arena.freeze(bytes: name)
            switch d.arguments[0].text.lowercased() {
            case "proxy_protocol": scope.location.settings.realIP.source = .proxyProtocol
            case "x-forwarded-for": scope.location.settings.realIP.source = .forwardedFor
            default: scope.location.settings.realIP.source = .field
            }
        },
        .flag("real_ip_recursive", .httpLevels, \.realIP.isRecursive),
        access("allow", denies: false), access("deny", denies: true),
    ]

    private static func access(_ name: String, denies: Bool) -> DirectiveRule {
        DirectiveRule(name, [.http, .server, .location, .limitExcept], 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            // Both directives make one list, in their order.
            scope.location.begin("allow", \.accessRules)
            let word = d.arguments[0]
            let range: AddressRange
            switch word.text {
            case "all": range = .all
            case "unix:": range = .unix
            default:
                guard let found = try network(word, of: name, scope) else {
                    throw .invalidValue(word, of: name, expected: "an address, a network such as 192.0.2.0/24, \"unix:\" or \"all\"")
                }
                range = found
            }
            scope.location.accessRules.append(AccessRule(range: range, denies: denies))
        }
    }

    /// `ADDRESS` or `ADDRESS/BITS`; nil for what is neither.
    private static func network(_ word: Word, of directive: String, _ scope: Scope) throws(Diagnostic) -> AddressRange? {
        let parts = word.bytes.split(separator: UInt8(ascii: "/"), maxSplits: 1, omittingEmptySubsequences: false)
        let digits = Array(parts.first ?? [])
        guard let address = parseIPAddress(digits.span) else { return nil }
        let most = address.isIPv6 ? 128 : 32
        if parts.count == 1 { return AddressRange(address, prefix: most) }
        guard let bits = Int(String(decoding: parts[1], as: UTF8.self)), let range = AddressRange(address, prefix: bits) else {
            throw .invalidValue(word, of: directive, expected: "a number of bits from 0 to \(most) behind the \"/\"")
        }
        if range != AddressRange(address, prefix: most), !range.begins(with: address) {
            scope.builder.warnings.append(
                Diagnostic(
                    at: word.position, directive: directive, "low address bits of \(word.shown) are meaningless", found: word.shown,
                    expected: "the first address of the network"))
        }
        return range
    }

    /// The addresses of a host, by the system's resolver.
    private static func hosts(_ word: Word, _ scope: Scope) throws(Diagnostic) -> [AddressRange] {
        let found = scope.builder.system.resolve(word.text, port: 0).compactMap { address -> AddressRange? in
            let isIPv6 = Int32(address.bytes[0]) == AF_INET6
            guard address.bytes.count >= (isIPv6 ? 24 : 8) else { return nil }
            return AddressRange(IPAddress(isIPv6: isIPv6, in: address.bytes.span, at: isIPv6 ? 8 : 4), prefix: isIPv6 ? 128 : 32)
        }
        if found.isEmpty {
            throw Diagnostic(
                at: word.position, directive: "set_real_ip_from", "host not found in set_real_ip_from \"\(word.shown)\"", found: word.shown,
                expected: "an address, a network such as 192.0.2.0/24, \"unix:\" or the name of a host")
        }
        return found
    }
}
