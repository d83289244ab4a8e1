import Bytes
import Testing

/// Texts of all the counts that are copied in different ways, to places with room for them, with just enough and with too little.
@Suite struct AppendTests {
    private func texts(upTo count: Int) -> [[UInt8]] { (0...count).map { n in (0..<n).map { UInt8(0x61 + $0 % 26) } } }

    /// What `append` leaves behind `"ab"` in memory of `capacity` bytes; nil: it overflowed. The bytes behind the memory stay.
    private func appended(capacity: Int, _ append: (inout ByteWriter) -> Void) -> String? {
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity + 8)
        defer { memory.deallocate() }
        memory.initialize(repeating: 0xEE, count: capacity + 8)
        var w = ByteWriter(memory, capacity: capacity)
        w.append("ab")
        append(&w)
        for i in 0..<8 { #expect(memory[capacity + i] == 0xEE) }
        if w.overflowed { return nil }
        return w.view.string
    }

    @Test func views() {
        for text in texts(upTo: 70) {
            let whole = "ab" + String(decoding: text, as: UTF8.self)
            text.withUnsafeBufferPointer { bytes in
                let view = bytes.baseAddress.map { ByteView($0, bytes.count) } ?? .empty
                #expect(appended(capacity: 128) { $0.append(view) } == whole)
                #expect(appended(capacity: 2 + text.count) { $0.append(view) } == whole)
                if !text.isEmpty { #expect(appended(capacity: 1 + text.count) { $0.append(view) } == nil) }
            }
        }
    }

    @Test func paddedBytes() {
        let arena = Arena()
        for text in texts(upTo: 40) {
            let whole = "ab" + String(decoding: text, as: UTF8.self)
            let padded = arena.freezePadded(text)
            #expect(padded.view.buffer.elementsEqual(text))
            #expect(appended(capacity: 128) { $0.append(padded) } == whole)
            #expect(appended(capacity: 2 + text.count) { $0.append(padded) } == whole)
            if !text.isEmpty { #expect(appended(capacity: 1 + text.count) { $0.append(padded) } == nil) }
        }
        #expect(appended(capacity: 64) { $0.append(PaddedBytes.empty) } == "ab")
    }

    @Test func packedBytes() {
        for text in texts(upTo: 15) {
            var words: (UInt64, UInt64) = (0, 0)
            for (i, c) in text.enumerated() {
                if i < 8 { words.0 |= UInt64(c) << UInt64(8 * i) } else { words.1 |= UInt64(c) << UInt64(8 * (i - 8)) }
            }
            let whole = "ab" + String(decoding: text, as: UTF8.self)
            #expect(appended(capacity: 128) { $0.append(packed: words.0, words.1, count: text.count) } == whole)
            #expect(appended(capacity: 2 + text.count) { $0.append(packed: words.0, words.1, count: text.count) } == whole)
            if text.isEmpty { continue }
            #expect(appended(capacity: 1 + text.count) { $0.append(packed: words.0, words.1, count: text.count) } == nil)
        }
    }

    @Test func slicesAreCutToWhatIsThere() {
        let view = ByteView("0123456789")
        let cases: [(from: Int, count: Int, String)] = [
            (0, 10, "0123456789"), (2, 3, "234"), (10, 0, ""), (10, 5, ""), (11, 1, ""), (.max, .max, ""), (8, 5, "89"),
            (-3, 2, "01"), (.min, 10, "0123456789"), (4, -1, ""), (4, .min, ""), (0, .max, "0123456789"),
        ]
        for (from, count, text) in cases { #expect(view.slice(from, count).string == text, "\(from) \(count)") }
        for (from, text) in [(0, "0123456789"), (4, "456789"), (10, ""), (11, ""), (.max, ""), (-1, "0123456789")] {
            #expect(view.slice(from).string == text, "\(from)")
        }
    }
}
