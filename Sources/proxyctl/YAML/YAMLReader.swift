// Reads YAML as the JSON that it stands for, and remembers where everything stood, so that a problem can be told by its line.
// Called by what keeps plans and policies in files. The only user of Yams: nothing of it leaves this folder.

import AdminAPI
import Yams

/// Bounds of a document. Reaching one is a refusal, never a crash.
struct YAMLLimits {
    var bytesMax = 1 << 20
    var depthMax = 64
    /// Values after aliases have been followed: an alias of an alias of an alias is a short way to write a lot.
    var valuesMax = 100_000
    /// Shorter than what libyaml bears, which is a thousand: its callers call themselves for each.
    static let nestingMax = 200
}

extension YAMLDocument {
    /// One document. Plain scalars are read by the core schema of YAML 1.2: `no` and `on` are strings, `012` is one too, since
    /// a commit may look like that. Keys are strings and stand once; `<<: *name` takes over the members of another mapping.
    /// - Throws: a failure that begins with `file:line:column`.
    static func read(_ bytes: [UInt8], file: String, limits: YAMLLimits = YAMLLimits()) throws(Failure) -> YAMLDocument {
        if bytes.count > limits.bytesMax {
            throw Failure(.usage, "\(file): found \(bytes.count) bytes, expected at most \(limits.bytesMax)")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw Failure(.usage, "\(file): this is not UTF-8")
        }
        try refuseNesting(bytes, file)
        var reader = YAMLReader(limits: limits)
        do {
            let root = try Parser(yaml: text, encoding: .utf8).singleRoot()
            let json = try root.map { node throws(YAMLFault) in try reader.value(node, at: .root, depth: 0) } ?? .null
            return YAMLDocument(file: file, json: json, keys: reader.keys, values: reader.values)
        } catch let fault as YAMLFault {
            throw Failure(.usage, "\(file):\(fault.place): \(fault.text)", hint: fault.hint)
        } catch let error as YamlError {
            throw failure(of: error, file)
        } catch {
            throw Failure(.usage, "\(file): \(error)")
        }
    }

    /// Brackets open at once. Those in strings count too: no plan has so many there either.
    private static func refuseNesting(_ bytes: [UInt8], _ file: String) throws(Failure) {
        var open = 0
        var line = 1
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "\n"): line += 1
            case UInt8(ascii: "["), UInt8(ascii: "{"): open += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"): open = max(0, open - 1)
            default: break
            }
            if open > YAMLLimits.nestingMax { throw Failure(.usage, "\(file):\(line): this is nested too deeply") }
        }
    }

    private static func failure(of error: YamlError, _ file: String) -> Failure {
        func at(_ mark: Mark, _ problem: String, _ context: YamlError.Context?) -> Failure {
            let context = context.map { " (\($0.text))" } ?? ""
            return Failure(.usage, Words.printable("\(file):\(mark.line):\(mark.column): \(problem)\(context)"))
        }
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            return at(mark, problem, context)
        case .duplicatedKeysInMapping(let duplicates, let context):
            return at(context.mark, "the key \(duplicates.joined(separator: ", ")) is given twice", nil)
        case .reader(let problem, let offset, _, let yaml):
            let line = yaml.prefix(offset ?? 0).reduce(1) { $1.isNewline ? $0 + 1 : $0 }
            return Failure(.usage, Words.printable("\(file):\(line): \(problem)"))
        default: return Failure(.usage, Words.printable("\(file): \(error)"))
        }
    }
}

private struct YAMLFault: Error {
    var place: YAMLDocument.Place
    var text: String
    var hint = ""
}

private struct YAMLReader {
    let limits: YAMLLimits
    var valuesCount = 0
    var keys: [String: YAMLDocument.Place] = [:]
    var values: [String: YAMLDocument.Place] = [:]

    init(limits: YAMLLimits) { self.limits = limits }

    private static func place(of node: Node) -> YAMLDocument.Place {
        YAMLDocument.Place(line: node.mark?.line ?? 1, column: node.mark?.column ?? 1)
    }

    mutating func value(_ node: Node, at pointer: JSONPointer, depth: Int) throws(YAMLFault) -> JSON {
        let place = Self.place(of: node)
        valuesCount += 1
        if valuesCount > limits.valuesMax {
            throw YAMLFault(place: place, text: "found more than \(limits.valuesMax) values, with aliases followed")
        }
        if depth > limits.depthMax { throw YAMLFault(place: place, text: "this is nested too deeply") }
        values[pointer.text] = place
        switch node {
        case .scalar(let scalar): return try Self.scalar(scalar, place)
        case .alias: throw YAMLFault(place: place, text: "found an alias of nothing")
        case .sequence(let sequence):
            try Self.refuseTag(sequence.tag, "tag:yaml.org,2002:seq", place)
            var elements: [JSON] = []
            for element in sequence {
                elements.append(try value(element, at: pointer.appending(elements.count), depth: depth + 1))
            }
            return .array(elements)
        case .mapping(let mapping):
            try Self.refuseTag(mapping.tag, "tag:yaml.org,2002:map", place)
            return .object(try members(mapping, at: pointer, depth: depth))
        }
    }

    private mutating func members(_ mapping: Node.Mapping, at pointer: JSONPointer, depth: Int) throws(YAMLFault) -> [JSON.Member]
    {
        var own: [JSON.Member] = []
        var names: Set<String> = []
        var merged: [Node] = []
        for (key, node) in mapping {
            let place = Self.place(of: key)
            guard case .scalar(let scalar) = key else { throw YAMLFault(place: place, text: "expected a word as a key") }
            if scalar.style == .plain, scalar.string == "<<" {
                merged.append(node)
                continue
            }
            guard names.insert(scalar.string).inserted else {
                throw YAMLFault(place: place, text: "the key \(scalar.string) is given twice")
            }
            let below = pointer.appending(scalar.string)
            keys[below.text] = place
            own.append(JSON.Member(scalar.string, try value(node, at: below, depth: depth + 1)))
        }
        for node in merged {
            for source in node.sequence.map(Array.init) ?? [node] {
                guard case .mapping(let source) = source else {
                    throw YAMLFault(place: Self.place(of: node), text: "<< takes a mapping: <<: *name")
                }
                var inner = self
                let taken = try inner.members(source, at: pointer, depth: depth + 1)
                valuesCount = inner.valuesCount
                // What stands here itself wins, and so do its places.
                keys.merge(inner.keys) { mine, _ in mine }
                values.merge(inner.values) { mine, _ in mine }
                own += taken.filter { names.insert($0.name).inserted }
            }
        }
        return own
    }

    // MARK: Scalars

    private static func scalar(_ scalar: Node.Scalar, _ place: YAMLDocument.Place) throws(YAMLFault) -> JSON {
        let text = scalar.string
        switch scalar.tag.rawValue {
        case "": return scalar.style == .plain ? plain(text) : .string(text)
        case "!", "tag:yaml.org,2002:str": return .string(text)
        case let tag:
            throw YAMLFault(place: place, text: "found the tag \(tag), expected none", hint: "A string is written in quotes.")
        }
    }

    private static func plain(_ text: String) -> JSON {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default: break
        }
        // Numbers are those of JSON: other forms are strings, such as 0x10, 012, .5 and 1_000.
        guard let first = text.utf8.first, first == UInt8(ascii: "-") || (0x30...0x39).contains(first),
            let number = try? JSON.parse(text), number.number != nil
        else { return .string(text) }
        return number
    }

    private static func refuseTag(_ tag: Tag, _ usual: String, _ place: YAMLDocument.Place) throws(YAMLFault) {
        if ["", "!", usual].contains(tag.rawValue) { return }
        throw YAMLFault(place: place, text: "found the tag \(tag.rawValue), expected none")
    }
}
