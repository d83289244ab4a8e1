// Why a request of the admin API is refused, in the words of RFC 9457. Nothing has changed when one is answered.
// Made by decoders, by the rules of `StateRules` and by the server; read by proxyctl.

/// `application/problem+json`.
public struct Problem: Error, Sendable, Equatable {
    /// What is wrong, one for each thing a program may want to tell apart. The `type` member is `/problems/` and this word.
    public enum Kind: String, Sendable, CaseIterable {
        case notJSON = "not-json", tooDeep = "too-deep", tooLarge = "too-large"
        case unknownField = "unknown-field", missingField = "missing-field", duplicateField = "duplicate-field"
        case wrongType = "wrong-type", outOfRange = "out-of-range"
        case badName = "bad-name", badAddress = "bad-address", badTemplate = "bad-template", badTime = "bad-time", badBalance = "bad-balance"
        case badCheck = "bad-check"
        case duplicateServer = "duplicate-server", noServers = "no-servers"
        case unknownVariant = "unknown-variant", allWeightsZero = "all-weights-zero"
        case nameInUse = "name-in-use"
        case notFound = "not-found", methodNotAllowed = "method-not-allowed", badQuery = "bad-query", badHeader = "bad-header"
        case conflict = "conflict", lostRace = "lost-race", rolloutLive = "rollout-live"
        case unauthorized, forbidden, readOnly = "read-only"
        case nothingToUndo = "nothing-to-undo", goneRevision = "gone-revision"
        case badConfiguration = "bad-configuration", badCertificate = "bad-certificate"
        case busy, journalFailed = "journal-failed", stopping
    }
    public var kind: Kind
    public var status: Int
    /// One sentence: what was found, what was expected.
    public var detail: String
    /// What to do about it; empty: nothing to add.
    public var hint: String
    /// RFC 6901, of the offending field in the body that was sent; nil: the problem is not in the body.
    public var pointer: String?
    /// The revision that is current, where the problem is about revisions.
    public var revision: UInt64?

    public init(
        _ kind: Kind, status: Int? = nil, _ detail: String, hint: String = "", pointer: String? = nil, revision: UInt64? = nil
    ) {
        self.kind = kind
        self.status = status ?? kind.status
        self.detail = detail
        self.hint = hint
        self.pointer = pointer
        self.revision = revision
    }
}

extension Problem.Kind {
    /// The status of the answer.
    public var status: Int {
        switch self {
        case .notJSON, .tooDeep, .badQuery, .badHeader: 400
        case .unauthorized: 401
        case .forbidden, .readOnly: 403
        case .notFound, .goneRevision: 404
        case .methodNotAllowed: 405
        case .nameInUse, .conflict, .nothingToUndo, .rolloutLive: 409
        case .lostRace: 412
        case .tooLarge: 413
        case .busy, .stopping: 503
        case .journalFailed: 507
        default: 422
        }
    }

    /// The `title` member: the same for every problem of this kind.
    public var title: String {
        switch self {
        case .notJSON: "The body is not JSON"
        case .tooDeep: "The body is nested too deeply"
        case .tooLarge: "The body is too large"
        case .unknownField: "Unknown field"
        case .missingField: "Missing field"
        case .duplicateField: "Field given twice"
        case .wrongType: "Wrong type"
        case .outOfRange: "Value out of range"
        case .badName: "Bad name"
        case .badAddress: "Bad address"
        case .badTemplate: "Bad template"
        case .badTime: "Bad time"
        case .badBalance: "Unknown way of balancing"
        case .badCheck: "Bad health check"
        case .duplicateServer: "Duplicate server"
        case .noServers: "No servers"
        case .unknownVariant: "Unknown variant"
        case .allWeightsZero: "All weights are zero"
        case .nameInUse: "Name in use"
        case .notFound: "Not found"
        case .methodNotAllowed: "Method not allowed"
        case .badQuery: "Bad query parameter"
        case .badHeader: "Bad header field"
        case .conflict: "Conflict"
        case .lostRace: "The revision has changed"
        case .rolloutLive: "A rollout moves this split"
        case .unauthorized: "Not authorized"
        case .forbidden: "Forbidden"
        case .readOnly: "Read-only"
        case .nothingToUndo: "Nothing to undo"
        case .goneRevision: "Revision not kept"
        case .badConfiguration: "The configuration is refused"
        case .badCertificate: "The certificate is refused"
        case .busy: "Busy"
        case .journalFailed: "The journal cannot be written"
        case .stopping: "Stopping"
        }
    }
}
