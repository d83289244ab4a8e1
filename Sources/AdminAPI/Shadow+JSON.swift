// Shadows of splits in JSON, and what is wrong with one.
// Called by the codec of splits, by `StateRules` and by the builder of configurations.

extension ShadowState: StateCodable {
    private static let fields = ["headers", "noise", "share", "to"]

    public init(decoding json: JSON, _ form: StateForm) throws(Problem) {
        self.init(to: "")
        var hasName = false
        try json.forEachMember(of: "a shadow", known: form.isStrict ? Self.fields : nil) { (name, value) throws(Problem) in
            switch name {
            case "to":
                to = try value.decodeString()
                hasName = true
            case "share": share = try value.decodeInteger(in: StateBounds.percent)
            case "noise": noise = try value.decodeInteger(in: StateBounds.percent)
            case "headers": headers = try value.list("a list of names") { (json) throws(Problem) in try json.decodeString() }
            default: return false
            }
            return true
        }
        if !hasName { throw JSON.missing("to", of: "a shadow") }
    }

    public func json(as form: StateForm) -> JSON {
        .members([
            "headers": .array(headers.map { .string($0) }), "noise": .integer(Int64(noise)), "share": .integer(Int64(share)),
            "to": .string(to),
        ])
    }
}

extension StateRules {
    /// - Throws: `unknownVariant`, `outOfRange`, `badName`.
    public static func check(_ shadow: ShadowState, of weights: [String: Int]) throws(Problem) {
        if weights[shadow.to] == nil {
            let near = nearestField(to: shadow.to, among: weights.keys.sorted()).map { "did you mean \"\($0)\"?" }
            throw Problem(
                .unknownVariant, "found \"\(shortened(shadow.to))\", expected the name of a variant of the split",
                hint: near ?? "give the variant the weight 0 first", pointer: "/shadow/to")
        }
        for (value, name) in [(shadow.share, "share"), (shadow.noise, "noise")] where !StateBounds.percent.contains(value) {
            throw Problem(.outOfRange, "found the number \(value), expected a whole number 0 to 100", pointer: "/shadow/\(name)")
        }
        if shadow.headers.count > StateBounds.shadowHeadersMax {
            let detail = "found \(shadow.headers.count) fields, expected at most \(StateBounds.shadowHeadersMax)"
            throw Problem(.outOfRange, detail, pointer: "/shadow/headers")
        }
        for (i, name) in shadow.headers.enumerated() {
            let isToken = !name.isEmpty && name.utf8.count <= StateBounds.nameBytesMax
                && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"()<>@,;:\\\"/[]?={}".utf8.contains($0) }
            if isToken { continue }
            throw Problem(.badName, "found \"\(shortened(name))\", expected the name of a header field", pointer: "/shadow/headers/\(i)")
        }
    }
}

extension ShadowStatus: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init()
        try json.forEachMember(of: "counts of shadows") { (name, value) throws(Problem) in
            switch name {
            case "compared": compared = try value.decodeCount()
            case "differing": differing = try value.decodeCount()
            case "compared_old": comparedOld = try value.decodeCount()
            case "differing_old": differingOld = try value.decodeCount()
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "compared": .count(compared), "compared_old": .count(comparedOld), "differing": .count(differing),
            "differing_old": .count(differingOld),
        ])
    }
}
