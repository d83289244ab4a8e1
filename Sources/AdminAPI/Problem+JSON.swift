// application/problem+json, RFC 9457. Written by the server, read by proxyctl.

extension Problem: JSONCodable {
    /// The media type of the JSON of a problem.
    public static let mediaType = "application/problem+json"

    /// A kind this program does not know is taken for the plainest one of its status: a newer server may tell more.
    public init(decoding json: JSON) throws(Problem) {
        var type = ""
        var status: Int?
        self.init(.outOfRange, "")
        try json.forEachMember(of: "a problem") { (name, value) throws(Problem) in
            switch name {
            case "type": type = try value.decodeString()
            case "status": status = try value.decodeInteger(in: 100...599)
            case "detail": detail = try value.decodeString()
            case "hint": hint = try value.decodeString()
            case "pointer": pointer = try value.decodeOptional { (json) throws(Problem) in try json.decodeString() }
            case "revision": revision = try value.decodeOptional { (json) throws(Problem) in try json.decodeCount() }
            default: return false
            }
            return true
        }
        let word = type.split(separator: "/").last.map(String.init) ?? ""
        kind = Kind(rawValue: word) ?? Self.plainest(status ?? 422)
        self.status = status ?? kind.status
    }

    private static func plainest(_ status: Int) -> Kind {
        switch status {
        case 400: .badHeader
        case 401: .unauthorized
        case 403: .forbidden
        case 404: .notFound
        case 405: .methodNotAllowed
        case 409: .conflict
        case 412: .lostRace
        case 413: .tooLarge
        case 500...: .busy
        default: .outOfRange
        }
    }

    public var json: JSON {
        .members([
            "detail": .string(detail), "hint": hint.isEmpty ? nil : .string(hint), "pointer": pointer.map { .string($0) },
            "revision": revision.map { .count($0) }, "status": .integer(Int64(status)), "title": .string(kind.title),
            "type": .string("/problems/" + kind.rawValue),
        ])
    }
}
