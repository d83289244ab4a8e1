import Bytes
import HTTPMessage
import Testing

/// The codes of RFC 7541 appendix B in their order: how many there are of each length. The last one ends a string and is no symbol.
private let codes: [(bits: Int, code: UInt32)] = {
    let counts = [
        (5, 10), (6, 26), (7, 32), (8, 6), (10, 5), (11, 3), (12, 2), (13, 6), (14, 2), (15, 3), (19, 3), (20, 8), (21, 13), (22, 26), (23, 29),
        (24, 12), (25, 4), (26, 15), (27, 19), (28, 29), (30, 4),
    ]
    var found: [(Int, UInt32)] = []
    var next: UInt32 = 0
    var bits = 5
    for (length, count) in counts {
        next <<= UInt32(length - bits)
        bits = length
        for _ in 0..<count {
            found.append((length, next))
            next += 1
        }
    }
    return found
}()

/// A string of these codes, with padding; `extra` whole bytes more than there may be.
private func coded(_ symbols: [Int], extra: Int = 0) -> [UInt8] {
    var bits: [Bool] = symbols.flatMap { i in (0..<codes[i].bits).map { codes[i].code >> UInt32(codes[i].bits - 1 - $0) & 1 == 1 } }
    while bits.count % 8 != 0 { bits.append(true) }
    bits += [Bool](repeating: true, count: 8 * extra)
    let bytes = stride(from: 0, to: bits.count, by: 8).map { at in bits[at..<at + 8].reduce(UInt8(0)) { $0 << 1 | ($1 ? 1 : 0) } }
    var n = bytes.count
    if n < 127 { return [0x80 | UInt8(n)] + bytes }
    var length: [UInt8] = [0xFF]
    n -= 127
    while n >= 128 {
        length.append(0x80 | UInt8(n & 127))
        n >>= 7
    }
    return length + [UInt8(n)] + bytes
}

private func frame(_ type: UInt8, _ flags: UInt8, _ payload: [UInt8], stream: UInt8 = 1) -> [UInt8] {
    [UInt8(payload.count >> 16), UInt8(payload.count >> 8 & 255), UInt8(payload.count & 255), type, flags, 0, 0, 0, stream] + payload
}

private func repaired(_ frames: [UInt8]) -> [UInt8]? {
    var output = [UInt8](repeating: 0xAA, count: frames.count + 1024)
    let n = output.withUnsafeMutableBufferPointer { target in
        var span = target.mutableSpan
        return repairFieldBlock(frames.span, into: &span)
    }
    return n.map { Array(output.prefix($0)) }
}

/// A name of the static table and a string as its value.
private func field(_ value: [UInt8]) -> [UInt8] { [0x0F, 0x10] + value }
/// Name and value as strings, without indexing.
private func field(_ name: [UInt8], _ value: [UInt8]) -> [UInt8] { [0x00] + name + value }

@Suite("Field blocks") struct FieldBlockTests {
    @Test func thereAreAsManyCodesAsSymbols() {
        #expect(codes.count == 257)
        #expect(codes[256].code == 0x3FFF_FFFF)
    }

    @Test func aByteOfPaddingIsFoundBehindEverySymbol() {
        for i in 0..<256 {
            // Eight of a kind end with a byte.
            let symbols = [Int](repeating: i, count: 8)
            let good = frame(1, 5, [0x88] + field(coded(symbols)))
            let bad = frame(1, 5, [0x88] + field(coded(symbols, extra: 1)))
            #expect(!needsFieldBlockRepair(good.span) && repaired(good) == nil, "code \(i)")
            #expect(needsFieldBlockRepair(bad.span) && repaired(bad) == good, "code \(i)")
        }
    }

    @Test func paddingThatIsRightOrWrongInOtherWaysIsLeft() {
        let cases: [[UInt8]] = [
            // Seven bits of it, two bytes of it, and the code that ends a string.
            field(coded([0, 0, 0, 0, 0])), field(coded([Int](repeating: 0, count: 8), extra: 2)), field([0x84, 0xFF, 0xFF, 0xFF, 0xFF]),
            // No string, one as it is, indexed fields, the table's size.
            [], field([0x02, 0xFF, 0xFF]), [0x88, 0xBE, 0x3F, 0xE1, 0x1F],
            // Cut.
            [0x40], [0x00, 0x81], field([0x85, 0xFF]), field([0xFF, 0x80]), field([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ]
        for block in cases {
            let whole = frame(1, 4, block)
            #expect(!needsFieldBlockRepair(whole.span) && repaired(whole) == nil, "\(block)")
        }
        // A string that is padded so before one that is cut: the block is not ours to judge.
        #expect(repaired(frame(1, 4, field([0x81, 0xFF]) + [0x00, 0x81])) == nil)
    }

    @Test func severalStringsAreRepairedAndTheRestStays() {
        let a = [Int](repeating: 3, count: 8)
        let plain: [UInt8] = [0x01, 0x61]
        let bad = field(plain, coded([], extra: 1)) + [0x88] + field(coded(a, extra: 1), coded(a, extra: 1)) + field(coded([1, 2])) + field(plain, plain)
        let good = field(plain, coded([])) + [0x88] + field(coded(a), coded(a)) + field(coded([1, 2])) + field(plain, plain)
        #expect(repaired(frame(1, 5, bad)) == frame(1, 5, good))
        // Frame padding goes, priorities stay.
        #expect(repaired(frame(1, 0x0D, [3] + bad + [0, 0, 0])) == frame(1, 5, good))
        #expect(repaired(frame(1, 0x2D, [3, 0, 0, 0, 9, 7] + bad + [0, 0, 0])) == frame(1, 0x25, [0, 0, 0, 9, 7] + good))
        #expect(repaired(frame(1, 0x0D, [250] + bad)) == nil)
    }

    @Test func aBlockInPiecesBecomesOne() {
        let bad = field(coded([Int](repeating: 3, count: 8), extra: 1)) + field([0x01, 0x61], coded([], extra: 1))
        let good = field(coded([Int](repeating: 3, count: 8))) + field([0x01, 0x61], coded([]))
        var frames = frame(1, 1, [])
        for (i, byte) in bad.enumerated() { frames += frame(9, i == bad.count - 1 ? 4 : 0, [byte]) }
        #expect(repaired(frames) == frame(1, 5, good))
        // Too large for a frame: as many as it takes.
        let long = field([0x01, 0x61], [0x7F, 0xD1, 0xFE, 0x01] + [UInt8](repeating: 0x62, count: 32_720))
        for tail in [good, good + [UInt8](repeating: 0x88, count: 16_384)] {
            let whole = long + tail
            let broken = long + bad + tail.dropFirst(good.count)
            var input = frame(1, 0, Array(broken.prefix(100)))
            input += frame(9, 4, Array(broken.dropFirst(100)))
            var wanted = frame(1, 0, Array(whole.prefix(16_384)))
            var at = 16_384
            while at < whole.count {
                let part = Array(whole[at..<min(at + 16_384, whole.count)])
                at += part.count
                wanted += frame(9, at == whole.count ? 4 : 0, part)
            }
            #expect(repaired(input) == wanted)
        }
    }

    /// What the gate says of a connection's bytes, given in pieces of `size`: what passes, and the blocks it finds.
    private func run(_ input: [UInt8], _ size: Int) -> (all: [UInt8], blocks: [[UInt8]]) {
        var gate = FieldBlockGate(bytesMax: 128 << 10)
        var held: [UInt8] = []
        var all: [UInt8] = []
        var blocks: [[UInt8]] = []
        for start in stride(from: 0, to: input.count, by: size) {
            let piece = Array(input[start..<min(start + size, input.count)])
            var at = 0
            reading: while true {
                switch gate.step(piece.span, at: &at) {
                case .pass(let n):
                    #expect(held.isEmpty)
                    all += piece[at - n..<at]
                case .block(let n):
                    all += piece[at - n..<at]
                    blocks.append(Array(piece[at - n..<at]))
                case .hold(let n): held += piece[at - n..<at]
                case .heldBlock:
                    all += held
                    blocks.append(held)
                    held = []
                case .release:
                    all += held
                    held = []
                case .needMore: break reading
                }
            }
            #expect(gate.isHolding == !held.isEmpty)
        }
        return (all + held, blocks)
    }

    @Test func blocksAreFoundHoweverTheBytesCome() {
        let first = frame(1, 4, [1, 2, 3])
        let second = frame(1, 0, [1], stream: 3) + frame(9, 0, [], stream: 3) + frame(9, 4, [7, 7], stream: 3)
        let third = frame(1, 5, [])
        let data = frame(0, 0, [UInt8](repeating: 1, count: 40))
        let input = frame(4, 0, []) + first + data + second + data + third + frame(6, 0, [0, 0, 0, 0, 0, 0, 0, 0])
        for size in 1...input.count {
            let (all, blocks) = run(input, size)
            #expect(all == input && blocks == [first, second, third], "\(size)")
        }
    }

    @Test func whatIsGivenUpPasses() {
        let input = frame(1, 0, [1, 2]) + frame(9, 0, [3]) + frame(9, 4, [4]) + frame(1, 4, [5])
        for cut in 1..<input.count - 10 {
            var gate = FieldBlockGate(bytesMax: 128 << 10)
            var held: [UInt8] = []
            var rest: [UInt8] = []
            for (i, piece) in [Array(input[..<cut]), Array(input[cut...])].enumerated() {
                var at = 0
                reading: while true {
                    switch gate.step(piece.span, at: &at) {
                    case .pass(let n): rest += piece[at - n..<at]
                    case .block(let n): #expect(Array(piece[at - n..<at]) == frame(1, 4, [5]))
                    case .hold(let n): held += piece[at - n..<at]
                    case .heldBlock, .release: break
                    case .needMore: break reading
                    }
                }
                if i == 0 {
                    #expect(gate.isInBlock == (cut >= 9 && held.count == cut))
                    gate.release()
                }
            }
            #expect(held + rest == input.dropLast(10), "\(cut)")
        }
    }

    @Test func whatIsNoBlockPasses() {
        let many = frame(1, 0, [1]) + (0..<200).flatMap { _ in frame(9, 0, [1]) }
        let large = frame(1, 0, [1]) + (0..<9).flatMap { _ in frame(9, 0, [UInt8](repeating: 1, count: 16_384)) }
        let inputs = [frame(1, 0, [1]) + frame(0, 0, [2]), frame(1, 0, [1]) + frame(9, 4, [2], stream: 5), frame(9, 4, [1]), many, large]
        for input in inputs {
            for size in [1, 2, 9, 10, 11, 4096, 1 << 20] {
                let (all, blocks) = run(input + frame(1, 4, [5]), size)
                #expect(all == input + frame(1, 4, [5]) && blocks == [frame(1, 4, [5])], "\(size)")
            }
        }
    }
}
