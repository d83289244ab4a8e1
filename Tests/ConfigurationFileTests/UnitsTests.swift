import ConfigurationFile
import Testing

@Suite struct UnitsTests {
    @Test(arguments: [
        ("0", 0), ("30", 30), ("30s", 30), ("1m", 60), ("1h30m", 5400), ("1h 30m", 5400), ("1d", 86_400), ("2w", 1_209_600),
        ("1M", 2_592_000), ("1y", 31_536_000), ("1y 2M", 36_720_000), ("1m30", 90), ("1m 30", 90), ("10 20", 30),
        ("1s2", 3), (" 5", 5), ("5 ", 5), ("999y", 31_504_464_000), ("9223372036854775807", 31_536_000_000),
    ])
    func timesInSeconds(_ text: String, _ expected: Int) throws { #expect(try word(text).seconds(of: "a") == expected) }

    @Test(arguments: [
        "", " ", "s", "1x", "-1", "1.5s", "1s1m", "1m1h", "1s1s", "500ms", "1M1y", "9223372036854775808",
        "9223372036854775807m", "9223372036854775807s 9s", "1S", "\0", "1h1M", "1s 2 3",
    ])
    func whatIsNoTimeInSeconds(_ text: String) {
        #expect(told { try Units.seconds(Array(text.utf8)) } == told { throw UnitError(expected: "a time such as 30s or 1h30m") })
    }

    @Test(arguments: [
        ("0", 0), ("30", 30_000), ("500ms", 500), ("1s500ms", 1500), ("1s 500ms", 1500), ("1h30m", 5_400_000),
        ("2w", 1_209_600_000), ("1m30", 90_000), ("5ms3", 3005), ("9223372036854775807ms", 31_536_000_000_000),
    ])
    func timesInMilliseconds(_ text: String, _ expected: Int) throws {
        #expect(try word(text).milliseconds(of: "a") == expected)
    }

    @Test(arguments: ["", "ms", "1y", "1M", "1ms1s", "1ms1ms", "9223372036854775807", "9223372036854775807s", "1 1ms"])
    func whatIsNoTimeInMilliseconds(_ text: String) {
        #expect(throws: UnitError(expected: "a time such as 500ms, 30s or 1h30m")) { try Units.milliseconds(Array(text.utf8)) }
    }

    @Test(arguments: [
        ("0", 0), ("4096", 4096), ("8k", 8192), ("8K", 8192), ("1m", 1 << 20), ("2M", 2 << 20), ("1g", -1),
        ("", -1), ("k", -1), ("1kk", -1), ("-1", -1), ("1 k", -1), ("9223372036854775807k", -1), ("1\u{4B}b", -1),
    ])
    func sizes(_ text: String, _ expected: Int) {
        #expect((try? Units.sizeBytes(Array(text.utf8))) ?? -1 == expected)
        // A file may be larger than memory: the same, and gigabytes.
        #expect((try? Units.offsetBytes(Array(text.utf8))) ?? -1 == (text == "1g" ? 1 << 30 : expected))
    }

    @Test func numbersKeepToTheirRange() {
        let port = 1...65_535
        #expect((try? word("65535").integer(in: port, of: "a")) == 65_535)
        #expect((try? word("-5").integer(in: -20...20, of: "a")) == -5)
        for bad in ["0", "65536", "", "-1", "+1", "1k", "99999999999999999999", "-", "0x1", "１"] {
            #expect(throws: UnitError(expected: "a whole number from 1 to 65535")) {
                try Units.integer(Array(bad.utf8), in: port)
            }
        }
        #expect(throws: UnitError(expected: "a whole number from -20 to 20")) { try Units.integer(Array("-".utf8), in: -20...20) }
        #expect(throws: UnitError(expected: "a whole number of at least 1")) { try Units.integer([48], in: 1 ... .max) }
    }

    @Test func onAndOff() throws {
        #expect(try word("on").flag(of: "a") && word("ON").flag(of: "a"))
        #expect(try !word("off").flag(of: "a") && !word("Off").flag(of: "a"))
        for bad in ["", "true", "1", "o"] { #expect(throws: Diagnostic.self) { try word(bad).flag(of: "a") } }
    }

    @Test func aDiagnosticNamesWhatWasFoundAndExpected() {
        var bad = word("10q")
        bad.position = Position(file: "/etc/x.conf", line: 3, column: 20)
        #expect(
            told { try bad.milliseconds(of: "keepalive_timeout") }
                == #"invalid value "10q" in "keepalive_timeout" directive, it must be a time such as 500ms, 30s or 1h30m"#
                + " in /etc/x.conf:3:20")
        #expect(
            told { try bad.flag(of: "sendfile") }
                == #"invalid value "10q" in "sendfile" directive, it must be "on" or "off" in /etc/x.conf:3:20"#)
        do { _ = try bad.integer(in: 1...9, of: "a") } catch {
            #expect(error.found == "10q" && error.expected == "a whole number from 1 to 9" && error.directive == "a")
        }
    }
}
