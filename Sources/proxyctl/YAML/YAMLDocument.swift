// Owns a document that was read from YAML: the value it stands for, and where each part of it stood in the file.
// Made by YAMLReader; what is decoded from it tells its problems by JSON pointers, and here those become lines.

import AdminAPI

struct YAMLDocument {
    /// Counted from 1; columns in characters of Unicode.
    struct Place: Equatable, CustomStringConvertible {
        var line: Int
        var column: Int

        var description: String { "\(line):\(column)" }
    }

    /// As it was named, for messages.
    let file: String
    let json: JSON
    /// By JSON pointer: where the key of a member stands, and where a value does.
    let keys: [String: Place]
    let values: [String: Place]

    /// Where the value of `pointer` stands, or what is next around it, if it is not there.
    func place(_ pointer: String, isKey: Bool = false) -> Place {
        if isKey, let place = keys[pointer] { return place }
        var text = pointer[...]
        while true {
            if let place = values[String(text)] { return place }
            guard let slash = text.lastIndex(of: "/") else { return Place(line: 1, column: 1) }
            text = text[..<slash]
        }
    }

    /// A problem of this document, told as `file:line:column: detail`.
    func failure(_ problem: Problem) -> Failure {
        let isKey = problem.kind == .unknownField || problem.kind == .duplicateField
        let place = problem.pointer.map { ":\(self.place($0, isKey: isKey))" } ?? ""
        return Failure(.usage, Words.printable("\(file)\(place): \(problem.detail)"), hint: Words.printable(problem.hint))
    }
}
