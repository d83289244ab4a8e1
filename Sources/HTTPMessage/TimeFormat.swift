// Times in a format of strftime's letters, as `config timefmt` of server-side includes has it.
// Called by the engine for `$date_local` and `$date_gmt`. It must not read a clock or a time zone.

private let months: [String] = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
]
private let days: [String] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

/// - Parameters:
///   - seconds: since 1970, UTC.
///   - offsetMinutes: of the zone, east of UTC.
///   - zone: its name, for `%Z`; empty: the offset is one.
///   - format: letters that are not known stand for themselves.
/// - Returns: at most `bytesMax` bytes and what the last letter adds.
public func formatTime(_ format: [UInt8], seconds: Int64, offsetMinutes: Int, zone: String, bytesMax: Int = 1024) -> [UInt8] {
    let time = CivilTime(seconds: seconds + Int64(offsetMinutes) * 60)
    var out: [UInt8] = []
    var i = 0
    while i < format.count, out.count < bytesMax {
        let byte = format[i]
        i += 1
        guard byte == UInt8(ascii: "%"), i < format.count else {
            out.append(byte)
            continue
        }
        let letter = format[i]
        i += 1
        out += Array(part(letter, time, seconds, offsetMinutes, zone).utf8)
    }
    return out
}

private func part(_ letter: UInt8, _ t: CivilTime, _ seconds: Int64, _ offset: Int, _ zone: String) -> String {
    switch Character(UnicodeScalar(letter)) {
    case "A": days[t.weekday]
    case "a": String(days[t.weekday].prefix(3))
    case "B": months[t.month - 1]
    case "b", "h": String(months[t.month - 1].prefix(3))
    case "C": two(t.year / 100)
    case "c": "\(part(0x61, t, seconds, offset, zone)) \(part(0x62, t, seconds, offset, zone)) \(blank(t.day)) \(clock(t)) \(t.year)"
    case "D", "x": "\(two(t.month))/\(two(t.day))/\(two(t.year % 100))"
    case "d": two(t.day)
    case "e": blank(t.day)
    case "F": "\(t.year)-\(two(t.month))-\(two(t.day))"
    case "H": two(t.hour)
    case "I": two((t.hour + 11) % 12 + 1)
    case "j": three(CivilTime.days(year: t.year, month: t.month, day: t.day) - CivilTime.days(year: t.year, month: 1, day: 1) + 1)
    case "M": two(t.minute)
    case "m": two(t.month)
    case "n": "\n"
    case "p": t.hour < 12 ? "AM" : "PM"
    case "R": "\(two(t.hour)):\(two(t.minute))"
    case "r": "\(two((t.hour + 11) % 12 + 1)):\(two(t.minute)):\(two(t.second)) \(t.hour < 12 ? "AM" : "PM")"
    case "S": two(t.second)
    case "s": "\(seconds)"
    case "T", "X": clock(t)
    case "t": "\t"
    case "u": "\((t.weekday + 6) % 7 + 1)"
    case "w": "\(t.weekday)"
    case "Y": "\(t.year)"
    case "y": two(t.year % 100)
    case "Z" where !zone.isEmpty: zone
    case "Z", "z": "\(offset < 0 ? "-" : "+")\(two(abs(offset) / 60))\(two(abs(offset) % 60))"
    case "%": "%"
    default: "%" + String(UnicodeScalar(letter))
    }
}

private func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }
private func three(_ n: Int) -> String { n < 100 ? "0" + two(n) : "\(n)" }
private func blank(_ n: Int) -> String { n < 10 ? " \(n)" : "\(n)" }
private func clock(_ t: CivilTime) -> String { "\(two(t.hour)):\(two(t.minute)):\(two(t.second))" }
