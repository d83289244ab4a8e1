// The records of the journal and their JSON. Written and read by Journal and JournalReader alone; the version is in the header.

import AdminAPI

/// One line of the journal.
enum JournalRecord: Equatable {
    /// The first line. `next`: revisions with smaller numbers were made, whether or not they are kept. `kept`: so many revisions follow that
    /// the last compaction wrote.
    case header(next: UInt64, kept: Int)
    /// `after` is the revision whose state `change` begins with; 0: it begins with nothing, and this is the first.
    /// `file`: from the file's state before it, or from this revision's state if there was none; nil: as before.
    case revision(Revision, after: UInt64, change: StateDelta, file: StateDelta?)
    /// The file was loaded and nothing that runs changed by it. `after`: the current revision.
    case file(StateDelta, after: UInt64)

    static let version: Int64 = 1

    var json: JSON {
        switch self {
        case .header(let next, let kept):
            .members(["journal": .integer(Self.version), "kept": .integer(Int64(kept)), "next": .integer(Int64(clamping: next))])
        case .revision(let revision, let after, let change, let file):
            .members([
                "revision": revision.json, "after": .integer(Int64(clamping: after)), "change": change.json, "file": file?.json,
            ])
        case .file(let file, let after): .members(["after": .integer(Int64(clamping: after)), "file": file.json])
        }
    }

    /// The line of this record.
    func line() -> [UInt8] { JournalLine.bytes(of: json.bytes(pretty: false)) }

    /// The record in JSON that a line frames.
    init(_ bytes: ArraySlice<UInt8>) throws(Problem) {
        try self.init(json: try JSON.parse(Array(bytes), limits: JSONLimits(bytesMax: .max, valuesMax: .max)))
    }

    init(json: JSON) throws(Problem) {
        let fields = try JournalFields(json, known: ["journal", "kept", "next", "revision", "after", "change", "file"])
        if let version = fields["journal"] {
            if version.integer != Self.version { throw Problem(.outOfRange, "found another version of the journal") }
            self = .header(next: UInt64(try fields.count("next")), kept: try fields.count("kept"))
            return
        }
        let after = UInt64(try fields.count("after"))
        if let revision = fields["revision"] {
            guard let change = fields["change"] else { throw Problem(.missingField, "found no change") }
            var file: StateDelta?
            if let json = fields["file"] { file = try StateDelta(json: json) }
            self = .revision(try Revision(decoding: revision), after: after, change: try StateDelta(json: change), file: file)
        } else if let file = fields["file"] {
            self = .file(try StateDelta(json: file), after: after)
        } else {
            throw Problem(.unknownField, "found a record of an unknown kind")
        }
    }
}

extension StateDelta {
    var json: JSON {
        .members([
            "upstreams": upstreams.isEmpty ? nil : Self.object(upstreams) { $0.json(as: .journal) },
            "patches": patches.isEmpty ? nil : Self.object(patches) { $0.json },
            "splits": splits.isEmpty ? nil : Self.object(splits) { $0.json(as: .journal) },
            "removed_upstreams": removedUpstreams.isEmpty ? nil : .array(removedUpstreams.map { .string($0) }),
            "removed_splits": removedSplits.isEmpty ? nil : .array(removedSplits.map { .string($0) }),
            "certificates": certificates.isEmpty ? nil : Self.object(certificates) { $0.json },
            "removed_certificates": removedCertificates.isEmpty ? nil : .array(removedCertificates.map { .string($0) }),
        ])
    }

    private static func object<Value>(_ values: [String: Value], _ json: (Value) -> JSON) -> JSON {
        .object(values.sorted { $0.key < $1.key }.map { JSON.Member($0.key, json($0.value)) })
    }

    init(json: JSON) throws(Problem) {
        self.init()
        let fields = try JournalFields(
            json,
            known: ["upstreams", "patches", "splits", "removed_upstreams", "removed_splits", "certificates", "removed_certificates"])
        for member in try fields.members("upstreams") { upstreams[member.name] = try UpstreamState(decoding: member.value, .journal) }
        for member in try fields.members("patches") { patches[member.name] = try UpstreamPatch(json: member.value) }
        for member in try fields.members("splits") { splits[member.name] = try SplitState(decoding: member.value, .journal) }
        removedUpstreams = try fields.texts("removed_upstreams")
        removedSplits = try fields.texts("removed_splits")
        for member in try fields.members("certificates") { certificates[member.name] = try CertificateState(decoding: member.value) }
        removedCertificates = try fields.texts("removed_certificates")
    }
}

extension UpstreamPatch {
    var json: JSON {
        .members([
            "pool": pool?.json(as: .journal),
            "servers": servers.isEmpty ? nil : .array(servers.map { $0.json(as: .journal) }),
            "gone": gone.isEmpty ? nil : .array(gone.map { .integer(Int64($0)) }),
        ])
    }

    init(json: JSON) throws(Problem) {
        let fields = try JournalFields(json, known: ["pool", "servers", "gone"])
        var pool: UpstreamState?
        if let json = fields["pool"] { pool = try UpstreamState(decoding: json, .journal) }
        var servers: [ServerState] = []
        for server in try fields.elements("servers") { servers.append(try ServerState(decoding: server, .journal)) }
        var gone: [Int] = []
        for id in try fields.elements("gone") {
            guard let id = id.integer.flatMap({ Int(exactly: $0) }) else { throw Problem(.wrongType, "found an id that is no number") }
            gone.append(id)
        }
        self.init(pool: pool, servers: servers, gone: gone)
    }
}

/// The members of an object of the journal. A member nobody knows is damage, or the work of a later version.
private struct JournalFields {
    private let json: JSON

    init(_ json: JSON, known: Set<String>) throws(Problem) {
        guard let members = json.object else { throw Problem(.wrongType, "found no object") }
        for member in members where !known.contains(member.name) { throw Problem(.unknownField, "found \"\(member.name)\"") }
        self.json = json
    }

    subscript(_ name: String) -> JSON? { json[name] }

    func count(_ name: String) throws(Problem) -> Int {
        guard let value = json[name]?.integer, value >= 0 else { throw Problem(.wrongType, "found no number \"\(name)\"") }
        return Int(value)
    }

    func members(_ name: String) throws(Problem) -> [JSON.Member] {
        guard let value = json[name] else { return [] }
        guard let members = value.object else { throw Problem(.wrongType, "found no object \"\(name)\"") }
        return members
    }

    func elements(_ name: String) throws(Problem) -> [JSON] {
        guard let value = json[name] else { return [] }
        guard let elements = value.array else { throw Problem(.wrongType, "found no list \"\(name)\"") }
        return elements
    }

    func texts(_ name: String) throws(Problem) -> [String] {
        var texts: [String] = []
        for element in try elements(name) {
            guard let text = element.string else { throw Problem(.wrongType, "found no list of names \"\(name)\"") }
            texts.append(text)
        }
        return texts
    }
}
