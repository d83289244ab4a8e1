// The names of the servers on one listening address: exact, `*.suffix`, `prefix.*`, regular expressions, in nginx's order.
// Built by Control; asked once a request. Exact and wildcard names cost a hash look-up a label, however many there are.

import Bytes

package struct ServerNames: BitwiseCopyable {
    /// Names without wildcard; `.example.com` is also here as `example.com`.
    private var exact: NameTable
    /// `*.example.com` as `example.com`; the longest wins.
    private var suffixes: NameTable
    /// `www.example.*` as `www.example`; the longest wins.
    private var prefixes: NameTable
    package var regexes: Frozen<RegexName>

    package struct RegexName: BitwiseCopyable {
        package var regex: Int32
        package var server: Int32
        package init(regex: Int32, server: Int32) {
            self.regex = regex
            self.server = server
        }
    }

    package init(
        exact: [(String, Int32)], suffixes: [(String, Int32)], prefixes: [(String, Int32)], regexes: [RegexName], arena: Arena
    ) {
        self.exact = NameTable(exact.map { ($0.0, $0.1) }, arena: arena)
        self.suffixes = NameTable(suffixes.map { ($0.0, $0.1) }, arena: arena)
        self.prefixes = NameTable(prefixes.map { ($0.0, $0.1) }, arena: arena)
        self.regexes = arena.freeze(regexes)
    }

    /// The server for `host` by everything but expressions.
    @inline(__always)
    func find(_ host: ByteView) -> Int32? {
        if let server = exact.find(host) { return server }
        if !suffixes.isEmpty {
            var dot = host.firstIndex(of: 0x2E)
            while let d = dot {
                if let server = suffixes.find(host.slice(d + 1)) { return server }
                dot = host.firstIndex(of: 0x2E, from: d + 1)
            }
        }
        if !prefixes.isEmpty {
            var rest = host
            while let dot = rest.lastIndex(of: 0x2E) {
                rest = rest.slice(0, dot)
                if let server = prefixes.find(rest) { return server }
            }
        }
        return nil
    }
}
