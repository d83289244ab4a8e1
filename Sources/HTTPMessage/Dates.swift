// Times as heads and logs write them, from and to seconds since 1970 in UTC.
// Called by the engine once a second and for conditional requests. It must not read a clock or a time zone.

/// Bytes `writeHTTPDate` writes.
public let httpDateBytes = 29
/// Bytes `writeLocalTime` writes.
public let localTimeBytes = 26
/// Bytes `writeISO8601` writes.
public let iso8601Bytes = 25
/// Bytes `writeErrorLogTime` writes.
public let errorLogTimeBytes = 19

/// A day of the Gregorian calendar and a time of that day.
struct CivilTime: BitwiseCopyable {
    var year: Int
    var month: Int
    var day: Int
    var hour: Int
    var minute: Int
    var second: Int
    /// 0 is Sunday.
    var weekday: Int

    /// `seconds` are held within the years 0 to 9999, which have four digits.
    init(seconds: Int64) {
        let t = Int(min(max(seconds, -62_167_219_200), 253_402_300_799))
        let days = t >= 0 ? t / 86_400 : (t - 86_399) / 86_400
        let rest = t - days * 86_400
        hour = rest / 3600
        minute = rest / 60 % 60
        second = rest % 60
        weekday = ((days + 4) % 7 + 7) % 7
        // Years that begin on 1 March, in eras of 400 years.
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let m = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * m + 2) / 5 + 1
        month = m < 10 ? m + 3 : m - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// Days from 1 January 1970 to a day of the calendar.
    static func days(year: Int, month: Int, day: Int) -> Int {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}

private let monthNames: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"
private let dayNames: StaticString = "SunMonTueWedThuFriSat"

/// Writes an IMF-fixdate (RFC 9110 section 5.6.7), e.g. `Sun, 06 Nov 1994 08:49:37 GMT`. `output` holds `httpDateBytes` at least.
@discardableResult
public func writeHTTPDate(_ seconds: Int64, into output: inout MutableSpan<UInt8>) -> Int {
    let t = CivilTime(seconds: seconds)
    put(dayNames, from: t.weekday * 3, count: 3, at: 0, &output)
    put(", ", at: 3, &output)
    put(t.day, digits: 2, at: 5, &output)
    output[7] = 0x20
    put(monthNames, from: (t.month - 1) * 3, count: 3, at: 8, &output)
    output[11] = 0x20
    put(t.year, digits: 4, at: 12, &output)
    output[16] = 0x20
    putClock(t, at: 17, &output)
    put(" GMT", at: 25, &output)
    return httpDateBytes
}

/// Writes a time as `$time_local` shows it, e.g. `06/Nov/1994:09:49:37 +0100`, for a zone `offsetMinutes` east of UTC. `output`
/// holds `localTimeBytes` at least.
@discardableResult
public func writeLocalTime(_ seconds: Int64, offsetMinutes: Int, into output: inout MutableSpan<UInt8>) -> Int {
    let t = CivilTime(seconds: seconds + Int64(offsetMinutes) * 60)
    put(t.day, digits: 2, at: 0, &output)
    output[2] = 0x2F
    put(monthNames, from: (t.month - 1) * 3, count: 3, at: 3, &output)
    output[6] = 0x2F
    put(t.year, digits: 4, at: 7, &output)
    output[11] = 0x3A
    putClock(t, at: 12, &output)
    output[20] = 0x20
    output[21] = offsetMinutes < 0 ? 0x2D : 0x2B
    put(abs(offsetMinutes) / 60, digits: 2, at: 22, &output)
    put(abs(offsetMinutes) % 60, digits: 2, at: 24, &output)
    return localTimeBytes
}

/// Writes a time as `$time_iso8601` shows it, e.g. `1994-11-06T09:49:37+01:00`. `output` holds `iso8601Bytes` at least.
@discardableResult
public func writeISO8601(_ seconds: Int64, offsetMinutes: Int, into output: inout MutableSpan<UInt8>) -> Int {
    let t = CivilTime(seconds: seconds + Int64(offsetMinutes) * 60)
    putDate(t, separator: 0x2D, &output)
    output[10] = 0x54
    putClock(t, at: 11, &output)
    output[19] = offsetMinutes < 0 ? 0x2D : 0x2B
    put(abs(offsetMinutes) / 60, digits: 2, at: 20, &output)
    output[22] = 0x3A
    put(abs(offsetMinutes) % 60, digits: 2, at: 23, &output)
    return iso8601Bytes
}

/// Writes a time as nginx's error log begins a line, e.g. `1994/11/06 09:49:37`. `output` holds `errorLogTimeBytes` at least.
@discardableResult
public func writeErrorLogTime(_ seconds: Int64, offsetMinutes: Int, into output: inout MutableSpan<UInt8>) -> Int {
    let t = CivilTime(seconds: seconds + Int64(offsetMinutes) * 60)
    putDate(t, separator: 0x2F, &output)
    output[10] = 0x20
    putClock(t, at: 11, &output)
    return errorLogTimeBytes
}

/// Reads an IMF-fixdate; nil for anything else, the two obsolete forms included. The name of the day is not compared with the
/// date.
public func parseHTTPDate(_ text: Span<UInt8>) -> Int64? {
    if text.count != httpDateBytes { return nil }
    let template: StaticString = "Aaa, 00 Aaa 0000 00:00:00 GMT"
    for i in 0..<httpDateBytes {
        let expected = unsafe template.utf8Start[i]
        switch expected {
        case 0x30: if !isDigit(text[i]) { return nil }
        case 0x41, 0x61: if !isLetter(text[i]) { return nil }
        default: if text[i] != expected { return nil }
        }
    }
    guard name(text, at: 0, in: dayNames) != nil, let month = name(text, at: 8, in: monthNames) else { return nil }
    let day = number(text, at: 5, digits: 2)
    let year = number(text, at: 12, digits: 4)
    let hour = number(text, at: 17, digits: 2)
    let minute = number(text, at: 20, digits: 2)
    let second = number(text, at: 23, digits: 2)
    if hour > 23 || minute > 59 || second > 60 || day == 0 || day > monthDays(year, month + 1) { return nil }
    let days = CivilTime.days(year: year, month: month + 1, day: day)
    return Int64(days) * 86_400 + Int64(hour * 3600 + minute * 60 + second)
}

private func monthDays(_ year: Int, _ month: Int) -> Int {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
}

/// Which of the three-letter `names` stands at `at`.
private func name(_ text: Span<UInt8>, at: Int, in names: StaticString) -> Int? {
    for k in 0..<names.utf8CodeUnitCount / 3 {
        let found = (0..<3).allSatisfy { unsafe text[at + $0] == names.utf8Start[k * 3 + $0] }
        if found { return k }
    }
    return nil
}

private func number(_ text: Span<UInt8>, at: Int, digits: Int) -> Int {
    var n = 0
    for i in at..<at + digits { n = n * 10 + Int(text[i] &- 0x30) }
    return n
}

private func put(_ value: Int, digits: Int, at: Int, _ output: inout MutableSpan<UInt8>) {
    var n = value
    for i in (at..<at + digits).reversed() {
        output[i] = 0x30 + UInt8(n % 10)
        n /= 10
    }
}

private func put(_ text: StaticString, from: Int = 0, count: Int? = nil, at: Int, _ output: inout MutableSpan<UInt8>) {
    for i in 0..<(count ?? text.utf8CodeUnitCount) { output[at + i] = unsafe text.utf8Start[from + i] }
}

private func putClock(_ t: CivilTime, at: Int, _ output: inout MutableSpan<UInt8>) {
    put(t.hour, digits: 2, at: at, &output)
    output[at + 2] = 0x3A
    put(t.minute, digits: 2, at: at + 3, &output)
    output[at + 5] = 0x3A
    put(t.second, digits: 2, at: at + 6, &output)
}

private func putDate(_ t: CivilTime, separator: UInt8, _ output: inout MutableSpan<UInt8>) {
    put(t.year, digits: 4, at: 0, &output)
    output[4] = separator
    put(t.month, digits: 2, at: 5, &output)
    output[7] = separator
    put(t.day, digits: 2, at: 8, &output)
}
