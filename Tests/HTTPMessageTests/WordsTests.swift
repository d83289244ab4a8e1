import HTTPMessage
import Testing

private func text(_ count: Int, _ write: (inout MutableSpan<UInt8>) -> Int) -> String {
    var storage = [UInt8](repeating: 0, count: count)
    var output = storage.mutableSpan
    let n = write(&output)
    return String(decoding: storage[..<n], as: UTF8.self)
}

private func date(_ seconds: Int64) -> String { text(httpDateBytes) { writeHTTPDate(seconds, into: &$0) } }

private let dates: [(Int64, String)] = [
    (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
    (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
    (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"), (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
    (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"), (-62_167_219_200, "Sat, 01 Jan 0000 00:00:00 GMT"),
]

@Suite struct WordsTests {
    @Test(arguments: dates)
    func datesAreWrittenAndRead(_ seconds: Int64, _ expected: String) {
        #expect(date(seconds) == expected)
        #expect(parseHTTPDate(Array(expected.utf8).span) == seconds)
    }

    @Test func everyDayOfFourCenturiesComesBack() {
        for day in stride(from: Int64(-146_097), to: 146_097, by: 31) {
            let seconds = day * 86_400 + day & 0xFFFF
            #expect(parseHTTPDate(Array(date(seconds).utf8).span) == seconds)
        }
    }

    @Test func timesBeyondFourDigitsOfAYearAreHeldWithinThem() {
        #expect(date(.max) == "Fri, 31 Dec 9999 23:59:59 GMT")
        #expect(date(.min) == "Sat, 01 Jan 0000 00:00:00 GMT")
    }

    @Test(arguments: [
        "", "Sun, 06 Nov 1994 08:49:37 UTC", "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT", "Wed, 29 Feb 2023 00:00:00 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 6 Nov 1994 08:49:37 GMT ",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
    ])
    func whatIsNoDateIsRefused(_ value: String) { #expect(parseHTTPDate(Array(value.utf8).span) == nil) }

    @Test func logTimesFollowTheZone() {
        let t: Int64 = 784_111_777
        #expect(text(localTimeBytes) { writeLocalTime(t, offsetMinutes: 60, into: &$0) } == "06/Nov/1994:09:49:37 +0100")
        #expect(text(localTimeBytes) { writeLocalTime(t, offsetMinutes: -570, into: &$0) } == "05/Nov/1994:23:19:37 -0930")
        #expect(text(iso8601Bytes) { writeISO8601(t, offsetMinutes: 0, into: &$0) } == "1994-11-06T08:49:37+00:00")
        #expect(text(iso8601Bytes) { writeISO8601(t, offsetMinutes: 345, into: &$0) } == "1994-11-06T14:34:37+05:45")
        #expect(text(errorLogTimeBytes) { writeErrorLogTime(t, offsetMinutes: 60, into: &$0) } == "1994/11/06 09:49:37")
    }

    @Test func reasonsAreSpelledAsNginxSpellsThem() {
        let phrases: [(UInt16, String)] = [
            (200, "OK"), (302, "Moved Temporarily"), (408, "Request Time-out"), (413, "Request Entity Too Large"),
            (414, "Request-URI Too Large"), (416, "Requested Range Not Satisfiable"), (503, "Service Temporarily Unavailable"),
            (504, "Gateway Time-out"), (599, ""), (299, ""), (0, ""),
        ]
        for (status, phrase) in phrases { #expect("\(reasonPhrase(status))" == phrase) }
    }

    @Test func hopByHopNamesAreNotForwarded() {
        #expect(
            HeaderName.allCases.filter { $0.isHopByHop }
                == [.connection, .transferEncoding, .upgrade, .keepAlive, .proxyConnection, .te, .trailer, .http2Settings])
    }
}
