// Request methods as nginx knows them.
// Made by the request parser, read by routing, framing and the rules for retries. It must not know configuration.

public enum Method: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    case other, get, head, post, put, delete, options, patch, connect, trace
    case propfind, mkcol, copy, move, lock, unlock, proppatch

    /// RFC 9110 section 9.2.1, and PROPFIND (RFC 4918 section 9.1).
    @inlinable
    public var isSafe: Bool {
        switch self {
        case .get, .head, .options, .trace, .propfind: true
        default: false
        }
    }

    /// Whether doing it twice is as good as once (RFC 9110 section 9.2.2, RFC 4918 section 9). A method we do not know is not.
    @inlinable
    public var isIdempotent: Bool {
        switch self {
        case .other, .post, .patch, .connect, .lock: false
        default: true
        }
    }

    /// The name on the wire; empty for `.other`.
    public var word: StaticString {
        switch self {
        case .other: ""
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .delete: "DELETE"
        case .options: "OPTIONS"
        case .patch: "PATCH"
        case .connect: "CONNECT"
        case .trace: "TRACE"
        case .propfind: "PROPFIND"
        case .mkcol: "MKCOL"
        case .copy: "COPY"
        case .move: "MOVE"
        case .lock: "LOCK"
        case .unlock: "UNLOCK"
        case .proppatch: "PROPPATCH"
        }
    }

    /// The method whose name is `count` bytes long and begins with the eight bytes `w` (only `count` of them count).
    @inline(__always)
    init(_ w: UInt64, count: Int, last: UInt8) {
        let name = count < 8 ? w & ((1 &<< UInt64(8 &* count)) &- 1) : w
        if count > 8 {
            self = count == 9 && name == packed("PROPPATC") && last == 0x48 ? .proppatch : .other
            return
        }
        self =
            switch name {
            case packed("GET"): .get
            case packed("HEAD"): .head
            case packed("POST"): .post
            case packed("PUT"): .put
            case packed("DELETE"): .delete
            case packed("OPTIONS"): .options
            case packed("PATCH"): .patch
            case packed("CONNECT"): .connect
            case packed("TRACE"): .trace
            case packed("PROPFIND"): .propfind
            case packed("MKCOL"): .mkcol
            case packed("COPY"): .copy
            case packed("MOVE"): .move
            case packed("LOCK"): .lock
            case packed("UNLOCK"): .unlock
            default: .other
            }
    }
}
