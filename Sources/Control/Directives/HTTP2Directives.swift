// Directives of HTTP/2 towards clients.

import ConfigurationFile
import Engine

enum HTTP2Directives {
    static let all: [DirectiveRule] =
        [
            .serverFlag("http2", \.speaksHTTP2),
            DirectiveRule("http2_max_concurrent_streams", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
                scope.server.settings.http2StreamsMax = try d.arguments[0].integer(in: 1...Limits.http2StreamsMax, of: d.name.text)
            },
            DirectiveRule("http2_body_preread_size", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
                // nginx allows more than it is wise to keep for a client that nobody reads.
                scope.server.settings.http2PrereadBytes = min(
                    try d.arguments[0].size(in: 0...Int(Int32.max), of: d.name.text), Limits.http2WindowBytes)
            },
            DirectiveRule("http2_chunk_size", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
                // As nginx does with what no frame can have.
                scope.location.settings.http2ChunkBytes = min(max(1, try d.arguments[0].sizeBytes(of: d.name.text)), (1 << 24) - 1)
            },
            .accepted("http2_recv_buffer_size", [.http], 1...1, why: "a read takes 64 KiB, and no connection owns a buffer"),
            .accepted("http2_pool_size", .httpAndServer, 1...1, why: "memory is pooled by the worker"),
            .accepted("http2_streams_index_size", .httpAndServer, 1...1, why: "tables are sized to fit"),
        ] + obsolete.map { name, contexts, instead in
            DirectiveRule(name, contexts, 1...2) { (scope, d) throws(Diagnostic) in
                scope.builder.warnings.append(
                    Diagnostic(
                        at: d.position, directive: name,
                        instead.isEmpty
                            ? "the \"\(name)\" directive is obsolete, ignored"
                            : "the \"\(name)\" directive is obsolete, use the \"\(instead)\" directive instead",
                        found: name, expected: instead.isEmpty ? "nothing in its place" : instead))
            }
        }

    /// What nginx has given up, and what stands in its place.
    private static let obsolete: [(String, Set<Context>, String)] = [
        ("http2_push", .httpLevels, ""),
        ("http2_push_preload", .httpLevels, ""),
        ("http2_max_concurrent_pushes", .httpAndServer, ""),
        ("http2_max_requests", .httpAndServer, "keepalive_requests"),
        ("http2_max_field_size", .httpAndServer, "large_client_header_buffers"),
        ("http2_max_header_size", .httpAndServer, "large_client_header_buffers"),
        ("http2_recv_timeout", .httpAndServer, "client_header_timeout"),
        ("http2_idle_timeout", .httpAndServer, "keepalive_timeout"),
    ]
}
