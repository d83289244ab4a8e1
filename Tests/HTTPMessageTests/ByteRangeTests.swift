// Owns the Range field: what it asks for of a body, and when it is passed over or cannot be met.

import Bytes
import HTTPMessage
import Testing

@Suite("ranges")
struct ByteRangeTests {
    private func parse(_ value: String, length: Int64 = 1000, most: Int = 8) -> (RangeVerdict, [[Int64]]) {
        let arena = Arena()
        var spans: [ByteSpan] = []
        let verdict = parseRanges(arena.freeze(value), length: length, partBytes: 0, slackBytes: 0, into: &spans, most: most)
        return (verdict, spans.map { [$0.start, $0.end] })
    }

    @Test(
        "parts",
        arguments: [
            ("bytes=0-0", [[0, 1]]), ("bytes=0-8", [[0, 9]]), ("Bytes=990-", [[990, 1000]]), ("bytes=-10", [[990, 1000]]),
            ("bytes=990-1990", [[990, 1000]]), ("bytes=-5000", [[0, 1000]]),
            ("bytes=0-9, -10 ,10-19", [[0, 10], [990, 1000], [10, 20]]),
            ("bytes=0-9,5000-,-10", [[0, 10], [990, 1000]]), ("bytes= 5 - 9 ", [[5, 10]]),
            ("bytes=0-9223372036854775807", [[0, 1000]]),
        ] as [(String, [[Int64]])])
    func parts(value: String, spans: [[Int64]]) {
        #expect(parse(value) == (.ranges(spans.count), spans))
    }

    @Test(
        "nothing is there",
        arguments: [
            "bytes=1000-", "bytes=-0", "bytes=a-", "bytes=10-b", "bytes=10", "bytes=--5", "bytes=5-9 10-", "bytes=0-9,",
            "bytes=,0-9",
            "bytes=99999999999999999999-", "bytes=0-99999999999999999999", "bytes=0x1-2",
        ])
    func unsatisfiable(value: String) { #expect(parse(value).0 == .unsatisfiable) }

    @Test(
        "passed over",
        arguments: ["", "bytes", "bytes=", "items=0-5", "bytes=0-999, 0-0", "bytes=0-1,2-3,4-5,6-7,8-9,10-11,12-13,14-15,16-17"])
    func whole(value: String) { #expect(parse(value).0 == .whole) }

    @Test func anEmptyBodyHasNoParts() {
        #expect(parse("bytes=0-", length: 0).0 == .whole)
        #expect(parse("bytes=-5", length: 0).0 == .whole)
    }

    @Test func partsThatCostMoreThanTheWholeAreNotMade() {
        var spans: [ByteSpan] = []
        let arena = Arena()
        let many = arena.freeze("bytes=" + (0..<40).map { "\($0 * 2)-\($0 * 2)" }.joined(separator: ","))
        #expect(parseRanges(many, length: 1000, partBytes: 256, slackBytes: 4096, into: &spans, most: 64) == .whole)
        #expect(parseRanges(many, length: 100_000, partBytes: 256, slackBytes: 4096, into: &spans, most: 64) == .ranges(40))
    }
}
