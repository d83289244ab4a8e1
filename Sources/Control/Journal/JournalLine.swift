// The frame of a record: one line that a person can read and a checksum that finds every torn or flipped byte.
// Used by Journal; it knows nothing of what the JSON says.

/// `CRC LENGTH JSON\n`: CRC-32C (RFC 3720, appendix B.4) in eight lower-case hexadecimal digits over everything behind its space up to the
/// newline; LENGTH of the JSON in bytes, decimal. The JSON holds no newline.
enum JournalLine {
    enum Found: Equatable {
        /// JSON, and where the next line begins.
        case record(json: Range<Int>, end: Int)
        /// The file ends within this line.
        case torn
        case bad(String)
    }

    static func bytes(of json: [UInt8]) -> [UInt8] {
        let rest = Array("\(json.count) ".utf8) + json
        var line = hex(CRC32C.of(rest, 0..<rest.count))
        line.reserveCapacity(line.count + rest.count + 2)
        line.append(0x20)
        line += rest
        line.append(0x0A)
        return line
    }

    /// The line that begins at `start`, which is less than the count of `bytes`.
    static func next(in bytes: [UInt8], at start: Int, bytesMax: Int) -> Found {
        let found = line(in: bytes, at: start, bytesMax: bytesMax)
        // What a torn write leaves is not called damage: nothing that was acknowledged is in it.
        if case .bad = found, !bytes[start...].contains(0x0A) { return .torn }
        return found
    }

    /// The same, without looking for the end of what is no line: never `torn`.
    static func line(in bytes: [UInt8], at start: Int, bytesMax: Int) -> Found {
        guard let sum = parseHex(bytes, start), start + 8 < bytes.count, bytes[start + 8] == 0x20 else { return .bad("no checksum") }
        var at = start + 9
        var length = 0
        let digits = at
        while at < bytes.count, bytes[at] >= 0x30, bytes[at] <= 0x39, at - digits < 12 {
            length = length * 10 + Int(bytes[at] - 0x30)
            at += 1
        }
        if at == digits || at == bytes.count || bytes[at] != 0x20 || length > bytesMax { return .bad("no length") }
        let json = at + 1..<at + 1 + length
        if json.upperBound >= bytes.count { return .bad("a wrong length") }
        if bytes[json.upperBound] != 0x0A || CRC32C.of(bytes, digits..<json.upperBound) != sum { return .bad("a wrong checksum") }
        return .record(json: json, end: json.upperBound + 1)
    }

    private static func hex(_ value: UInt32) -> [UInt8] {
        (0..<8).map { i in
            let nibble = UInt8(truncatingIfNeeded: value >> UInt32(28 - 4 * i) & 15)
            return nibble < 10 ? 0x30 + nibble : 0x57 + nibble
        }
    }

    private static func parseHex(_ bytes: [UInt8], _ start: Int) -> UInt32? {
        if start + 8 > bytes.count { return nil }
        var value: UInt32 = 0
        for i in start..<start + 8 {
            switch bytes[i] {
            case 0x30...0x39: value = value << 4 | UInt32(bytes[i] - 0x30)
            case 0x61...0x66: value = value << 4 | UInt32(bytes[i] - 0x57)
            default: return nil
            }
        }
        return value
    }
}

/// Castagnoli's polynomial, reflected; eight bytes a step.
enum CRC32C {
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for i in 0..<256 {
            var value = UInt32(i)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
            tables[i] = value
        }
        for i in 256..<tables.count { tables[i] = tables[i - 256] >> 8 ^ tables[Int(tables[i - 256] & 255)] }
        return tables
    }()

    static func of(_ bytes: [UInt8], _ range: Range<Int>) -> UInt32 {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count)
        return tables.withUnsafeBufferPointer { t in
            bytes.withUnsafeBytes { all in
                var sum: UInt32 = 0xFFFF_FFFF
                var i = range.lowerBound
                while i &+ 8 <= range.upperBound {
                    let word = UInt64(littleEndian: all.loadUnaligned(fromByteOffset: i, as: UInt64.self))
                    let low = UInt32(truncatingIfNeeded: word) ^ sum
                    let high = UInt32(truncatingIfNeeded: word &>> 32)
                    sum = t[1792 &+ Int(low & 255)] ^ t[1536 &+ Int(low &>> 8 & 255)]
                    sum ^= t[1280 &+ Int(low &>> 16 & 255)] ^ t[1024 &+ Int(low &>> 24)]
                    sum ^= t[768 &+ Int(high & 255)] ^ t[512 &+ Int(high &>> 8 & 255)]
                    sum ^= t[256 &+ Int(high &>> 16 & 255)] ^ t[Int(high &>> 24)]
                    i &+= 8
                }
                while i < range.upperBound {
                    sum = sum &>> 8 ^ t[Int((sum ^ UInt32(all[i])) & 255)]
                    i &+= 1
                }
                return ~sum
            }
        }
    }
}
