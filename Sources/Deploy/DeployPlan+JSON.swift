// Reads a deploy plan from JSON: types, ranges, words. Problems are told relative to the JSON in hand; `at` is where that stands in
// the document, for the texts that are filled in later. Called with what `Expansion.document` has made of the file.
import AdminAPI

extension DeployPlan {
    static let fields = ["approval_timeout", "approve", "commit", "env", "environments", "name", "notify", "services", "state"]
    static let servicesMax = 100

    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a deploy plan", known: Self.fields)
        try fields.set(&name, "name", fields.label)
        try fields.set(&state, "state", fields.string)
        commit = try fields.below("commit", at: .root) { (json, at) throws(Problem) in try CommandPlan(json, at: at) }
        env = try fields.texts("env", at: .root)
        environments = try fields.byName("environments", "environments by name, such as blue and green") {
            (name, json) throws(Problem) in
            let fields = try Fields(json.isNull ? .object([]) : json, of: "an environment", known: ["env"])
            var environment = EnvironmentPlan(name: name)
            environment.env = try fields.texts("env", at: JSONPointer(["environments", name]))
            return environment
        }
        try fields.set(&approvals, "approve") { (name) throws(Problem) in
            try fields.list(name) { (json, pointer) throws(Problem) in try Self.stage(json, pointer) }
        }
        try fields.set(&approvalTimeoutMs, "approval_timeout", fields.spanMs)
        notify = try fields.below("notify", at: .root) { (json, at) throws(Problem) in try NotifyPlan(json, at: at) }
        _ = try fields.json("services")
        services = try fields.byName("services", "services by name") { (name, json) throws(Problem) in
            try ServicePlan(json, name: name, at: JSONPointer(["services", name]))
        }
        if services.isEmpty || services.count > Self.servicesMax {
            throw Problem(
                .outOfRange, "found \(services.count) services, expected 1 to \(Self.servicesMax)", pointer: "/services")
        }
        try checkTogether()
    }

    private func checkTogether() throws(Problem) {
        for service in services {
            guard case .split(_, let variants) = service.kind else { continue }
            if environments.count < 2 {
                throw Problem(
                    .missingField, "found a service with a split and no two environments",
                    hint: "environments: {blue: {}, green: {}}",
                    pointer: "/environments")
            }
            for name in variants.keys.sorted() where !environments.contains(where: { $0.name == name }) {
                throw Problem(
                    .unknownVariant, "there is no environment \(name)",
                    pointer: JSONPointer(["services", service.name, "variants", name]).text)
            }
        }
    }

    static func stage(_ json: JSON, _ pointer: JSONPointer) throws(Problem) -> Stage {
        if let text = json.string, let stage = Stage(rawValue: text) { return stage }
        let words = Stage.allCases.map(\.rawValue).joined(separator: ", ")
        throw Problem(.outOfRange, "found no stage, expected one of \(words)", pointer: pointer.text)
    }

    /// What may stand in names of files and in messages.
    static func label(_ text: String) throws(Problem) -> String {
        let isGood = text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."): true
            default: false
            }
        }
        if isGood, (1...64).contains(text.utf8.count), !text.hasPrefix("."), !text.hasPrefix("-") { return text }
        throw Problem(.badName, "found \"\(text.prefix(64))\", expected letters, digits, - _ and . (at most 64)", pointer: "")
    }
}

extension Fields {
    func label(_ name: String) throws(Problem) -> String {
        let text = try string(name)
        do throws(Problem) { return try DeployPlan.label(text) } catch { throw error.under([name]) }
    }

    /// A member that may be absent or null.
    func below<Value>(
        _ name: String, at pointer: JSONPointer, _ read: (JSON, JSONPointer) throws(Problem) -> Value
    ) throws(Problem) -> Value? {
        guard let json = has(name), !json.isNull else { return nil }
        do throws(Problem) { return try read(json, pointer.appending(name)) } catch { throw error.under([name]) }
    }

    /// The members of the object `name`, in their order.
    func byName<Value>(
        _ name: String, _ expected: String, _ read: (String, JSON) throws(Problem) -> Value
    ) throws(Problem) -> [Value] {
        guard let json = has(name), !json.isNull else { return [] }
        guard let members = json.object else {
            throw Problem(.wrongType, "expected \(expected)", pointer: JSONPointer([name]).text)
        }
        var result: [Value] = []
        for member in members {
            do throws(Problem) { result.append(try read(try DeployPlan.label(member.name), member.value)) } catch {
                throw error.under([name, member.name])
            }
        }
        return result
    }

    /// Strings by name. Numbers are written as they are: ports need no quotes.
    func texts(_ name: String, at pointer: JSONPointer) throws(Problem) -> [String: Text] {
        guard let json = has(name), !json.isNull else { return [:] }
        guard let members = json.object else {
            throw Problem(.wrongType, "expected names with their values", pointer: JSONPointer([name]).text)
        }
        var result: [String: Text] = [:]
        for member in members {
            guard let value = Self.text(member.value) else {
                throw Problem(.wrongType, "expected a string", pointer: JSONPointer([name, member.name]).text)
            }
            result[member.name] = Text(value, at: pointer.appending(name).appending(member.name))
        }
        return result
    }

    /// nil: it is absent or null.
    func text(_ name: String, at pointer: JSONPointer) throws(Problem) -> Text? {
        guard let json = has(name), !json.isNull else { return nil }
        guard let value = Self.text(json) else {
            throw Problem(.wrongType, "expected a string", pointer: JSONPointer([name]).text)
        }
        return Text(value, at: pointer.appending(name))
    }

    private static func text(_ json: JSON) -> String? {
        switch json {
        case .string(let text): text
        case .integer(let number): String(number)
        case .number(let number): number.description
        case .bool(let flag): flag ? "true" : "false"
        default: nil
        }
    }
}

extension Problem {
    /// As seen from further out.
    func under(_ tokens: [String]) -> Problem {
        var problem = self
        if let pointer { problem.pointer = JSONPointer(tokens).text + pointer }
        return problem
    }
}
