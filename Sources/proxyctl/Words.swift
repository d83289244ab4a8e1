// Owns how figures, moments and foreign text are written for people.
// Called by everything that prints. It never asks what time it is: moments come from the server.

import AdminAPI
import Glibc

enum Words {
    /// Text of the server or of a colleague, without the characters that steer a terminal.
    static func printable(_ text: String) -> String {
        var out = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            let steers =
                scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
                || (0x202a...0x202e).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
            out.append(!steers ? scalar : scalar == "\n" || scalar == "\t" ? " " : "?")
        }
        return String(out)
    }

    /// The same for text of several lines.
    static func printableLines(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { printable(String($0)) }.joined(separator: "\n")
    }

    /// `value` with so many digits behind the point. Rounded half up; what is no number is `-`.
    static func fixed(_ value: Double, _ digits: Int) -> String {
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        guard value.isFinite, abs(value) < 1e15 else { return "-" }
        let scaled = Int64((abs(value) * scale).rounded())
        let sign = value < 0 && scaled > 0 ? "-" : ""
        let unit = Int64(scale)
        if digits == 0 { return sign + String(scaled) }
        let rest = String(scaled % unit)
        return sign + String(scaled / unit) + "." + String(repeating: "0", count: digits - rest.count) + rest
    }

    /// `12.5 %`; of nothing: `-`.
    static func percent(_ part: Int, of total: Int) -> String {
        total > 0 ? fixed(Double(part) * 100 / Double(total), 1) + " %" : "-"
    }

    /// A span of time in the two units that matter: `310 µs`, `1.20 ms`, `4.2 s`, `2 min 5 s`, `3 h 10 min`, `4 d 2 h`.
    static func span(us: Int64) -> String {
        if us < 0 { return "-" }
        if us < 1000 { return "\(us) µs" }
        if us < 1_000_000 { return fixed(Double(us) / 1000, us < 10_000 ? 2 : us < 100_000 ? 1 : 0) + " ms" }
        if us < 60_000_000 { return fixed(Double(us) / 1_000_000, 1) + " s" }
        let seconds = us / 1_000_000
        if seconds < 3600 { return "\(seconds / 60) min \(seconds % 60) s" }
        if seconds < 86400 { return "\(seconds / 3600) h \(seconds / 60 % 60) min" }
        return "\(seconds / 86400) d \(seconds / 3600 % 24) h"
    }

    static func span(ms: Int64) -> String { span(us: ms > Int64.max / 1000 ? Int64.max : ms * 1000) }

    /// `2026-11-21 14:03:22`, in the zone of whoever looks.
    static func moment(ms: Int64) -> String {
        var seconds = time_t(ms / 1000)
        var parts = tm()
        guard localtime_r(&seconds, &parts) != nil else { return "-" }
        let date = "\(Int(parts.tm_year) + 1900)-" + two(parts.tm_mon + 1) + "-" + two(parts.tm_mday)
        return date + " " + two(parts.tm_hour) + ":" + two(parts.tm_min) + ":" + two(parts.tm_sec)
    }

    private static func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : String(number) }

    /// `1 request`, `3 requests`.
    static func count(_ number: UInt64, _ noun: String) -> String { "\(number) \(noun)" + (number == 1 ? "" : "s") }

    /// Milliseconds of a time as nginx writes it: `30s`, `1m30s`, `500ms`, `90`; nil: not one.
    static func milliseconds(_ text: String) -> Int64? { NginxTime.ms(text, isInSeconds: false) }
}
