// Directives that make requests within requests: mirror, auth_request, server-side includes.

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
        DirectiveRule("auth_request", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            let word = d.arguments[0]
            if !(word == "off"), word.bytes.first != UInt8(ascii: "/") {
                throw .invalidValue(word, of: "auth_request", expected: "a path that begins with \"/\", or \"off\"")
            }
            scope.location.settings.authRequest = word == "off" ? .empty : scope.builder.arena.freeze(bytes: word.bytes)
        },
        DirectiveRule("auth_request_set", .httpLevels, 2...2, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("auth_request_set", \.authValues)
            scope.location.authValues.append(AuthValue(try RewriteDirectives.setting(scope, d)))
        },
        .flag("ssi", .httpLevelsAndIf, \.ssi.isOn),
        .flag("ssi_silent_errors", .httpLevels, \.ssi.isSilent),
        .flag("ssi_last_modified", .httpLevels, \.ssi.keepsLastModified),
        .size("ssi_value_length", .httpLevels, \.ssi.valueBytesMax, in: 1...Limits.ssiValueBytesMax),
        .accepted("ssi_min_file_chunk", .httpLevels, 1...1, why: "pages go through memory"),
        DirectiveRule("ssi_types", .httpLevels, 1...(.max)) { (scope, d) throws(Diagnostic) in
            scope.location.ssiTypes = FilterDirectives.types(scope, d)
        },
        .size("subrequest_output_buffer_size", .httpLevels, \.innerBodyBytes, in: 1...Limits.innerBodyBytesMax),
    ]
}
