// Where a configuration comes from: a file with its includes, or a text, and the directives of -g before either.
// Called by the supervisor. What it read is kept for -T.

import ConfigurationFile

/// What a server is told when it is made.
package struct ServerOptions: Sendable {
    package enum Source: Sendable {
        case file(String)
        case text(String)
    }
    package var source: Source
    /// Relative paths of logs, pid and roots start here; ends in "/".
    package var prefix: String
    /// `-e`: the error log until the configuration says otherwise.
    package var errorLog: String
    /// `-g`: directives of the main level.
    package var globalDirectives: String

    package init(source: Source, prefix: String = "./", errorLog: String = "stderr", globalDirectives: String = "") {
        self.source = source
        self.prefix = prefix.hasSuffix("/") || prefix.isEmpty ? prefix : prefix + "/"
        self.errorLog = errorLog
        self.globalDirectives = globalDirectives
    }

    /// The configuration file's path; nil for a text.
    package var path: String? {
        guard case .file(let name) = source else { return nil }
        return name.hasPrefix("/") ? name : prefix + name
    }

    /// Where the configuration file lies, with "/" at the end; the prefix for a text.
    package var folder: String {
        guard let path, let slash = path.lastIndex(of: "/") else { return prefix }
        return String(path[...slash])
    }
}

extension ServerOptions {
    func parse(with system: any SystemFiles) throws(Diagnostic) -> ParsedConfiguration {
        let before = try globalDirectives.isEmpty ? [] : ConfigurationFile.parse(Array(globalDirectives.utf8), file: "-g")
        switch source {
        case .file:
            let read = try ConfigurationFile.parse(
                file: path ?? "", reading: { (name) throws(ReadFailure) in try system.read(name) }, globbing: { system.glob($0) })
            return ParsedConfiguration(directives: before + read.directives, files: read.files)
        case .text(let text):
            let bytes = Array(text.utf8)
            let read = try ConfigurationFile.parse(
                file: "configuration",
                reading: { (name) throws(ReadFailure) in name == "configuration" ? bytes : try system.read(name) },
                globbing: { system.glob($0) })
            return ParsedConfiguration(directives: before + read.directives, files: read.files)
        }
    }
}
