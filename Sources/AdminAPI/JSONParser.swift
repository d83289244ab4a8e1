// Parses JSON strictly as RFC 8259 has it: nothing beyond the grammar is taken, so that no two readers of a body differ.
// Called through JSON.parse with whatever a client sent; bounded in depth, bytes and values. JSONFault.swift words its refusals.

/// Bounds of a document. Reaching one is a problem, never a crash.
public struct JSONLimits: Sendable {
    /// Lists and objects within each other; at most 512, since the parser calls itself for each.
    public var depthMax: Int
    public var bytesMax: Int
    /// A value takes some 24 to 100 bytes, whatever it took to write: `[[],[],[]`.
    public var valuesMax: Int

    public init(depthMax: Int = 32, bytesMax: Int = 8 << 20, valuesMax: Int = 2_000_000) {
        self.depthMax = depthMax
        self.bytesMax = bytesMax
        self.valuesMax = valuesMax
    }
}

extension JSON {
    /// One document in UTF-8, whole.
    /// - Throws: `not-json` with line, column, what was found and what was expected; `too-deep`; `too-large`;
    ///   `duplicate-field` and `out-of-range` (a number beyond a double) with the pointer of the field.
    public static func parse(_ bytes: [UInt8], limits: JSONLimits = JSONLimits()) throws(Problem) -> JSON {
        if bytes.count > limits.bytesMax {
            throw Problem(.tooLarge, "found \(bytes.count) bytes, expected at most \(limits.bytesMax)")
        }
        var parser = JSONParser(depthMax: min(limits.depthMax, 512), valuesLeft: limits.valuesMax)
        do { return try parser.document(bytes.span) } catch { throw error.problem(in: bytes, limits) }
    }

    public static func parse(_ text: String, limits: JSONLimits = JSONLimits()) throws(Problem) -> JSON {
        try parse(Array(text.utf8), limits: limits)
    }
}

private struct JSONParser {
    let depthMax: Int
    var valuesLeft: Int
    /// The next byte.
    var at = 0
    /// Members of the object that ended last: the next one is probably like it.
    var membersExpected = 0
    /// Names of the last one in a list, while there are few.
    var namesExpected = NamesExpected()

    init(depthMax: Int, valuesLeft: Int) {
        self.depthMax = depthMax
        self.valuesLeft = valuesLeft
    }

    mutating func document(_ s: Span<UInt8>) throws(JSONFault) -> JSON {
        if s.count >= 3, s[0] == 0xEF, s[1] == 0xBB, s[2] == 0xBF { throw JSONFault(.byteOrderMark, at: 0) }
        skipSpace(s)
        let value = try value(s, depth: 0)
        skipSpace(s)
        if at < s.count { throw JSONFault(.expected("the end of the body"), at: at) }
        return value
    }

    private mutating func skipSpace(_ s: Span<UInt8>) {
        while at < s.count {
            switch s[at] {
            case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"): at += 1
            default: return
            }
        }
    }

    /// Behind the space after a value or a mark: the byte there, 0 at the end.
    @inline(__always)
    private mutating func peek(_ s: Span<UInt8>) -> UInt8 {
        if at < s.count, s[at] > UInt8(ascii: " ") { return s[at] }
        skipSpace(s)
        return at < s.count ? s[at] : 0
    }

    /// - Parameter isElement: of a list, where the next one is probably like this one.
    private mutating func value(_ s: Span<UInt8>, depth: Int, isElement: Bool = false) throws(JSONFault) -> JSON {
        valuesLeft -= 1
        if valuesLeft < 0 { throw JSONFault(.tooMany, at: at) }
        guard at < s.count else { throw JSONFault(.expected("a value"), at: at) }
        switch s[at] {
        case UInt8(ascii: "\""): return .string(try string(s))
        case UInt8(ascii: "{"): return try object(s, depth: depth + 1, isElement: isElement)
        case UInt8(ascii: "["): return try array(s, depth: depth + 1)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number(s)
        case UInt8(ascii: "t"): return try word([0x74, 0x72, 0x75, 0x65], .bool(true), s)
        case UInt8(ascii: "f"): return try word([0x66, 0x61, 0x6C, 0x73, 0x65], .bool(false), s)
        case UInt8(ascii: "n"): return try word([0x6E, 0x75, 0x6C, 0x6C], .null, s)
        default: throw JSONFault(.expected("a value"), at: at)
        }
    }

    private mutating func word<let count: Int>(_ word: InlineArray<count, UInt8>, _ value: JSON, _ s: Span<UInt8>) throws(JSONFault) -> JSON {
        let first = at
        for i in word.indices {
            guard at < s.count, s[at] == word[i] else { throw JSONFault(.expected("a value"), at: first) }
            at += 1
        }
        // `truely` is one word, not `true` and something behind it.
        if at < s.count, s[at] | 0x20 >= UInt8(ascii: "a"), s[at] | 0x20 <= UInt8(ascii: "z") {
            throw JSONFault(.expected("a value"), at: first)
        }
        return value
    }

    // MARK: Lists and objects

    private mutating func array(_ s: Span<UInt8>, depth: Int) throws(JSONFault) -> JSON {
        if depth > depthMax { throw JSONFault(.tooDeep, at: at) }
        at += 1
        if peek(s) == UInt8(ascii: "]") {
            at += 1
            return .array([])
        }
        var elements: [JSON] = []
        while true {
            do { elements.append(try value(s, depth: depth, isElement: true)) } catch { throw error.below(String(elements.count)) }
            switch peek(s) {
            case UInt8(ascii: ","):
                at += 1
                if peek(s) == UInt8(ascii: "]") { throw JSONFault(.trailingComma, at: at) }
            case UInt8(ascii: "]"):
                at += 1
                return .array(elements)
            default: throw JSONFault(.expected("\",\" or \"]\""), at: at)
            }
        }
    }

    private mutating func object(_ s: Span<UInt8>, depth: Int, isElement: Bool) throws(JSONFault) -> JSON {
        if depth > depthMax { throw JSONFault(.tooDeep, at: at) }
        at += 1
        if peek(s) == UInt8(ascii: "}") {
            at += 1
            return .object([])
        }
        var members: [JSON.Member] = []
        members.reserveCapacity(membersExpected)
        var names = MemberNames()
        let expected = namesExpected
        var isAsExpected = true
        while true {
            let first = at
            guard peek(s) == UInt8(ascii: "\"") else { throw JSONFault(.expected("a field's name in double quotes"), at: at) }
            isAsExpected = isAsExpected && passes(expected, members.count, s)
            let name = isAsExpected ? expected.names[members.count] : try string(s)
            if !isAsExpected, names.contains(name, members) { throw JSONFault(.duplicate, at: first).below(name) }
            guard peek(s) == UInt8(ascii: ":") else { throw JSONFault(.expected("\":\" behind the field's name"), at: at) }
            at += 1
            skipSpace(s)
            do { members.append(JSON.Member(name, try value(s, depth: depth))) } catch { throw error.below(name) }
            switch peek(s) {
            case UInt8(ascii: ","):
                at += 1
                if peek(s) == UInt8(ascii: "}") { throw JSONFault(.trailingComma, at: at) }
            case UInt8(ascii: "}"):
                at += 1
                membersExpected = min(members.count, 32)
                if isElement, !isAsExpected || members.count < expected.names.count { namesExpected = NamesExpected(members) }
                return .object(members)
            default: throw JSONFault(.expected("\",\" or \"}\""), at: at)
            }
        }
    }

    /// What the members of an object are called, in their order; none when they are many or are not written as they are.
    struct NamesExpected {
        private(set) var names: [String] = []
        /// In their quotes, one behind the other; where each ends.
        private(set) var quoted: [UInt8] = []
        private(set) var ends: [Int] = []

        init() {}

        init(_ members: [JSON.Member]) {
            if members.count >= 16 { return }
            for member in members {
                let quote = UInt8(ascii: "\"")
                if member.name.utf8.contains(where: { $0 < 0x20 || $0 == quote || $0 == UInt8(ascii: "\\") }) {
                    self = NamesExpected()
                    return
                }
                names.append(member.name)
                quoted.append(quote)
                quoted.append(contentsOf: member.name.utf8)
                quoted.append(quote)
                ends.append(quoted.count)
            }
        }
    }

    /// Whether the expected name at this place stands here, in quotes and without escapes: then it is passed.
    @inline(__always)
    private mutating func passes(_ expected: NamesExpected, _ place: Int, _ s: Span<UInt8>) -> Bool {
        if place >= expected.ends.count { return false }
        let first = place == 0 ? 0 : expected.ends[place - 1]
        let count = expected.ends[place] - first
        if at + count > s.count { return false }
        let (wanted, found) = (expected.quoted.span.extracting(first..<(first + count)), s.extracting(at..<(at + count)))
        for i in wanted.indices where wanted[i] != found[i] { return false }
        at += count
        return true
    }

    /// Which names an object has already: looked through while they are few, hashed when they are many.
    private struct MemberNames {
        var many: Set<String>?

        mutating func contains(_ name: String, _ members: [JSON.Member]) -> Bool {
            if many != nil { return many?.insert(name).inserted == false }
            if members.count < 16 {
                for i in members.indices where members[i].name == name { return true }
                return false
            }
            many = Set(members.map(\.name))
            return many?.insert(name).inserted == false
        }
    }

    // MARK: Numbers

    private mutating func number(_ s: Span<UInt8>) throws(JSONFault) -> JSON {
        let first = at
        let isNegative = s[at] == UInt8(ascii: "-")
        if isNegative { at += 1 }
        let firstDigit = at
        var magnitude: Int64 = 0
        var isInteger = true
        while at < s.count, s[at] >= UInt8(ascii: "0"), s[at] <= UInt8(ascii: "9") {
            // Downwards, since there is one negative number more.
            let (product, isOver) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, isUnder) = product.subtractingReportingOverflow(Int64(s[at] - UInt8(ascii: "0")))
            if isOver || isUnder { isInteger = false }
            magnitude = sum
            at += 1
        }
        if at == firstDigit { throw JSONFault(.expected("a digit"), at: at) }
        if s[firstDigit] == UInt8(ascii: "0"), at > firstDigit + 1 { throw JSONFault(.leadingZero, at: firstDigit) }
        if !isNegative, magnitude == .min { isInteger = false }
        if at < s.count, s[at] == UInt8(ascii: ".") {
            isInteger = false
            at += 1
            try digits(s)
        }
        if at < s.count, s[at] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            at += 1
            if at < s.count, s[at] == UInt8(ascii: "+") || s[at] == UInt8(ascii: "-") { at += 1 }
            try digits(s)
        }
        if isInteger { return .integer(isNegative ? magnitude : -magnitude) }
        if at - first > 400 { throw JSONFault(.numberTooLarge, at: first) }
        var text = ""
        for i in first..<at { text.unicodeScalars.append(Unicode.Scalar(s[i])) }
        guard let value = Double(text), value.isFinite else { throw JSONFault(.numberTooLarge, at: first) }
        return .number(value)
    }

    private mutating func digits(_ s: Span<UInt8>) throws(JSONFault) {
        let first = at
        while at < s.count, s[at] >= UInt8(ascii: "0"), s[at] <= UInt8(ascii: "9") { at += 1 }
        if at == first { throw JSONFault(.expected("a digit"), at: at) }
    }

    // MARK: Strings

    private mutating func string(_ s: Span<UInt8>) throws(JSONFault) -> String {
        let first = at + 1
        var i = first
        while i < s.count {
            let byte = s[i]
            if byte == UInt8(ascii: "\"") {
                at = i + 1
                return try Self.text(s.extracting(first..<i), at: first)
            }
            if byte == UInt8(ascii: "\\") { return try escapedString(s, from: first, to: i) }
            if byte < 0x20 { throw JSONFault(.controlCharacter, at: i) }
            i += 1
        }
        throw JSONFault(.expected("the closing double quote of a string"), at: s.count)
    }

    private static func text(_ s: Span<UInt8>, at offset: Int) throws(JSONFault) -> String {
        do { return String(copying: try UTF8Span(validating: s)) } catch {
            throw JSONFault(.badUTF8, at: offset + error.byteOffsets.lowerBound)
        }
    }

    /// A string with a backslash at `backslash`, the first; a string is built of the pieces between.
    private mutating func escapedString(_ s: Span<UInt8>, from first: Int, to backslash: Int) throws(JSONFault) -> String {
        var out: [UInt8] = []
        out.reserveCapacity(backslash - first + 32)
        for i in first..<backslash { out.append(s[i]) }
        // Escapes are valid by themselves; what stands between them is checked piece by piece, where its place is known.
        _ = try Self.text(s.extracting(first..<backslash), at: first)
        at = backslash
        while at < s.count {
            let byte = s[at]
            if byte == UInt8(ascii: "\"") {
                at += 1
                return String(decoding: out, as: UTF8.self)
            }
            if byte == UInt8(ascii: "\\") {
                try escape(s, &out)
                continue
            }
            let piece = at
            while at < s.count, s[at] != UInt8(ascii: "\""), s[at] != UInt8(ascii: "\\") {
                if s[at] < 0x20 { throw JSONFault(.controlCharacter, at: at) }
                out.append(s[at])
                at += 1
            }
            _ = try Self.text(s.extracting(piece..<at), at: piece)
        }
        throw JSONFault(.expected("the closing double quote of a string"), at: s.count)
    }

    private mutating func escape(_ s: Span<UInt8>, _ out: inout [UInt8]) throws(JSONFault) {
        let backslash = at
        guard at + 1 < s.count else { throw JSONFault(.expected("an escape"), at: s.count) }
        at += 2
        switch s[backslash + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(s[backslash + 1])
        case UInt8(ascii: "b"): out.append(0x08)
        case UInt8(ascii: "t"): out.append(0x09)
        case UInt8(ascii: "n"): out.append(0x0A)
        case UInt8(ascii: "f"): out.append(0x0C)
        case UInt8(ascii: "r"): out.append(0x0D)
        case UInt8(ascii: "u"):
            out.append(contentsOf: UTF8.encode(try codePoint(s, backslash)) ?? UTF8.encodedReplacementCharacter)
        default: throw JSONFault(.badEscape, at: backslash)
        }
    }

    /// Behind `\u`. A pair of surrogates is one code point; one alone stands for nothing and is refused.
    private mutating func codePoint(_ s: Span<UInt8>, _ backslash: Int) throws(JSONFault) -> Unicode.Scalar {
        let unit = try hex(s)
        if let scalar = Unicode.Scalar(unit) { return scalar }
        guard unit < 0xDC00, at + 1 < s.count, s[at] == UInt8(ascii: "\\"), s[at + 1] == UInt8(ascii: "u")
        else { throw JSONFault(.loneSurrogate, at: backslash) }
        at += 2
        let low = try hex(s)
        guard (0xDC00...0xDFFF).contains(low), let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
        else { throw JSONFault(.loneSurrogate, at: backslash) }
        return scalar
    }

    private mutating func hex(_ s: Span<UInt8>) throws(JSONFault) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard at < s.count, let digit = Character(Unicode.Scalar(s[at])).hexDigitValue
            else { throw JSONFault(.expected("four hexadecimal digits behind \\u"), at: at) }
            value = value << 4 | UInt32(digit)
            at += 1
        }
        return value
    }
}
