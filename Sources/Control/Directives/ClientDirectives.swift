// Directives about the client's side: heads, bodies, timeouts, keepalive, closing.

import ConfigurationFile
import Engine

enum ClientDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("client_max_body_size", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings.clientMaxBodyBytes = Int64(try d.arguments[0].offsetBytes(of: "client_max_body_size"))
        },
        .size("client_body_buffer_size", .httpLevels, \.clientBodyBufferBytes, in: 1...(1 << 30)),
        .milliseconds("client_body_timeout", .httpLevels, \.clientBodyTimeoutMs),
        .milliseconds("send_timeout", .httpLevels, \.sendTimeoutMs),
        DirectiveRule("client_body_temp_path", .httpLevels, 1...4) { (scope, d) throws(Diagnostic) in
            scope.location.settings.clientBodyTempPath = scope.builder.temporaryFolder(d.arguments[0])
        },
        DirectiveRule("keepalive_timeout", .httpLevels, 1...2) { (scope, d) throws(Diagnostic) in
            scope.location.settings.keepaliveTimeoutMs = Int64(try d.arguments[0].milliseconds(of: "keepalive_timeout"))
            scope.location.settings.keepaliveHeaderSeconds =
                d.arguments.count > 1 ? Int64(try d.arguments[1].seconds(of: "keepalive_timeout")) : 0
        },
        .count("keepalive_requests", .httpLevels, \.keepaliveRequests),
        .milliseconds("keepalive_time", .httpLevels, \.keepaliveTimeMs),
        DirectiveRule("keepalive_disable", .httpLevels, 1...2) { (scope, d) throws(Diagnostic) in
            scope.location.settings.keepaliveDisabledForMSIE6 = d.arguments.contains { $0 == "msie6" }
            scope.location.settings.keepaliveDisabledForSafari = d.arguments.contains { $0 == "safari" }
            for word in d.arguments where !["none", "msie6", "safari"].contains(word.text) {
                throw .invalidValue(word, of: "keepalive_disable", expected: "\"none\", \"msie6\" or \"safari\"")
            }
        },
        DirectiveRule("lingering_close", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            guard let mode: LingeringClose = ["off": .off, "on": .on, "always": .always][d.arguments[0].text] else {
                throw .invalidValue(d.arguments[0], of: "lingering_close", expected: "\"off\", \"on\" or \"always\"")
            }
            scope.location.settings.lingeringClose = mode
        },
        .milliseconds("lingering_time", .httpLevels, \.lingeringTimeMs),
        .milliseconds("lingering_timeout", .httpLevels, \.lingeringTimeoutMs),
        .flag("reset_timedout_connection", .httpLevels, \.resetTimedOut),
        DirectiveRule("client_header_timeout", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.settings.clientHeaderTimeoutMs = Int64(try d.arguments[0].milliseconds(of: "client_header_timeout"))
        },
        DirectiveRule("client_header_buffer_size", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.settings.headerBufferBytes = try d.arguments[0].size(in: 1...Limits.headBytesMax, of: "client_header_buffer_size")
        },
        DirectiveRule("large_client_header_buffers", .httpAndServer, 2...2) { (scope, d) throws(Diagnostic) in
            let count = try d.arguments[0].integer(in: 1...1024, of: "large_client_header_buffers")
            let size = try d.arguments[1].size(in: 1...Limits.headBytesMax, of: "large_client_header_buffers")
            if count * size > Limits.headBytesMax {
                throw .invalidValue(
                    d.arguments[1], of: "large_client_header_buffers", expected: "at most \(Limits.headBytesMax) bytes in all buffers together")
            }
            scope.server.settings.largeHeaderBuffers = count
            scope.server.settings.largeHeaderBytes = size
        },
        DirectiveRule("max_headers", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.settings.maxHeaders = try d.arguments[0].integer(in: 1...Limits.headerFieldsMax, of: "max_headers")
        },
        .serverFlag("ignore_invalid_headers", \.ignoreInvalidHeaders),
        .serverFlag("underscores_in_headers", \.underscoresInHeaders),
        DirectiveRule("client_body_in_file_only", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            let word = d.arguments[0]
            switch word.text {
            case "on": scope.location.settings.bodyInFile = .on
            case "clean": scope.location.settings.bodyInFile = .clean
            case "off": scope.location.settings.bodyInFile = .off
            default: throw .invalidValue(word, of: d.name.text, expected: "\"on\", \"clean\" or \"off\"")
            }
        },
        .acceptedFlag("client_body_in_single_buffer", .httpLevels, why: "a body in memory is always in one buffer"),
    ]
}
