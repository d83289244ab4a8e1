// Times as the API writes them: moments as RFC 3339 text, spans in the syntax of the configuration.
// Called by the codecs and by whatever exports a state as configuration text; knows no clock.

/// A moment in UTC with milliseconds: `2026-11-21T13:05:00.123Z`, RFC 3339 section 5.6.
public enum Timestamp {
    private static let dayMs: Int64 = 86_400_000
    /// The years 0000 to 9999.
    static let range: ClosedRange<Int64> = -62_167_219_200_000...253_402_300_799_999

    /// - Parameter ms: since 1970, UTC; what four digits of a year cannot tell is told as the first or last moment they can.
    public static func text(ms: Int64) -> String {
        let ms = min(max(ms, range.lowerBound), range.upperBound)
        let day = ms >= 0 ? ms / dayMs : -((dayMs - 1 - ms) / dayMs)
        let rest = ms - day * dayMs
        let (year, month, dayOfMonth) = date(day)
        var out: [UInt8] = []
        func append(_ value: Int64, width: Int, _ mark: Unicode.Scalar) {
            var scale: Int64 = width == 4 ? 1000 : width == 3 ? 100 : 10
            while scale > 0 {
                out.append(UInt8(ascii: "0") + UInt8(value / scale % 10))
                scale /= 10
            }
            out.append(UInt8(ascii: mark))
        }
        append(year, width: 4, "-")
        append(month, width: 2, "-")
        append(dayOfMonth, width: 2, "T")
        append(rest / 3_600_000, width: 2, ":")
        append(rest / 60_000 % 60, width: 2, ":")
        append(rest / 1000 % 60, width: 2, ".")
        append(rest % 1000, width: 3, "Z")
        return String(decoding: out, as: UTF8.self)
    }

    /// Milliseconds since 1970; nil: no RFC 3339 date and time. Takes any offset from UTC and any fraction, which is cut to
    /// milliseconds. No leap second: this clock has none.
    public static func ms(_ text: String) -> Int64? {
        var reader = DigitReader(text)
        guard let year = reader.number(4), reader.mark("-"), let month = reader.number(2), reader.mark("-"),
            let day = reader.number(2),
            reader.mark("T") || reader.mark("t"), let hour = reader.number(2), reader.mark(":"), let minute = reader.number(2),
            reader.mark(":"), let second = reader.number(2)
        else { return nil }
        guard (1...12).contains(month), (1...daysOf(month, year)).contains(day), hour < 24, minute < 60, second < 60 else {
            return nil
        }
        var fraction: Int64 = 0
        if reader.mark(".") {
            guard let value = reader.fractionMs() else { return nil }
            fraction = value
        }
        guard let offset = reader.offsetMinutes(), reader.isAtEnd else { return nil }
        return days(year, month, day) * dayMs + (hour * 60 + minute - offset) * 60_000 + second * 1000 + fraction
    }

    private static func isLeap(_ year: Int64) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    private static func daysOf(_ month: Int64, _ year: Int64) -> Int64 {
        switch month {
        case 2: isLeap(year) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Days since 1970 of a date. Years begin in March here, so that the day that is not always there is the last.
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let y = month > 2 ? year : year - 1
        let m = month > 2 ? month - 3 : month + 9
        let leaps = (y >= 0 ? y : y - 3) / 4 - (y >= 0 ? y : y - 99) / 100 + (y >= 0 ? y : y - 399) / 400
        return y * 365 + leaps + (153 * m + 2) / 5 + day - 1 - 719_468
    }

    /// The date of a day since 1970, which is not before year 0.
    private static func date(_ day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        // 400 years are 146097 days; one more such span keeps the sum positive for January and February of year 0.
        let z = day + 719_468 + 146_097
        let rest = z % 146_097
        let yearOfEra = (rest - rest / 1460 + rest / 36_524 - rest / 146_096) / 365
        let dayOfYear = rest - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let m = (5 * dayOfYear + 2) / 153
        let month = m < 10 ? m + 3 : m - 9
        let year = z / 146_097 * 400 + yearOfEra - 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * m + 2) / 5 + 1)
    }

    private struct DigitReader {
        let bytes: [UInt8]
        var at = 0

        init(_ text: String) { bytes = Array(text.utf8) }

        var isAtEnd: Bool { at == bytes.count }

        mutating func mark(_ mark: Unicode.Scalar) -> Bool {
            guard at < bytes.count, bytes[at] == UInt8(ascii: mark) else { return false }
            at += 1
            return true
        }

        mutating func digit() -> Int64? {
            guard at < bytes.count, bytes[at] >= UInt8(ascii: "0"), bytes[at] <= UInt8(ascii: "9") else { return nil }
            at += 1
            return Int64(bytes[at - 1] - UInt8(ascii: "0"))
        }

        mutating func number(_ width: Int) -> Int64? {
            var value: Int64 = 0
            for _ in 0..<width {
                guard let digit = digit() else { return nil }
                value = value * 10 + digit
            }
            return value
        }

        mutating func fractionMs() -> Int64? {
            guard let first = digit() else { return nil }
            var value = first * 100
            var scale: Int64 = 10
            while let digit = digit() {
                value += digit * scale
                scale /= 10
            }
            return value
        }

        mutating func offsetMinutes() -> Int64? {
            if mark("Z") || mark("z") { return 0 }
            let sign: Int64 = mark("-") ? -1 : 1
            guard sign == -1 || mark("+"), let hour = number(2), mark(":"), let minute = number(2), hour < 24, minute < 60 else {
                return nil
            }
            return sign * (hour * 60 + minute)
        }
    }
}

/// A span in the syntax of nginx's configuration: `30s`, `1m30s`, `500ms`, `1h 30m`; a number alone is seconds.
public enum NginxTime {
    private static let units: [(name: String, ms: Int64)] = [
        ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
    ]

    /// The one way this project writes it: from days down, each unit once, none that is zero; `0s` for none at all.
    /// Whole seconds have no `ms`, so that directives in seconds take it too.
    /// - Parameter ms: negative ones are told as none.
    public static func text(ms: Int64) -> String {
        var rest = max(ms, 0)
        var out = ""
        for (name, unit) in units where rest >= unit {
            out += "\(rest / unit)\(name)"
            rest %= unit
        }
        return out.isEmpty ? "0s" : out
    }

    /// Milliseconds, or nil. Units from the larger to the smaller, each once; spaces may stand behind a unit.
    /// - Parameter isInSeconds: a directive of whole seconds: takes `y` (365 days) and `M` (30 days) and no `ms`;
    ///   otherwise the other way round.
    public static func ms(_ text: String, isInSeconds: Bool) -> Int64? {
        var total: Int64 = 0
        var number: Int64?
        /// The smallest unit so far.
        var last = Int64.max
        var bytes = text.utf8.makeIterator()
        var next = bytes.next()
        while let byte = next {
            next = bytes.next()
            if byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
                let (product, isOver) = (number ?? 0).multipliedReportingOverflow(by: 10)
                let (sum, isSumOver) = product.addingReportingOverflow(Int64(byte - UInt8(ascii: "0")))
                if isOver || isSumOver { return nil }
                number = sum
                continue
            }
            if byte == UInt8(ascii: " "), number == nil, last < .max { continue }
            let isMs = byte == UInt8(ascii: "m") && next == UInt8(ascii: "s")
            if isMs { next = bytes.next() }
            guard let value = number, let unit = isMs ? 1 : unitMs(byte, isInSeconds), !(isMs && isInSeconds), unit < last,
                let sum = add(total, value, unit)
            else { return nil }
            total = sum
            last = unit
            number = nil
        }
        if let value = number { return last > 1000 ? add(total, value, 1000) : nil }
        return last < .max ? total : nil
    }

    private static func unitMs(_ byte: UInt8, _ isInSeconds: Bool) -> Int64? {
        switch byte {
        case UInt8(ascii: "y"): isInSeconds ? 365 * 86_400_000 : nil
        case UInt8(ascii: "M"): isInSeconds ? 30 * 86_400_000 : nil
        case UInt8(ascii: "w"): 7 * 86_400_000
        case UInt8(ascii: "d"): 86_400_000
        case UInt8(ascii: "h"): 3_600_000
        case UInt8(ascii: "m"): 60_000
        case UInt8(ascii: "s"): 1000
        default: nil
        }
    }

    private static func add(_ total: Int64, _ value: Int64, _ unit: Int64) -> Int64? {
        let (product, isOver) = value.multipliedReportingOverflow(by: unit)
        let (sum, isSumOver) = total.addingReportingOverflow(product)
        return isOver || isSumOver ? nil : sum
    }
}
