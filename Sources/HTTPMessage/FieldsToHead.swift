// The fields of an HTTP/2 request, one after the other, become the text of a head as HTTP/1 writes it (RFC 9113 section 8.3).
// Fed by the engine's HTTP/2 session; the text goes through the same parser as any head, so that what is judged is what is forwarded.
// It must not judge what that parser judges: hosts, lengths, repeated fields.

import Bytes

/// Collects one request's fields and writes the head. The three writers' memory belongs to the caller; one worker needs one of these.
public struct FieldsToHead: BitwiseCopyable {
    /// Lines of ordinary fields.
    private var lines: ByteWriter
    /// The pseudo-header fields, one behind the other.
    private var pseudo: ByteWriter
    /// Cookies: sent in crumbs, forwarded in one line (RFC 9113 section 8.2.3).
    private var cookies: ByteWriter

    private var method = ByteRange.none
    private var scheme = ByteRange.none
    private var path = ByteRange.none
    private var authority = ByteRange.none
    /// A bit for each pseudo-header field that has come.
    private var seen: UInt8 = 0
    private var hasHost = false
    private var hasRegular = false
    private var listBytes = 0
    private var listBytesMax = 0
    private var fieldBytesMax = 0

    /// The first thing that was wrong: the request is malformed (RFC 9113 section 8.1.1).
    public private(set) var fault: BadHead?
    /// The list, or one name or value, is longer than allowed: what comes is not kept any more.
    public private(set) var isTooLarge = false
    /// Ordinary fields that came; the host that stands for an authority is none of them.
    public private(set) var fieldCount = 0

    private enum Pseudo: UInt8 {
        case method = 1
        case scheme = 2
        case path = 4
        case authority = 8
    }

    /// Each writer has room for a list of the greatest size that `begin` is told, and for what separates its fields.
    public init(lines: ByteWriter, pseudo: ByteWriter, cookies: ByteWriter) {
        self.lines = lines
        self.pseudo = pseudo
        self.cookies = cookies
    }

    /// Forgets the request before. `listBytesMax`: all names and values together; `fieldBytesMax`: one name, one value.
    public mutating func begin(listBytesMax: Int, fieldBytesMax: Int) {
        lines.reset()
        pseudo.reset()
        cookies.reset()
        method = .none
        scheme = .none
        path = .none
        authority = .none
        seen = 0
        hasHost = false
        hasRegular = false
        listBytes = 0
        fault = nil
        isTooLarge = false
        fieldCount = 0
        self.listBytesMax = listBytesMax
        self.fieldBytesMax = fieldBytesMax
    }

    /// The next field, as it was decoded.
    @inline(__always)
    public mutating func add(_ name: ByteView, _ value: ByteView) {
        listBytes &+= name.count &+ value.count
        if listBytes > listBytesMax || name.count > fieldBytesMax || value.count > fieldBytesMax { isTooLarge = true }
        if isTooLarge || fault != nil { return }
        if name.count > 0, name[0] == 0x3A { return addPseudo(name, value) }
        hasRegular = true
        fieldCount &+= 1
        if !isLowerToken(name) { return fail(.badFieldName) }
        if let wrong = fieldFault(value) { return fail(wrong) }
        switch name.count {
        case 2: if name == ByteView("te"), !value.trimmed.equalsIgnoringCase(ByteView("trailers")) { return fail(.connectionField) }
        case 4:
            if name == ByteView("host") {
                if seen & Pseudo.authority.rawValue != 0 {
                    // One of the two says all there is to say, if they agree (RFC 9113 section 8.3.1).
                    if hasHost || !(value == text(authority)) { fail(.hostNotAuthority) }
                    hasHost = true
                    return
                }
                hasHost = true
            }
        case 6:
            if name == ByteView("cookie") {
                if cookies.count > 0 { cookies.append("; ") }
                return cookies.append(value)
            }
        case 7: if name == ByteView("upgrade") { return fail(.connectionField) }
        case 10: if name == ByteView("connection") || name == ByteView("keep-alive") { return fail(.connectionField) }
        case 16: if name == ByteView("proxy-connection") { return fail(.connectionField) }
        case 17: if name == ByteView("transfer-encoding") { return fail(.connectionField) }
        default: break
        }
        lines.append(name)
        lines.append(": ")
        lines.append(value)
        lines.append("\r\n")
    }

    @inline(never)
    private mutating func fail(_ reason: BadHead) { if fault == nil { fault = reason } }

    private func text(_ range: ByteRange) -> ByteView { pseudo.view.slice(range.first, range.length) }

    @inline(__always)
    private mutating func addPseudo(_ name: ByteView, _ value: ByteView) {
        if hasRegular { return fail(.misplacedPseudoField) }
        let range = ByteRange(pseudo.count, pseudo.count &+ value.count)
        let kind: Pseudo
        switch name.count {
        case 5 where name == ByteView(":path"):
            kind = .path
            path = range
        case 7 where name == ByteView(":method"):
            kind = .method
            method = range
        case 7 where name == ByteView(":scheme"):
            kind = .scheme
            scheme = range
        case 10 where name == ByteView(":authority"):
            kind = .authority
            authority = range
        default: return fail(.unknownPseudoField)
        }
        if seen & kind.rawValue != 0 { return fail(.misplacedPseudoField) }
        seen |= kind.rawValue
        if !isVisible(value) { return fail(kind == .method ? .badMethod : kind == .authority ? .badHost : .badTarget) }
        pseudo.append(value)
    }

    /// All the fields have come. Says what is wrong with them together, if nothing was wrong with one.
    public mutating func end() {
        // Many short fields need more room than their bytes.
        if lines.overflowed || pseudo.overflowed || cookies.overflowed { isTooLarge = true }
        if fault != nil || isTooLarge { return }
        let isConnect = text(method) == ByteView("CONNECT")
        let needed = Pseudo.method.rawValue | (isConnect ? Pseudo.authority.rawValue : Pseudo.scheme.rawValue | Pseudo.path.rawValue)
        if seen & needed != needed { return fail(.missingPseudoField) }
        if method.isEmpty { return fail(.badMethod) }
        if isConnect { return }
        if scheme.isEmpty { return fail(.badTarget) }
        let target = text(path)
        if target.isEmpty || target[0] != 0x2F && !(target.count == 1 && target[0] == 0x2A) { fail(.badTarget) }
    }

    /// The bytes `write` needs at most: the authority of CONNECT comes twice.
    public var headBytesMax: Int { 2 * pseudo.count + lines.count + cookies.count + 64 }

    /// The text of the head. Of a malformed request: as much of its first line as there is, for the log.
    public func write(to w: inout ByteWriter) {
        let target = text(method) == ByteView("CONNECT") ? text(authority) : text(path)
        w.append(text(method))
        w.append(" ")
        w.append(target)
        // The authority of CONNECT has a port, which some leave out where it is the usual one; the parser does not.
        if target.lastIndex(of: 0x3A) == nil, text(method) == ByteView("CONNECT") { w.append(":443") }
        w.append(" HTTP/2.0\r\n")
        if fault != nil { return }
        if seen & Pseudo.authority.rawValue != 0 {
            w.append("host: ")
            w.append(text(authority))
            w.append("\r\n")
        }
        w.append(lines.view)
        if cookies.count > 0 {
            w.append("cookie: ")
            w.append(cookies.view)
            w.append("\r\n")
        }
        w.append("\r\n")
    }
}

/// A token without capitals (RFC 9113 section 8.2.1).
@inline(__always)
private func isLowerToken(_ name: ByteView) -> Bool {
    if name.isEmpty { return false }
    var i = 0
    while i &+ 8 <= name.count, notLetters(name.word(i), name.word(i)) == 0 { i &+= 8 }
    while i < name.count {
        let c = name[i]
        i &+= 1
        if c &- 0x61 < 26 || c == 0x2D { continue }
        if !isToken(c) || c &- 0x41 < 26 { return false }
    }
    return true
}

/// What of a value would end its line. Other controls are the parser's to judge.
@inline(__always)
private func fieldFault(_ value: ByteView) -> BadHead? {
    var i = 0
    while i &+ 8 <= value.count {
        let w = value.word(i)
        if firstEqual(w, 0x0D) | firstEqual(w, 0x0A) | firstEqual(w, 0) != 0 { return lineFault(value) }
        i &+= 8
    }
    while i < value.count {
        let c = value[i]
        if c == 0x0D || c == 0x0A || c == 0 { return lineFault(value) }
        i &+= 1
    }
    return nil
}

@inline(never)
private func lineFault(_ value: ByteView) -> BadHead? {
    for i in 0..<value.count where value[i] == 0x0D || value[i] == 0x0A || value[i] == 0 { return BadHead(control: value[i]) }
    return nil
}

/// Zero when there is neither blank nor control among the eight bytes.
@inline(__always)
private func notVisible(_ w: UInt64) -> UInt64 { ((w &- everyByte &* 0x21) | (w &+ everyByte)) & ~w & everyHighBit }

/// Neither blank nor control in it.
@inline(__always)
private func isVisible(_ value: ByteView) -> Bool {
    var i = 0
    while i &+ 8 <= value.count, notVisible(value.word(i)) == 0 { i &+= 8 }
    while i < value.count {
        if value[i] <= 0x20 || value[i] == 0x7F { return false }
        i &+= 1
    }
    return true
}
