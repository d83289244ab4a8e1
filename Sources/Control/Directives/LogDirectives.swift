// Logs: error_log with levels, log_format, access_log with condition and buffer.

import Bytes
import ConfigurationFile
import Engine

enum LogDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("error_log", [.main, .http, .server, .location], 1...2, isUnique: false) { (scope, d) throws(Diagnostic) in
            try errorLog(scope, d)
        },
        DirectiveRule("log_format", [.http], 2...(.max), isUnique: false) { (scope, d) throws(Diagnostic) in try logFormat(scope, d) },
        DirectiveRule("access_log", [.http, .server, .location, .ifInLocation, .limitExcept], 1...(.max), isUnique: false) {
            (scope, d) throws(Diagnostic) in try accessLog(scope, d)
        },
        .flag("log_subrequest", .httpLevels, \.logSubrequest),
        .accepted("open_log_file_cache", .httpLevels, 1...4, why: "a path with variables is opened for each line"),
    ]

    private static func errorLog(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        scope.location.begin("error_log", \.errorLogs)
        let path = d.arguments[0]
        if path.text.hasPrefix("syslog:") || path.text.hasPrefix("memory:") {
            throw .invalidValue(path, of: "error_log", expected: "a path or \"stderr\" (syslog and memory are not supported yet)")
        }
        var level = LogLevel.error
        if d.arguments.count > 1 {
            guard let named = LogLevel.allCases.first(where: { $0.word.description == d.arguments[1].text }) else {
                throw .invalidValue(
                    d.arguments[1], of: "error_log", expected: "one of " + LogLevel.allCases.map { $0.word.description }.joined(separator: ", "))
            }
            level = named
        }
        let file = try scope.builder.logs.file(path.text, at: path, of: "error_log")
        if scope.location.errorLogs.count == 2 {
            throw Diagnostic(
                at: d.position, directive: "error_log", "more than two error logs at one level", found: path.shown,
                expected: "at most two error_log directives in a block")
        }
        scope.location.errorLogs.append((LogFile(file), level))
    }

    private static func logFormat(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let name = d.arguments[0].text
        if scope.builder.formats[name] != nil || name == "combined" { throw .duplicate(d, first: nil) }
        var words = Array(d.arguments.dropFirst())
        var escaping = Escaping.log
        if let first = words.first, first.text.hasPrefix("escape=") {
            guard let value: Escaping = ["default": .log, "json": .json, "none": Escaping.none][String(first.text.dropFirst(7))] else {
                throw .invalidValue(first, of: "log_format", expected: "escape=default, escape=json or escape=none")
            }
            escaping = value
            words.removeFirst()
        }
        guard var text = words.first else { throw .wrongArgumentCount(d, expected: "a name and a format") }
        for word in words.dropFirst() { text.bytes += word.bytes }
        scope.builder.formats[name] = (try scope.builder.template(text, of: "log_format"), escaping)
    }

    private static func accessLog(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let path = d.arguments[0]
        if path == "off" {
            if d.arguments.count > 1 { throw .wrongArgumentCount(d, expected: "one argument with \"off\"") }
            scope.location.begun.insert("access_log")
            scope.location.accessLogs = []
            return
        }
        if path.text.hasPrefix("syslog:") {
            throw .invalidValue(path, of: "access_log", expected: "a path (syslog is not supported yet)")
        }
        if scope.location.begun.insert("access_log").inserted { scope.location.accessLogs = [] }
        let builder = scope.builder
        var rest = d.arguments.dropFirst()
        var format = try builder.combinedFormat()
        if let name = rest.first, name.parameter == nil, name.text != "gzip" {
            guard let known = builder.formats[name.text] ?? (name == "combined" ? format : nil) else {
                throw Diagnostic(
                    at: name.position, directive: "access_log", "unknown log format \"\(name.shown)\"", found: name.shown,
                    expected: "combined, or a name that log_format defines above",
                    hint: nearestName(to: name.text, among: builder.formats.keys).map { "did you mean \"\($0)\"?" })
            }
            format = known
            rest = rest.dropFirst()
        }
        var spec = AccessLogSpec(file: -1, path: .empty, format: format.template, escaping: format.escaping, condition: .empty)
        if path.hasVariables {
            var absolute = path
            absolute.bytes = Array(builder.logs.absolute(path.text).utf8)
            spec.path = try builder.template(absolute, of: "access_log")
        } else {
            spec.file = try builder.accessLogFile(path)
        }
        for word in rest { try parameter(word, &spec, builder) }
        if spec.gzipLevel > 0, spec.bufferBytes == 0 { spec.bufferBytes = 64 << 10 }
        if spec.flushMs > 0, spec.bufferBytes == 0 {
            throw .invalidValue(path, of: "access_log", expected: "buffer=SIZE beside flush=TIME: no buffer is defined")
        }
        if spec.file < 0, spec.bufferBytes > 0 {
            throw .invalidValue(path, of: "access_log", expected: "a path without variables: buffered logs cannot have variables in name")
        }
        scope.location.accessLogs?.append(spec)
    }

    private static let parameters = "buffer=SIZE, flush=TIME, gzip[=LEVEL] or if=CONDITION"

    private static func parameter(_ word: Word, _ spec: inout AccessLogSpec, _ builder: SnapshotBuilder) throws(Diagnostic) {
        if word == "gzip" {
            spec.gzipLevel = 1
            return
        }
        guard let (name, value) = word.parameter else { throw .invalidValue(word, of: "access_log", expected: parameters) }
        switch name {
        case "buffer": spec.bufferBytes = try value.size(in: 1...(1 << 20), of: "access_log")
        case "gzip": spec.gzipLevel = Int32(try value.integer(in: 1...9, of: "access_log"))
        case "flush": spec.flushMs = Int64(try value.milliseconds(of: "access_log"))
        case "if":
            spec.condition = try builder.template(value, of: "access_log")
            spec.hasCondition = true
        default: throw .invalidValue(word, of: "access_log", expected: parameters)
        }
    }
}
