// admin and admin_token_file: where the admin API is served, to whom, and whether it may change anything.

import AdminAPI
import ConfigurationFile
import Engine

enum AdminDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("admin", [.http], 1...1, isOwn: true) { (scope, d) throws(Diagnostic) in
            guard d.arguments[0] == "off" else {
                throw .invalidValue(d.arguments[0], of: "admin", expected: "\"off\" here; \"admin write=on;\" stands in a location")
            }
            scope.builder.process.hasAdminSocket = false
        },
        DirectiveRule("admin", [.location], 0...1, isOwn: true) { (scope, d) throws(Diagnostic) in try admin(scope, d) },
        DirectiveRule("admin_token_file", .httpLevels, 1...1, isOwn: true) { (scope, d) throws(Diagnostic) in
            scope.location.settings.admin.tokens = try scope.builder.tokens(d.arguments[0])
        },
    ]

    private static func admin(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        scope.builder.process.hasAdminSocket = false
        scope.location.settings.handler = .admin
        scope.location.settings.admin.writes = false
        if let word = d.arguments.first {
            switch word.text {
            case "write=on": scope.location.settings.admin.writes = true
            case "write=off": break
            default: throw .invalidValue(word, of: "admin", expected: "\"write=on\" or \"write=off\"")
            }
        }
        // The API takes bodies whole, and bodies of this size.
        scope.location.settings.clientMaxBodyBytes = Int64(JSONLimits().bytesMax)
        scope.location.settings.clientBodyBufferBytes = 1 << 20
        scope.location.settings.proxy.requestBuffering = true
        scope.location.settings.limitRate = .fixed(0)
    }

    /// One `NAME TOKEN` a line; `#` begins a comment.
    static func parse(_ bytes: [UInt8], file: String) throws(Diagnostic) -> [(name: String, token: String)] {
        var list: [(name: String, token: String)] = []
        for (i, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let words = line.split { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }.map { String(decoding: $0, as: UTF8.self) }
            if words.isEmpty || words[0].hasPrefix("#") { continue }
            guard words.count == 2, words[1].utf8.count >= ControlLimits.tokenBytesMin else {
                throw Diagnostic(
                    at: Position(file: file, line: i + 1), directive: "admin_token_file", "invalid line", found: words[0],
                    expected: "a name and a token of at least \(ControlLimits.tokenBytesMin) characters")
            }
            list.append((words[0], words[1]))
        }
        return list
    }
}
