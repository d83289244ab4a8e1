import AdminAPI
import TestChance
import Testing

@Suite("JSON: times")
struct JSONTimeTests {
    static let moments: [(Int64, String)] = [
        (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"), (1_795_266_300_123, "2026-11-21T13:05:00.123Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"), (951_868_800_000, "2000-03-01T00:00:00.000Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (4_107_456_000_000, "2100-02-28T00:00:00.000Z"), (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (-2_203_891_200_000, "1900-03-01T00:00:00.000Z"), (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
    ]

    @Test(arguments: moments) func writesAndReadsAMoment(ms: Int64, text: String) {
        #expect(Timestamp.text(ms: ms) == text)
        #expect(Timestamp.ms(text) == ms)
    }

    @Test func everyMomentComesBack() {
        var numbers = SeededNumbers(state: 3)
        for _ in 0..<20_000 {
            let ms = Int64(bitPattern: numbers.next()) % 62_000_000_000_000
            #expect(Timestamp.ms(Timestamp.text(ms: ms)) == ms)
        }
        // Each day of 400 years follows the one before it.
        var previous = ""
        for day in 0..<146_097 as Range<Int64> {
            let text = Timestamp.text(ms: day * 86_400_000)
            #expect(text > previous)
            previous = text
        }
        #expect(previous == "2369-12-31T00:00:00.000Z")
        #expect(Timestamp.text(ms: .min) == "0000-01-01T00:00:00.000Z")
        #expect(Timestamp.text(ms: .max) == "9999-12-31T23:59:59.999Z")
    }

    static let otherMoments: [(String, Int64?)] = [
        ("1970-01-01T00:00:00Z", 0), ("1970-01-01t00:00:00z", 0), ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T22:30:00-01:30", 0),
        ("1970-01-01T00:00:00.5Z", 500), ("1970-01-01T00:00:00.1239999999999999999999Z", 123), ("1970-01-01T00:00:00.Z", nil),
        ("1970-01-01", nil),
        ("1970-01-01T00:00:00", nil), ("1970-01-01 00:00:00Z", nil), ("1970-13-01T00:00:00Z", nil), ("1970-00-01T00:00:00Z", nil),
        ("1970-01-32T00:00:00Z", nil), ("1970-02-29T00:00:00Z", nil), ("1900-02-29T00:00:00Z", nil),
        ("1970-01-00T00:00:00Z", nil),
        ("1970-01-01T24:00:00Z", nil), ("1970-01-01T00:60:00Z", nil), ("1970-01-01T00:00:60Z", nil),
        ("1970-01-01T00:00:00Zx", nil),
        ("1970-01-01T00:00:00+1:00", nil), ("1970-01-01T00:00:00+24:00", nil), ("", nil), ("now", nil),
        ("+970-01-01T00:00:00Z", nil),
    ]

    @Test(arguments: otherMoments) func readsOtherMoments(text: String, ms: Int64?) { #expect(Timestamp.ms(text) == ms) }

    static let spans: [(Int64, String)] = [
        (0, "0s"), (1, "1ms"), (500, "500ms"), (1000, "1s"), (30_000, "30s"), (60_000, "1m"), (90_000, "1m30s"),
        (3_600_000, "1h"), (5_400_000, "1h30m"),
        (86_400_000, "1d"), (30 * 86_400_000, "30d"), (90_061_001, "1d1h1m1s1ms"), (-5, "0s"),
    ]

    @Test(arguments: spans) func writesASpan(ms: Int64, text: String) {
        #expect(NginxTime.text(ms: ms) == text)
        #expect(NginxTime.ms(text, isInSeconds: false) == max(ms, 0))
        if ms % 1000 == 0 { #expect(NginxTime.ms(text, isInSeconds: true) == ms) }
        #expect(NginxTime.ms(NginxTime.text(ms: .max), isInSeconds: false) == .max)
    }

    /// Text, milliseconds as a directive of milliseconds and as one of seconds.
    static let readSpans: [(String, Int64?, Int64?)] = [
        ("30", 30_000, 30_000), ("1h30m", 5_400_000, 5_400_000), ("1h 30m", 5_400_000, 5_400_000),
        ("1w", 604_800_000, 604_800_000), ("1y", nil, 31_536_000_000),
        ("2M", nil, 5_184_000_000), ("1y2M3w4d5h6m7s", nil, 38_898_367_000), ("500ms", 500, nil), ("1s500ms", 1500, nil),
        ("1m30", 90_000, 90_000),
        ("1s1", nil, nil), ("", nil, nil), (" ", nil, nil), ("s", nil, nil), ("1x", nil, nil), ("1m1h", nil, nil),
        ("1m1m", nil, nil), ("-1s", nil, nil),
        ("1.5s", nil, nil), ("1 s", nil, nil), (" 1s", nil, nil), ("99999999999999999999s", nil, nil),
        ("9223372036854775807s", nil, nil), ("1mss", nil, nil),
        ("1S", nil, nil), ("1ms1s", nil, nil), ("0", 0, 0),
    ]

    @Test(arguments: readSpans) func readsASpan(text: String, ms: Int64?, ofSeconds: Int64?) {
        #expect(NginxTime.ms(text, isInSeconds: false) == ms)
        #expect(NginxTime.ms(text, isInSeconds: true) == ofSeconds)
    }
}
