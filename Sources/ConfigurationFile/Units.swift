// The values of nginx's directives: times, sizes, numbers, on and off. Follows ngx_parse_time, ngx_parse_size,
// ngx_parse_offset and ngx_conf_set_flag_slot. Called by the directives of `Control` through the methods of `Word`.

/// Text that is not the value it should be.
public struct UnitError: Error, Hashable, Sendable {
    /// What it must be, in words that follow "it must be".
    public let expected: String

    public init(expected: String) { self.expected = expected }
}

public enum Units {
    /// A time in whole seconds: `30`, `30s`, `1h30m`, `1y 2M`. Units y M w d h m s, each once, the larger first.
    public static func seconds(_ text: [UInt8]) throws(UnitError) -> Int {
        let error = UnitError(expected: "a time such as 30s or 1h30m")
        guard let value = time(text, inMs: false) else { throw error }
        return value
    }

    /// A time in milliseconds: as `seconds`, with the unit ms and without y and M. A number alone is seconds.
    public static func milliseconds(_ text: [UInt8]) throws(UnitError) -> Int {
        let error = UnitError(expected: "a time such as 500ms, 30s or 1h30m")
        guard let value = time(text, inMs: true) else { throw error }
        return value
    }

    /// A size in memory, in bytes: `4096`, `8k`, `1m`, in either case.
    public static func sizeBytes(_ text: [UInt8]) throws(UnitError) -> Int {
        let error = UnitError(expected: "a size such as 4096, 8k or 1m")
        guard let value = size(text, shifts: ["k": 10, "m": 20]) else { throw error }
        return value
    }

    /// A size of a file or body, in bytes: as `sizeBytes`, and `1g`.
    public static func offsetBytes(_ text: [UInt8]) throws(UnitError) -> Int {
        let error = UnitError(expected: "a size such as 8k, 1m or 1g")
        guard let value = size(text, shifts: ["k": 10, "m": 20, "g": 30]) else { throw error }
        return value
    }

    /// A whole number of `range`. A sign is taken only where `range` has negative numbers.
    public static func integer(_ text: [UInt8], in range: ClosedRange<Int>) throws(UnitError) -> Int {
        let isNegative = range.lowerBound < 0 && text.first == UInt8(ascii: "-")
        guard let magnitude = digits(text[(isNegative ? 1 : 0)...]) else { throw integerError(range) }
        let value = isNegative ? -magnitude : magnitude
        guard range.contains(value) else { throw integerError(range) }
        return value
    }

    /// `on` or `off`, in either case.
    public static func flag(_ text: [UInt8]) throws(UnitError) -> Bool {
        switch String(decoding: text, as: UTF8.self).lowercased() {
        case "on": return true
        case "off": return false
        default: throw UnitError(expected: "\"on\" or \"off\"")
        }
    }

    private static func integerError(_ range: ClosedRange<Int>) -> UnitError {
        if range.upperBound == .max { return UnitError(expected: "a whole number of at least \(range.lowerBound)") }
        return UnitError(expected: "a whole number from \(range.lowerBound) to \(range.upperBound)")
    }

    /// Units from the largest to the smallest; each may follow only a larger one.
    private enum Step: Int {
        case start, year, month, week, day, hour, minute, second, millisecond, bare
    }

    private static func time(_ text: [UInt8], inMs: Bool) -> Int? {
        var step = inMs ? Step.month : .start
        var total = 0
        var i = 0
        var hasDigits = false
        while i < text.count {
            let first = i
            while i < text.count, isDigit(text[i]) { i += 1 }
            hasDigits = hasDigits || i > first
            guard let value = i > first ? digits(text[first..<i]) : 0 else { return nil }
            guard i < text.count else { return sum(total, value, scale: inMs ? 1000 : 1) }
            guard let unit = unit(text, at: i), unit.step.rawValue > step.rawValue, inMs || unit.step != .millisecond
            else { return nil }
            // A space parts a number without a unit only where seconds have not come yet.
            if unit.step == .bare, step.rawValue >= Step.second.rawValue { return nil }
            i += unit.step == .millisecond ? 2 : 1
            step = unit.step
            let scale = unit.step == .millisecond ? 1 : unit.seconds * (inMs ? 1000 : 1)
            guard let added = sum(total, value, scale: scale) else { return nil }
            total = added
            while i < text.count, text[i] == UInt8(ascii: " ") { i += 1 }
        }
        return hasDigits ? total : nil
    }

    private static func unit(_ text: [UInt8], at i: Int) -> (step: Step, seconds: Int)? {
        switch text[i] {
        case UInt8(ascii: "y"): (.year, 365 * 86_400)
        case UInt8(ascii: "M"): (.month, 30 * 86_400)
        case UInt8(ascii: "w"): (.week, 7 * 86_400)
        case UInt8(ascii: "d"): (.day, 86_400)
        case UInt8(ascii: "h"): (.hour, 3600)
        case UInt8(ascii: "m"): i + 1 < text.count && text[i + 1] == UInt8(ascii: "s") ? (.millisecond, 0) : (.minute, 60)
        case UInt8(ascii: "s"): (.second, 1)
        case UInt8(ascii: " "): (.bare, 1)
        default: nil
        }
    }

    private static func size(_ text: [UInt8], shifts: [Character: Int]) -> Int? {
        guard let last = text.last else { return nil }
        let letter = Character(Unicode.Scalar(last | 0x20))
        guard !isDigit(last), let shift = shifts[letter] else { return digits(text[...]) }
        return digits(text.dropLast()).flatMap { sum(0, $0, scale: 1 << shift) }
    }

    /// `total + value * scale`, or nil when that is no `Int`.
    private static func sum(_ total: Int, _ value: Int, scale: Int) -> Int? {
        let (product, isTooLarge) = value.multipliedReportingOverflow(by: scale)
        let (sum, isSumTooLarge) = total.addingReportingOverflow(product)
        return isTooLarge || isSumTooLarge ? nil : sum
    }

    /// A decimal number of at least one digit and nothing else, or nil.
    private static func digits(_ text: ArraySlice<UInt8>) -> Int? {
        if text.isEmpty { return nil }
        var value = 0
        for byte in text {
            guard isDigit(byte), let longer = sum(Int(byte - UInt8(ascii: "0")), value, scale: 10) else { return nil }
            value = longer
        }
        return value
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
}

/// The word's value, or a diagnostic that names what was found and what was expected. `directive`: where the word stands.
extension Word {
    /// A longer time is taken for this one, a thousand years: its milliseconds, and sums of it and a clock, do not overflow.
    private static var longestMs: Int { 365_000 * 86_400_000 }

    public func seconds(of directive: String) throws(Diagnostic) -> Int {
        do { return min(try Units.seconds(bytes), Self.longestMs / 1000) } catch { throw invalid(directive, error) }
    }

    public func milliseconds(of directive: String) throws(Diagnostic) -> Int {
        do { return min(try Units.milliseconds(bytes), Self.longestMs) } catch { throw invalid(directive, error) }
    }

    public func sizeBytes(of directive: String) throws(Diagnostic) -> Int {
        do { return try Units.sizeBytes(bytes) } catch { throw invalid(directive, error) }
    }

    public func offsetBytes(of directive: String) throws(Diagnostic) -> Int {
        do { return try Units.offsetBytes(bytes) } catch { throw invalid(directive, error) }
    }

    public func integer(in range: ClosedRange<Int>, of directive: String) throws(Diagnostic) -> Int {
        do { return try Units.integer(bytes, in: range) } catch { throw invalid(directive, error) }
    }

    public func flag(of directive: String) throws(Diagnostic) -> Bool {
        do { return try Units.flag(bytes) } catch { throw invalid(directive, error) }
    }

    private func invalid(_ directive: String, _ error: UnitError) -> Diagnostic {
        .invalidValue(self, of: directive, expected: error.expected)
    }
}
