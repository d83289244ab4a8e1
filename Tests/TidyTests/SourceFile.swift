// Owns how the sources are read for the tidy tests: files, lines without comments and literals, and the spans of functions.
// It understands Swift's layout as this project writes it, and no more.

import Foundation

/// One file of the project as text.
struct SourceFile {
    /// From the top of the package: `Sources/Bytes/Slab.swift`.
    let path: String
    let lines: [String]

    static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    /// The files below `folder` whose names end so, in order.
    static func all(in folder: String, endings: [String] = [".swift"]) -> [SourceFile] {
        let base = package + "/" + folder
        guard let walk = FileManager.default.enumerator(atPath: base) else { return [] }
        var files: [SourceFile] = []
        for case let name as String in walk where endings.contains(where: name.hasSuffix) && !name.contains(".build") && !name.hasPrefix(".git/") {
            guard let text = try? String(contentsOfFile: base + "/" + name, encoding: .utf8) else { continue }
            files.append(SourceFile(path: folder.isEmpty ? name : folder + "/" + name, text: text))
        }
        return files.sorted { $0.path < $1.path }
    }

    init(path: String, text: String) {
        self.path = path
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        self.lines = lines
    }

    /// `Bytes` of `Sources/Bytes/Slab.swift`.
    var module: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }

    /// The lines as code: comments gone, the insides of text literals blanked, so that their words are no code.
    var code: [String] {
        var result: [String] = []
        /// The closing of a literal of several lines.
        var until: String?
        for line in lines {
            if let closing = until {
                if line.trimmingCharacters(in: .whitespaces).hasPrefix(closing) { until = nil }
                result.append("")
                continue
            }
            let stripped = Self.stripped(line)
            if let opening = line.range(of: "#*\"\"\"$", options: .regularExpression) {
                let hashes = line[opening].prefix { $0 == "#" }
                until = "\"\"\"" + hashes
            }
            result.append(stripped)
        }
        return result
    }

    /// A line without its comment, literals emptied.
    private static func stripped(_ line: String) -> String {
        var out = ""
        var isInside = false
        var isRaw = false
        var previous: Character = " "
        var rest = Substring(line)
        while let c = rest.popFirst() {
            if isInside {
                if c == "\\", !isRaw {
                    _ = rest.popFirst()
                } else if c == "\"", !isRaw || rest.first == "#" {
                    isInside = false
                    out.append(c)
                }
            } else if c == "\"" {
                isInside = true
                isRaw = previous == "#"
                out.append(c)
            } else if c == "/", rest.first == "/" {
                break
            } else {
                out.append(c)
            }
            previous = c
        }
        return out
    }

    struct Function {
        let name: String
        let line: Int
        let count: Int
    }

    /// Functions and initialisers with the lines they span: from the line that begins one to the brace at the same depth.
    var functions: [Function] {
        let words =
            "public|package|private|fileprivate|internal|static|final|mutating|nonmutating|override|convenience"
            + "|borrowing|consuming|required|@inlinable|@discardableResult"
        let pattern = #"^( *)(@[A-Za-z_()]+ )*((\#(words)) )*(func [^ (<]+|init\??[(<]|deinit\b)"#
        var found: [Function] = []
        let code = code
        for (i, line) in code.enumerated() {
            guard let match = line.range(of: pattern, options: .regularExpression) else { continue }
            let indent = line.prefix { $0 == " " }
            // The name is in the match; the body ends with the brace below its beginning.
            let name = line[match].split(separator: " ").last.map(String.init) ?? ""
            if line.hasSuffix("}") { continue }
            guard let end = code[(i + 1)...].firstIndex(where: { $0 == indent + "}" || $0.hasPrefix(indent + "} ") }) else {
                continue
            }
            // A requirement of a protocol has no body: another declaration comes first.
            guard code[i...end].contains(where: { $0.hasSuffix("{") }) else { continue }
            found.append(Function(name: name, line: i + 1, count: end - i + 1))
        }
        return found
    }
}
