// What the parsers find in a head: where its parts lie and what framing, routing and connection reuse need to know.
// Filled by the parsers of this module, read by the engine. It owns no bytes and must not outlive the bytes it points into.

import Bytes

/// A piece of the bytes given to a parser: an offset from their start and a count of bytes.
public struct ByteRange: Equatable, Sendable, BitwiseCopyable {
    public var start: UInt32
    public var count: UInt32

    @inlinable @inline(__always)
    public init(start: UInt32, count: UInt32) {
        self.start = start
        self.count = count
    }

    /// The bytes from `first` up to `end`, not included.
    @inlinable @inline(__always)
    public init(_ first: Int, _ end: Int) {
        start = UInt32(truncatingIfNeeded: first)
        count = UInt32(truncatingIfNeeded: end &- first)
    }

    @inlinable public static var none: ByteRange { ByteRange(start: 0, count: 0) }
    @inlinable public var isEmpty: Bool { count == 0 }
    @inlinable @inline(__always) public var first: Int { Int(start) }
    @inlinable @inline(__always) public var length: Int { Int(count) }
    @inlinable @inline(__always) public var end: Int { Int(start) &+ Int(count) }
}

extension ByteView {
    /// A piece of the bytes that were parsed.
    @inlinable @inline(__always)
    public func slice(_ range: ByteRange) -> ByteView {
        if range.end <= count { return unsafe ByteView(start + range.first, range.length) }
        return slice(range.first, range.length)
    }
}

/// What is odd about a field's name though it is a token (RFC 9110 section 5.6.2).
public struct FieldFlags: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt8
    @inlinable @inline(__always) public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// The same as `[]`, which would cost a call to release an empty array.
    @inlinable @inline(__always) public static var none: FieldFlags { FieldFlags(rawValue: 0) }
    /// The name holds "_": nginx drops such a field of a request unless `underscores_in_headers on`.
    @inlinable public static var underscore: FieldFlags { FieldFlags(rawValue: 1) }
    /// The name holds a character other than letters, digits, "-" and "_": nginx drops it when `ignore_invalid_headers on`.
    @inlinable public static var unusual: FieldFlags { FieldFlags(rawValue: 2) }
}

/// One field line. `value` is without the blanks around it and may be empty.
public struct HeaderField: Sendable, BitwiseCopyable {
    public var name: ByteRange
    public var value: ByteRange
    public var known: HeaderName
    public var flags: FieldFlags

    @inlinable @inline(__always)
    public init(
        name: ByteRange = .none, value: ByteRange = .none, known: HeaderName = .other, flags: FieldFlags = .none
    ) {
        self.name = name
        self.value = value
        self.known = known
        self.flags = flags
    }
}

/// What the fields of a head say about the connection and the body. Indices count fields from 0; -1 means absent, and of
/// several the first is named. The framing itself is judged by `requestFraming` and `responseFraming` alone.
public struct FieldSummary: Sendable, BitwiseCopyable {
    public var fieldCount = 0
    public var hostIndex = -1
    public var contentLengthIndex = -1
    public var transferEncodingIndex = -1
    public var connectionIndex = -1
    public var expectIndex = -1
    public var upgradeIndex = -1
    /// A bit for each known name that some field has, and for each that several have (`HeaderName.bit`).
    public var presentNames: UInt64 = 0
    public var repeatedNames: UInt64 = 0
    @inlinable public var isHostRepeated: Bool { repeatedNames & HeaderName.host.bit != 0 }
    @inlinable public var isContentLengthRepeated: Bool { repeatedNames & HeaderName.contentLength.bit != 0 }
    @inlinable public var isTransferEncodingRepeated: Bool { repeatedNames & HeaderName.transferEncoding.bit != 0 }
    /// One of the other fields that a request must not repeat is repeated: Expect, Authorization, Content-Range, If-Match and
    /// the other conditions. Their values are no lists (RFC 9110 section 5.3); nginx refuses such requests too.
    @inlinable public var isSingleFieldRepeated: Bool { repeatedNames & HeaderName.singleBits != 0 }
    /// `Connection` lists `close`, in any of its lines.
    public var wantsClose = false
    /// `Connection` lists `keep-alive`.
    public var wantsKeepAlive = false
    /// `Connection` lists `upgrade`.
    public var hasUpgradeToken = false
    /// `Connection` lists something else: the names of fields that are about the connection too.
    public var listsNames = false
    /// `Expect: 100-continue`.
    public var expectsContinue = false
    /// Some field has flags: the engine may have to drop fields.
    public var hasFlaggedFields = false

    @inlinable @inline(__always) public init() {}
}

/// The head of a request (RFC 9112 section 3). The members of `FieldSummary` are its own: `head.hostIndex`.
@dynamicMemberLookup
public struct RequestHead: Sendable, BitwiseCopyable {
    public var fields = FieldSummary()
    public var method = Method.other
    public var methodRange = ByteRange.none
    /// The request-target as received.
    public var target = ByteRange.none
    /// `http` or `https` of an absolute-form target, as received; count 0 in the other forms.
    public var scheme = ByteRange.none
    /// The authority of an absolute-form target or of CONNECT, with its port; `validateHost` has not seen it yet.
    public var authority = ByteRange.none
    /// The path as received, without query and fragment. Empty when an absolute-form target has none (it means "/"), for "*"
    /// and for CONNECT.
    public var path = ByteRange.none
    /// What follows "?", without the fragment; nil without a "?".
    public var query: ByteRange?
    /// The path holds "%", "//" or "/.", is empty or is followed by a fragment: `normalizePath` must see it.
    public var isComplexPath = false
    /// The target is "*".
    public var isAsteriskForm = false
    /// 0 or 1: higher minor versions count as 1.
    public var versionMinor: UInt8 = 0
    /// The whole request line without its line end.
    public var lineRange = ByteRange.none
    /// Bytes of the whole head: empty lines before it, the request line, the fields and the empty line that ends them.
    public var headBytes = 0

    @inlinable public init() {}

    @inlinable @inline(__always)
    public subscript<V>(dynamicMember path: WritableKeyPath<FieldSummary, V>) -> V {
        @inline(__always) get { fields[keyPath: path] }
        @inline(__always) set { fields[keyPath: path] = newValue }
    }

    @inlinable @inline(__always)
    public subscript<V>(dynamicMember path: KeyPath<FieldSummary, V>) -> V {
        @inline(__always) get { fields[keyPath: path] }
    }
}

/// The head of a response (RFC 9112 section 4). The members of `FieldSummary` are its own: `head.contentLengthIndex`.
@dynamicMemberLookup
public struct ResponseHead: Sendable, BitwiseCopyable {
    public var fields = FieldSummary()
    /// 100 to 999.
    public var status: UInt16 = 0
    /// 0 or 1: higher minor versions count as 1.
    public var versionMinor: UInt8 = 0
    /// The reason phrase, possibly empty.
    public var reason = ByteRange.none
    /// Bytes of the whole head, with the empty line that ends it.
    public var headBytes = 0

    @inlinable public init() {}

    @inlinable @inline(__always)
    public subscript<V>(dynamicMember path: WritableKeyPath<FieldSummary, V>) -> V {
        @inline(__always) get { fields[keyPath: path] }
        @inline(__always) set { fields[keyPath: path] = newValue }
    }

    @inlinable @inline(__always)
    public subscript<V>(dynamicMember path: KeyPath<FieldSummary, V>) -> V {
        @inline(__always) get { fields[keyPath: path] }
    }
}

/// The answer of `parseRequestHead`.
public enum RequestHeadResult: Equatable, Sendable, BitwiseCopyable {
    /// The bytes are the beginning of a head. When no more can be held: 414 without, 431 with a complete request line.
    case needMore(requestLineComplete: Bool)
    case bad(BadHead)
    case head
}

/// The answer of `parseResponseHead`.
public enum ResponseHeadResult: Equatable, Sendable, BitwiseCopyable {
    case needMore
    case bad(BadHead)
    case head
}

/// The answer of `parseTrailerFields`.
public enum TrailerResult: Equatable, Sendable, BitwiseCopyable {
    case needMore
    case bad(BadHead)
    /// `consumed` bytes hold `count` fields and the empty line after them.
    case fields(count: Int, consumed: Int)
}
