// A configuration of several files: `include` resolved, relative names and globs, cycles refused. Follows ngx_conf_include.
// Called by `Control` with the functions that touch the disk. It keeps what it read, for the dump of `-T`.

/// One file as it was read.
public struct SourceFile: Hashable, Sendable {
    public let name: String
    public let bytes: [UInt8]

    public init(name: String, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }
}

/// A configuration whose includes are resolved.
public struct ParsedConfiguration: Sendable {
    /// The directives in their order; in place of an `include` stands what it brought.
    public let directives: [Directive]
    /// Every file once, in the order of first use.
    public let files: [SourceFile]

    public init(directives: [Directive], files: [SourceFile]) {
        self.directives = directives
        self.files = files
    }
}

/// Why a file could not be read.
public struct ReadFailure: Error, Hashable, Sendable {
    /// In nginx's form, e.g. `2: No such file or directory`.
    public let reason: String

    public init(_ reason: String) { self.reason = reason }
}

/// The configuration that begins with `file`.
/// - Parameters:
///   - folder: what relative names of `include` start from, in every file; nil: the folder of `file`, as in nginx.
///   - reading: the content of a file. Called once for each name.
///   - globbing: the files that match a pattern with `*`, `?` or `[`; they are taken in the order of their bytes.
/// - Throws: the first error of any file. A plain name that cannot be read is an error at its `include`; a pattern that
///   matches nothing is not.
public func parse(
    file: String, folder: String? = nil, limits: ConfigurationLimits = ConfigurationLimits(),
    reading: (String) throws(ReadFailure) -> [UInt8], globbing: (String) -> [String]
) throws(Diagnostic) -> ParsedConfiguration {
    try withoutActuallyEscaping(reading) { (read) throws(Diagnostic) in
        try withoutActuallyEscaping(globbing) { (glob) throws(Diagnostic) in
            var loader = Loader(folder: folder ?? folderName(of: file), limits: limits, reading: read, globbing: glob)
            let directives = try loader.load(file, includedBy: nil, path: [], depth: 0)
            return ParsedConfiguration(directives: directives, files: loader.files)
        }
    }
}

private struct Loader {
    /// Empty or ending in `/`.
    let folder: String
    let limits: ConfigurationLimits
    let reading: (String) throws(ReadFailure) -> [UInt8]
    let globbing: (String) -> [String]
    private(set) var files: [SourceFile] = []
    private var indexByName: [String: Int] = [:]
    private var fileCount = 0
    private var totalBytes = 0
    private var directiveCount = 0

    init(
        folder: String, limits: ConfigurationLimits, reading: @escaping (String) throws(ReadFailure) -> [UInt8],
        globbing: @escaping (String) -> [String]
    ) {
        self.folder = folder.isEmpty || folder.utf8.last == UInt8(ascii: "/") ? folder : folder + "/"
        self.limits = limits
        self.reading = reading
        self.globbing = globbing
    }

    /// `path`: the files that are being included, outermost first. `depth`: of blocks around the include.
    mutating func load(
        _ name: String, includedBy include: Directive?, path: [String], depth: Int
    ) throws(Diagnostic) -> [Directive] {
        let place = include?.arguments[0].position ?? Position(file: name)
        if path.contains(name) {
            throw Diagnostic(
                at: place, directive: "include", "\"\(printable(name.utf8))\" includes itself", found: name,
                expected: "a file that is not being included already",
                hint: (path + [name]).map { printable($0.utf8) }.joined(separator: " includes "))
        }
        let depthMax = min(limits.includeDepthMax, ConfigurationLimits.depthCeiling)
        if path.count > depthMax {
            throw Diagnostic(
                at: place, directive: "include", "includes are nested more than \(depthMax) deep", found: name,
                expected: "at most \(depthMax) files within each other")
        }
        let bytes = try content(of: name, at: place)
        let directives = try parse(bytes, file: name, limits: limits, depth: depth, directiveCount: &directiveCount)
        return try resolve(directives, path: path + [name], depth: depth)
    }

    private mutating func content(of name: String, at place: Position) throws(Diagnostic) -> [UInt8] {
        fileCount += 1
        if fileCount > limits.filesMax {
            throw Diagnostic(
                at: place, directive: "include", "more than \(limits.filesMax) files", found: name,
                expected: "at most \(limits.filesMax) files")
        }
        let bytes: [UInt8]
        if let known = indexByName[name] {
            bytes = files[known].bytes
        } else {
            do {
                bytes = try reading(name)
            } catch {
                throw Diagnostic(
                    at: place, "open() \"\(printable(name.utf8, bytesMax: 1024))\" failed (\(printable(error.reason.utf8)))",
                    found: name, expected: "a file that can be read")
            }
            indexByName[name] = files.count
            files.append(SourceFile(name: name, bytes: bytes))
        }
        totalBytes += bytes.count
        if totalBytes > limits.totalBytesMax {
            throw Diagnostic(
                at: place, directive: "include", "files have more than \(limits.totalBytesMax) bytes together", found: name,
                expected: "at most \(limits.totalBytesMax) bytes")
        }
        return bytes
    }

    private mutating func resolve(
        _ directives: [Directive], path: [String], depth: Int
    ) throws(Diagnostic) -> [Directive] {
        var resolved: [Directive] = []
        resolved.reserveCapacity(directives.count)
        for var directive in directives {
            if directive.name == "include" {
                for name in try names(of: directive) {
                    resolved += try load(name, includedBy: directive, path: path, depth: depth)
                }
                continue
            }
            if let block = directive.block { directive.block = try resolve(block, path: path, depth: depth + 1) }
            resolved.append(directive)
        }
        return resolved
    }

    /// The files an `include` means.
    private func names(of include: Directive) throws(Diagnostic) -> [String] {
        if include.block != nil { throw .notTerminated(include) }
        if include.arguments.count != 1 { throw .wrongArgumentCount(include, expected: "one file name or pattern") }
        let word = include.arguments[0]
        guard !word.bytes.contains(0), let text = String(validating: word.bytes, as: UTF8.self) else {
            throw .invalidValue(word, of: "include", expected: "a file name in UTF-8")
        }
        let name = text.utf8.first == UInt8(ascii: "/") ? text : folder + text
        let signs = Array("*?[".utf8)
        if !name.utf8.contains(where: signs.contains) { return [name] }
        return globbing(name).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}

/// `file` up to its last `/`; empty for a bare name.
private func folderName(of file: String) -> String {
    guard let slash = file.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "" }
    return String(file[...slash])
}
