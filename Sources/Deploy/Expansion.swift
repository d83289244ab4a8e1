// Puts values in place of `${NAME}` and `${NAME:-default}`. Commands are left alone: their shell does that.
// Used on a whole document before it is decoded, and on the texts of a step when its variables are known.
import AdminAPI

/// A text of a plan, and where it stood.
public struct Text: Sendable, Equatable {
    public var raw: String
    public var pointer: JSONPointer

    public init(_ raw: String, at pointer: JSONPointer = .root) {
        self.raw = raw
        self.pointer = pointer
    }
}

public enum Expansion {
    /// The values of commands, which are read by a shell.
    static let commands: Set<String> = ["run", "undo", "process", "probe"]

    /// The document with what `variables` say, and with defaults, put in. Names that the plan sets itself (under `env`) are left
    /// for their step. A value that was nothing but one `${}` is read again: it may have become a number.
    public static func document(_ json: JSON, _ variables: [String: String]) throws(Problem) -> JSON {
        var own: Set<String> = []
        gatherNames(json, isInEnvironment: false, &own)
        return try document(json, variables, own, at: .root)
    }

    private static func gatherNames(_ json: JSON, isInEnvironment: Bool, _ names: inout Set<String>) {
        switch json {
        case .array(let elements): for element in elements { gatherNames(element, isInEnvironment: false, &names) }
        case .object(let members):
            for member in members {
                if isInEnvironment { names.insert(member.name) }
                gatherNames(member.value, isInEnvironment: member.name == "env", &names)
            }
        default: break
        }
    }

    private static func document(
        _ json: JSON, _ variables: [String: String], _ own: Set<String>, at pointer: JSONPointer
    ) throws(Problem) -> JSON {
        switch json {
        case .array(let elements):
            var result: [JSON] = []
            for (i, element) in elements.enumerated() {
                result.append(try document(element, variables, own, at: pointer.appending(i)))
            }
            return .array(result)
        case .object(let members):
            var result: [JSON.Member] = []
            for member in members {
                let isCommand = commands.contains(member.name) && member.value.string != nil
                let value =
                    isCommand ? member.value : try document(member.value, variables, own, at: pointer.appending(member.name))
                result.append(JSON.Member(member.name, value))
            }
            return .object(result)
        case .string(let text):
            guard text.contains("${") else { return json }
            let expanded = try expand(Text(text, at: pointer)) { name, fallback in
                own.contains(name) || name.hasPrefix(Variables.prefix) ? nil : variables[name] ?? fallback
            }
            if text.hasPrefix("${"), text.firstIndex(of: "}") == text.index(before: text.endIndex), expanded != text,
                let scalar = try? JSON.parse(expanded), scalar.number != nil || scalar.bool != nil
            {
                return scalar
            }
            return .string(expanded)
        default: return json
        }
    }

    /// The text with all of `variables` put in.
    /// - Throws: `missing-field` for a name that nobody sets.
    public static func text(_ text: Text, _ variables: [String: String]) throws(Problem) -> String {
        var missing: String?
        let result = try expand(text) { name, fallback in
            let value = variables[name] ?? fallback
            if value == nil, missing == nil { missing = name }
            return value
        }
        if let missing {
            throw Problem(
                .missingField, "found ${\(missing)}, which is set nowhere",
                hint: "Set it under env, or write ${\(missing):-default}.",
                pointer: text.pointer.text)
        }
        return result
    }

    /// `value` answers nil for what is to stay as it is.
    private static func expand(_ text: Text, _ value: (String, String?) -> String?) throws(Problem) -> String {
        var out = ""
        var rest = text.raw[...]
        while let dollar = rest.firstIndex(of: "$") {
            out += rest[..<dollar]
            rest = rest[rest.index(after: dollar)...]
            guard rest.first == "{" else {
                out += "$"
                continue
            }
            guard let end = rest.firstIndex(of: "}") else {
                throw Problem(.badTemplate, "found a ${ without its }", pointer: text.pointer.text)
            }
            let inner = rest[rest.index(after: rest.startIndex)..<end]
            rest = rest[rest.index(after: end)...]
            let name = inner.prefix { $0 == "_" || ($0.isASCII && ($0.isLetter || $0.isNumber)) }
            let tail = inner.dropFirst(name.count)
            guard !name.isEmpty, tail.isEmpty || tail.hasPrefix(":-") else {
                throw Problem(.badTemplate, "found ${\(inner)}, expected ${NAME} or ${NAME:-default}", pointer: text.pointer.text)
            }
            out += value(String(name), tail.isEmpty ? nil : String(tail.dropFirst(2))) ?? "${\(inner)}"
        }
        return out + rest
    }
}

/// The names that every command is given in its environment.
public enum Variables {
    static let prefix = "DEPLOY_"
    public static let name = "DEPLOY_NAME", number = "DEPLOY_NUMBER", stage = "DEPLOY_STAGE", service = "DEPLOY_SERVICE"
    public static let environment = "DEPLOY_TO", before = "DEPLOY_FROM", replica = "DEPLOY_REPLICA"
    public static let commit = "DEPLOY_COMMIT", commitBefore = "DEPLOY_COMMIT_BEFORE", directory = "DEPLOY_DIRECTORY"
}
