// Who may ask: users of unix sockets, holders of tokens, and no page of a browser that was not meant.
// Called by the dispatch before anything else of a request is looked at.

import AdminAPI
import CLinux
import Engine

struct AdminGuard {
    /// The list of an `admin_token_file` by its place; nil: it is no more.
    let tokens: (Int) -> [(name: String, token: String)]?
    private var userNames: [Int32: String] = [:]

    init(tokens: @escaping (Int) -> [(name: String, token: String)]?) { self.tokens = tokens }

    /// Who asks.
    /// - Throws: `forbidden`, `unauthorized`.
    mutating func admit(_ request: AdminRequest) throws(Problem) -> String {
        try checkHost(request)
        try checkPage(request)
        if request.settings.tokens >= 0 { return try holder(request) }
        return name(of: request.client)
    }

    /// Who asks, as far as is known of one who is not let in.
    mutating func name(of client: AdminRequest.Client) -> String {
        switch client {
        case .address(let text): return text
        case .unix(let user):
            if user < 0 { return "unknown" }
            if let known = userNames[user] { return known }
            var name = [CChar](repeating: 0, count: 256)
            let n = clinux_user_name(UInt32(user), &name, name.count)
            let text = n > 0 ? String(decoding: name.prefix(Int(n)).map { UInt8(bitPattern: $0) }, as: UTF8.self) : "uid \(user)"
            if userNames.count < ControlLimits.adminUserNamesMax { userNames[user] = text }
            return text
        }
    }

    // MARK: Pages of browsers

    /// A name that somebody else's DNS points here is none of ours. A unix socket has no name.
    private func checkHost(_ request: AdminRequest) throws(Problem) {
        if case .unix = request.client { return }
        let host = request.field("host") ?? ""
        if request.isHostNamed || ["localhost", "127.0.0.1", "[::1]"].contains(Self.hostAlone(host)) { return }
        let found = host.isEmpty ? "no Host" : "the Host \(AdminText.shown(host))"
        throw Problem(
            .forbidden, "found \(found), expected localhost, 127.0.0.1, [::1] or a server_name of this server",
            hint: "add the name to server_name if it is yours")
    }

    /// A page of another place may not ask here, whatever its visitor may.
    private func checkPage(_ request: AdminRequest) throws(Problem) {
        if let site = request.field("sec-fetch-site"), site.lowercased() == "cross-site" {
            throw Problem(.forbidden, "found Sec-Fetch-Site: cross-site, expected a request of this very place")
        }
        guard let page = request.field("origin") else { return }
        let host = request.field("host") ?? ""
        let place = page.firstRange(of: "://").map { String(page[$0.upperBound...]) }
        if let place, place.lowercased() == host.lowercased(), !place.isEmpty { return }
        throw Problem(
            .forbidden, "found the Origin \(AdminText.shown(page)), expected the place of the Host \(AdminText.shown(host))")
    }

    /// Without the port, in small letters.
    static func hostAlone(_ host: String) -> String {
        let host = host.lowercased()
        if host.hasPrefix("[") { return String(host.prefix { $0 != "]" }) + "]" }
        return String(host.prefix { $0 != ":" })
    }

    // MARK: Tokens

    /// The name of the token that is shown.
    private func holder(_ request: AdminRequest) throws(Problem) -> String {
        guard let field = request.field("authorization") else {
            throw Problem(.unauthorized, "found no Authorization, expected a token of admin_token_file", hint: "send \"Authorization: Bearer TOKEN\"")
        }
        let words = field.split(separator: " ", maxSplits: 1)
        guard words.count == 2, words[0].lowercased() == "bearer" else {
            throw Problem(.unauthorized, "found another Authorization than a bearer token", hint: "send \"Authorization: Bearer TOKEN\"")
        }
        let shown = Array(AdminText.trimmed(String(words[1])).utf8)
        var name: String?
        // All are compared, each to its end: how long it takes tells nothing of what is right.
        for entry in tokens(Int(request.settings.tokens)) ?? [] where Self.isSame(shown, Array(entry.token.utf8)) { name = entry.name }
        guard let name else { throw Problem(.unauthorized, "the token is none of admin_token_file", hint: "after a change of that file reload") }
        return name
    }

    /// In a time that depends on the length of `shown` alone.
    static func isSame(_ shown: [UInt8], _ token: [UInt8]) -> Bool {
        if token.isEmpty { return false }
        var difference = UInt(bitPattern: shown.count ^ token.count)
        var at = 0
        for byte in shown {
            difference |= UInt(byte ^ token[at])
            at = at + 1 == token.count ? 0 : at + 1
        }
        return difference == 0
    }
}
