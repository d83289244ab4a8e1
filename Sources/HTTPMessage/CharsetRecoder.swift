// Text from one character set into another by a table: `charset_map`.
// Used by Engine's charset filter, a piece at a time. Pure; the tables lie in an arena that its user keeps alive.

import Bytes

/// One direction of a `charset_map`.
public struct CharsetTable: BitwiseCopyable, Sendable {
    public enum Kind: UInt8, BitwiseCopyable, Sendable { case bytes, toUTF8, fromUTF8 }
    public let kind: Kind
    /// bytes: what stands for each of 256. toUTF8: four for each of 256, the first of them a count. fromUTF8: pages of 256, 0 for
    /// what has no place in the other set.
    private let cells: Frozen<UInt8>
    /// fromUTF8: which page the code points of each 256 have; -1: none.
    private let pages: Frozen<Int32>

    /// Both sets have one byte for each character. `pairs`: what becomes what; below 128 all stays, else "?".
    public init(bytes pairs: [(from: UInt8, to: UInt8)], arena: Arena) {
        var cells = (0..<256).map { $0 < 128 ? UInt8($0) : 0x3F }
        for pair in pairs { cells[Int(pair.from)] = pair.to }
        kind = .bytes
        self.cells = arena.freeze(cells)
        pages = .empty
    }

    /// `pairs`: bytes and the UTF-8 (1 to 3 bytes) that stands for each.
    public init(toUTF8 pairs: [(byte: UInt8, text: [UInt8])], arena: Arena) {
        var cells = [UInt8](repeating: 0, count: 1024)
        for i in 0..<256 {
            cells[i * 4] = 1
            cells[i * 4 + 1] = i < 128 ? UInt8(i) : 0x3F
        }
        for pair in pairs {
            cells[Int(pair.byte) * 4] = UInt8(min(3, pair.text.count))
            for (i, byte) in pair.text.prefix(3).enumerated() { cells[Int(pair.byte) * 4 + 1 + i] = byte }
        }
        kind = .toUTF8
        self.cells = arena.freeze(cells)
        pages = .empty
    }

    /// `pairs`: code points below 65536 and the byte that stands for each; below 128 all stays unless it is named.
    public init(fromUTF8 pairs: [(point: UInt32, byte: UInt8)], arena: Arena) {
        var pages = [Int32](repeating: -1, count: 256)
        var cells = (0..<256).map { $0 < 128 ? UInt8($0) : 0 }
        pages[0] = 0
        for pair in pairs where pair.point < 0x10000 {
            let high = Int(pair.point >> 8)
            if pages[high] < 0 {
                pages[high] = Int32(cells.count / 256)
                cells += [UInt8](repeating: 0, count: 256)
            }
            cells[Int(pages[high]) * 256 + Int(pair.point & 255)] = pair.byte
        }
        kind = .fromUTF8
        self.cells = arena.freeze(cells)
        self.pages = arena.freeze(pages)
    }

    /// The length of a text stays as it is.
    public var keepsLength: Bool { kind == .bytes }

    @inline(__always)
    fileprivate func cell(_ i: Int) -> UInt8 { cells[i].value }

    /// The byte for a code point; nil: it has none.
    fileprivate func byte(for point: UInt32) -> UInt8? {
        if point >= 0x10000 { return nil }
        let page = pages[Int(point >> 8)].value
        if page < 0 { return nil }
        let byte = cells[Int(page) * 256 + Int(point & 255)].value
        return byte == 0 && point != 0 ? nil : byte
    }
}

/// A text on its way through a table. What a piece leaves unfinished at its end waits for the next.
public struct CharsetRecoder: BitwiseCopyable {
    private let table: CharsetTable
    /// A character of UTF-8 that has begun: its bits, the least it may come to, how many bytes are missing.
    private var bits: UInt32 = 0
    private var least: UInt32 = 0
    private var missing = 0

    /// What one byte of input may come to at most: "&#1114111;".
    public static var growthMax: Int { 12 }

    public init(_ table: CharsetTable) { self.table = table }

    /// Recodes from `offset` on, moved past what was used, until the input ends or `output` has no room for one more.
    public mutating func recode(_ input: ByteView, at offset: inout Int, into output: Ref<ByteWriter>) {
        while offset < input.count, output.room >= Self.growthMax {
            let byte = input[offset]
            switch table.kind {
            case .bytes: output.value.append(table.cell(Int(byte)))
            case .toUTF8:
                let at = Int(byte) * 4
                for i in 0..<Int(table.cell(at)) { output.value.append(table.cell(at + 1 + i)) }
            case .fromUTF8:
                // A byte that does not belong to the character before begins one of its own.
                if !take(byte, output) { continue }
            }
            offset += 1
        }
    }

    /// One byte of UTF-8 (RFC 3629 section 4). False: it ended a broken character and is still to be looked at.
    private mutating func take(_ byte: UInt8, _ output: Ref<ByteWriter>) -> Bool {
        if missing > 0 {
            guard byte & 0xC0 == 0x80 else {
                missing = 0
                output.value.append(0x3F)
                return false
            }
            bits = bits << 6 | UInt32(byte & 0x3F)
            missing -= 1
            if missing == 0 { put(bits, output) }
            return true
        }
        switch byte {
        case 0..<0x80: output.value.append(table.byte(for: UInt32(byte)) ?? byte)
        case 0xC2..<0xE0: begin(byte & 0x1F, missing: 1, least: 0x80)
        case 0xE0..<0xF0: begin(byte & 0x0F, missing: 2, least: 0x800)
        case 0xF0..<0xF5: begin(byte & 0x07, missing: 3, least: 0x10000)
        default: output.value.append(0x3F)
        }
        return true
    }

    private mutating func begin(_ first: UInt8, missing: Int, least: UInt32) {
        bits = UInt32(first)
        self.missing = missing
        self.least = least
    }

    /// A whole character: its byte, or a reference that HTML understands.
    private func put(_ point: UInt32, _ output: Ref<ByteWriter>) {
        if point < least || point > 0x10FFFF { return output.value.append(0x3F) }
        if let byte = table.byte(for: point) { return output.value.append(byte) }
        output.value.append("&#")
        output.value.append(decimal: UInt64(point))
        output.value.append(0x3B)
    }
}

/// The code point that `bytes` are the UTF-8 of, and nothing else; nil: they are not.
public func utf8Point(_ bytes: [UInt8]) -> UInt32? {
    guard let text = String(validating: bytes, as: UTF8.self), text.unicodeScalars.count == 1 else { return nil }
    return text.unicodeScalars.first?.value
}
