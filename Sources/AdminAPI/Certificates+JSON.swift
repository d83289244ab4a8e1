// The JSON of certificates. What is answered holds no key; what the journal keeps holds no certificate either.
// Decoding of answers passes over unknown members, so that an older proxyctl can talk to a newer proxyd.

extension CertificateState: JSONCodable {
    private static let fields = ["chain", "fingerprint", "not_after", "replaces"]

    public init(decoding json: JSON) throws(Problem) {
        self.init(fingerprint: "", chain: "", replaces: "", notAfterMs: 0)
        var missing = Set(Self.fields)
        try json.forEachMember(of: "a certificate", known: Self.fields) { (name, value) throws(Problem) in
            switch name {
            case "chain": chain = try value.decodeString()
            case "fingerprint": fingerprint = try value.decodeString()
            case "not_after": notAfterMs = try value.decodeMoment()
            case "replaces": replaces = try value.decodeString()
            default: return false
            }
            missing.remove(name)
            return true
        }
        if let name = missing.min() { throw JSON.missing(name, of: "a certificate") }
    }

    public var json: JSON {
        .members([
            "chain": .string(chain), "fingerprint": .string(fingerprint), "not_after": .string(Timestamp.text(ms: notAfterMs)),
            "replaces": .string(replaces),
        ])
    }
}

extension CertificateInfo: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(name: "", chain: [])
        try json.forEachMember(of: "a certificate") { (member, value) throws(Problem) in
            switch member {
            case "name": name = try value.decodeString()
            case "source": source = try value.decodeWord(Source.self)
            case "file": file = try value.decodeString()
            case "names": names = try value.list("a list of names") { (json) throws(Problem) in try json.decodeString() }
            case "key_type": keyType = try value.decodeString()
            case "days_left": daysLeft = try value.decodeInteger(in: .min ... .max)
            case "servers": servers = try value.list("a list of servers") { (json) throws(Problem) in try Server(decoding: json) }
            case "warnings": warnings = try value.list("a list of warnings") { (json) throws(Problem) in try json.decodeString() }
            case "chain": chain = try value.list("a list of certificates") { (json) throws(Problem) in try Link(decoding: json) }
            default: return false
            }
            return true
        }
        // In a list there is the first alone, beside the other members.
        if chain.isEmpty { chain = [try Link(decoding: json)] }
    }

    /// With its chain.
    public var json: JSON { brief.merging(.members(["chain": .array(chain.map(\.json))])) }

    /// Its own certificate alone.
    public var brief: JSON {
        (chain.first?.json ?? .object([])).merging(.members([
            "days_left": .integer(Int64(daysLeft)), "file": .string(file), "key_type": .string(keyType), "name": .string(name),
            "names": .array(names.map { .string($0) }), "servers": .array(servers.map(\.json)), "source": .string(source.rawValue),
            "warnings": .array(warnings.map { .string($0) }),
        ]))
    }
}

extension CertificateInfo.Link: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(subject: "", issuer: "", serial: "", fingerprint: "", notBeforeMs: 0, notAfterMs: 0)
        try json.forEachMember(of: "a certificate") { (name, value) throws(Problem) in
            switch name {
            case "subject": subject = try value.decodeString()
            case "issuer": issuer = try value.decodeString()
            case "serial": serial = try value.decodeString()
            case "fingerprint": fingerprint = try value.decodeString()
            case "not_before": notBeforeMs = try value.decodeMoment()
            case "not_after": notAfterMs = try value.decodeMoment()
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "fingerprint": .string(fingerprint), "issuer": .string(issuer), "not_after": .string(Timestamp.text(ms: notAfterMs)),
            "not_before": .string(Timestamp.text(ms: notBeforeMs)), "serial": .string(serial), "subject": .string(subject),
        ])
    }
}

extension CertificateInfo.Server: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(names: [], listen: [])
        try json.forEachMember(of: "a server") { (name, value) throws(Problem) in
            switch name {
            case "names": names = try value.list("a list of names") { (json) throws(Problem) in try json.decodeString() }
            case "listen": listen = try value.list("a list of addresses") { (json) throws(Problem) in try json.decodeString() }
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members(["listen": .array(listen.map { .string($0) }), "names": .array(names.map { .string($0) })])
    }
}

extension CertificateStatus {
    /// - Parameter json: what stands beneath its name.
    public init(_ name: String, _ json: JSON) throws(Problem) {
        self.init(name: name, notAfterMs: 0, nowMs: 0, source: .file)
        try json.forEachMember(of: "a certificate") { (name, value) throws(Problem) in
            switch name {
            case "not_after": notAfterMs = try value.decodeMoment()
            case "days_left": daysLeft = try value.decodeInteger(in: .min ... .max)
            case "seconds_left": secondsLeft = Int64(try value.decodeInteger(in: .min ... .max))
            case "source": source = try value.decodeWord(CertificateInfo.Source.self)
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "days_left": .integer(Int64(daysLeft)), "not_after": .string(Timestamp.text(ms: notAfterMs)), "seconds_left": .integer(secondsLeft),
            "source": .string(source.rawValue),
        ])
    }
}

extension CertificateWrite: JSONCodable {
    private static let fields = ["certificate", "key"]

    public init(decoding json: JSON) throws(Problem) {
        self.init(reason: try Beside.reason(of: json), certificate: "", key: "")
        var missing = Set(Self.fields)
        try json.without(Beside.names).forEachMember(of: "a certificate with its key", known: Self.fields) { (name, value) throws(Problem) in
            switch name {
            case "certificate": certificate = try Self.text(value)
            case "key": key = try Self.text(value)
            default: return false
            }
            missing.remove(name)
            return true
        }
        if let name = missing.min() { throw JSON.missing(name, of: "a certificate with its key") }
    }

    /// A problem never quotes what may be a key.
    private static func text(_ value: JSON) throws(Problem) -> String {
        if case .string(let text) = value { return text }
        throw Problem(.wrongType, "found no string, expected PEM", pointer: "")
    }

    public var json: JSON {
        .members(["certificate": .string(certificate), "key": .string(key), "reason": reason.map { .string($0) }])
    }
}
