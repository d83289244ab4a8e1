// Directives that make requests within requests: mirror.

import Bytes
import ConfigurationFile
import Engine

enum InnerDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("mirror", .httpLevels, 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            let word = d.arguments[0]
            let isFirst = !scope.location.begun.contains("mirror")
            scope.location.begin("mirror", \.mirrors)
            if word == "off" {
                if !isFirst { throw .duplicate(d, first: nil) }
                return
            }
            if !isFirst, scope.location.mirrors.isEmpty { throw .invalidValue(word, of: "mirror", expected: "nothing beside \"mirror off\"") }
            if word.bytes.first != UInt8(ascii: "/") { throw .invalidValue(word, of: "mirror", expected: "a path that begins with \"/\", or \"off\"") }
            if scope.location.mirrors.count == Limits.mirrorsOfLocationMax {
                throw .invalidValue(word, of: "mirror", expected: "at most \(Limits.mirrorsOfLocationMax) mirrors of a location")
            }
            scope.location.mirrors.append(scope.builder.arena.freeze(bytes: word.bytes))
        },
        .flag("mirror_request_body", .httpLevels, \.mirrorsBody),
    ]
}
