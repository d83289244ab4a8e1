import AdminAPI
import Testing

@Suite("JSON: parser")
struct JSONParserTests {
    static let accepted: [(String, JSON)] = [
        ("null", .null), ("true", true), ("false", false), (" \t\r\n null \n", .null),
        ("0", 0), ("-0", 0), ("1", 1), ("-1", -1), ("10", 10), ("9223372036854775807", .integer(.max)),
        ("-9223372036854775808", .integer(.min)), ("9223372036854775808", .number(9_223_372_036_854_775_808)),
        ("-9223372036854775809", .number(-9_223_372_036_854_775_808)), ("100000000000000000000000", .number(1e23)),
        ("0.5", .number(0.5)), ("-0.0", .number(-0.0)), ("1e3", .number(1000)), ("1E+3", .number(1000)),
        ("1.5e-3", .number(0.0015)),
        ("0e0", .number(0)), ("1e-400", .number(0)), ("123.456e1", .number(1234.56)),
        ("\"\"", ""), ("\"a\"", "a"), ("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\u{8}\u{c}\n\r\t"),
        ("\"\\u0041\\u00e9\\u20AC\"", "Aé€"),
        ("\"\\ud83d\\ude00\"", "😀"), ("\"\\uD800\\uDC00\"", "\u{10000}"), ("\"\\u0000\"", "\u{0}"), ("\"\u{7f}\"", "\u{7f}"),
        ("\"é€😀\"", "é€😀"), ("\"é\\n€\\\\😀\"", "é\n€\\😀"), ("\"\\\\u0041\"", "\\u0041"),
        ("\"\u{2028}\u{FEFF}\"", "\u{2028}\u{FEFF}"),
        ("[]", []), ("[ ]", []), ("[1]", [1]), ("[1, [2, []], \"3\"]", [1, [2, []], "3"]), ("[null,true]", [.null, true]),
        ("{}", .object([])), ("{ }", .object([])), ("{\"a\":1}", .object([.init("a", 1)])),
        ("{ \"b\" : { \"\" : [ ] } , \"a\" : null }", .object([.init("b", .object([.init("", [])])), .init("a", .null)])),
        (
            "{\"a\":{\"x\":1},\"b\":{\"x\":2}}",
            .object([.init("a", .object([.init("x", 1)])), .init("b", .object([.init("x", 2)]))])
        ),
    ]

    @Test(arguments: accepted) func accepts(text: String, value: JSON) throws { #expect(try parsed(text) == value) }

    /// Text, and what the detail must hold.
    static let refused: [(String, String)] = [
        ("", "line 1, column 1: found the end of the body, expected a value"), ("  \n ", "line 2, column 2: found the end"),
        ("[1,]", "line 1, column 4: found \"]\" after a comma, expected another value"),
        ("{\"a\":1,}", "found \"}\" after a comma"),
        ("[1 2]", "line 1, column 4: found \"2\", expected \",\" or \"]\""),
        ("[1", "found the end of the body, expected \",\" or \"]\""),
        ("[", "expected a value"), ("]", "found \"]\", expected a value"), ("[,1]", "found \",\", expected a value"),
        ("[1,,2]", "expected a value"),
        ("{", "expected a field's name"), ("{a:1}", "line 1, column 2: found \"a\", expected a field's name in double quotes"),
        ("{'a':1}", "found \"'\""), ("{\"a\"}", "found \"}\", expected \":\""), ("{\"a\":}", "found \"}\", expected a value"),
        ("{\"a\" 1}", "found \"1\", expected \":\""), ("{\"a\":1 \"b\":2}", "found a string, expected \",\" or \"}\""),
        ("{1:1}", "expected a field's name"),
        ("{\"a\":1", "expected \",\" or \"}\""), ("{\"a\"", "expected \":\""), ("{,}", "expected a field's name"),
        ("01", "found a number that begins with 0"), ("-01", "line 1, column 2: found a number that begins with 0"),
        ("-", "expected a digit"),
        ("+1", "found \"+\""), (".5", "found \".\""), ("1.", "expected a digit"), ("1.e1", "expected a digit"),
        ("1e", "expected a digit"),
        ("1e+", "expected a digit"), ("0x10", "found \"x10\", expected the end"), ("1_000", "expected the end"),
        ("--1", "expected a digit"),
        ("1,5", "found \",\", expected the end of the body"), ("NaN", "found \"NaN\", expected a value"),
        ("Infinity", "expected a value"),
        ("-Infinity", "expected a digit"), ("True", "found \"True\""), ("nul", "found \"nul\""), ("nulll", "found \"nulll\""),
        ("truefalse", "found \"truefalse\""), ("None", "found \"None\""), ("tru", "expected a value"),
        ("1 1", "expected the end of the body"),
        ("[] []", "expected the end"), ("{}}", "found \"}\", expected the end"), ("\"a", "expected the closing double quote"),
        ("\"a\\\"", "expected the closing double quote"), ("\"\\", "expected an escape"),
        ("\"\\x41\"", "found an unknown escape"),
        ("\"\\a\"", "unknown escape"), ("\"\\'\"", "unknown escape"), ("\"\\u12\"", "four hexadecimal digits"),
        ("\"\\u12G4\"", "four hexadecimal digits"),
        ("\"\\u\"", "four hexadecimal digits"), ("\"\\ud800\"", "half of a surrogate pair"),
        ("\"\\udc00\"", "half of a surrogate pair"),
        ("\"\\ud800\\ud800\"", "half of a surrogate pair"), ("\"\\ud800\\u0041\"", "half of a surrogate pair"),
        ("\"\\ud800x\"", "half of a surrogate pair"), ("\"\\ud83d\\\"", "half of a surrogate pair"),
        ("\"a\nb\"", "found the control character 0x0A in a string"),
        ("\"\\n\n\"", "control character 0x0A"), ("\"\t\"", "control character 0x09"), ("\"\u{0}\"", "control character 0x00"),
        ("\u{0}", "0x00"),
        ("[1]\u{0}", "0x00"), ("\u{FEFF}null", "found a byte order mark"), ("\u{FEFF}", "byte order mark"),
        ("[\u{FEFF}]", "expected a value"),
        ("\u{A0}1", "expected a value"), ("// x\n1", "found \"/\""), ("/* x */ 1", "found \"/\""), ("1 # x", "expected the end"),
        ("{\"a\":1,\n \"b\": tru }", "line 2, column 7: found \"tru\""), ("{\"é\": x}", "line 1, column 7: found \"x\""),
        ("'a'", "found \"'\""),
        ("é", "found \"é\""), ("\u{c}1", "0x0C"), ("a", "found \"a\""), ("\\u0031", "found \"\\\""),
    ]

    @Test(arguments: refused) func refuses(text: String, detail: String) {
        let found = parseProblem(text)
        #expect(found?.kind == .notJSON)
        #expect(found?.detail.contains(detail) == true, "\(found?.detail ?? "accepted")")
        #expect(found?.pointer == nil)
    }

    static let hinted: [(String, String)] = [
        ("{'a':1}", "double quotes"), ("{a:1}", "double quotes"), ("True", "true in lower case"), ("None", "null"),
        ("NaN", "finite"), ("[1,]", "no comma"),
        ("// x", "no comments"), ("", "empty"), ("[1", "cut short"), ("\"\\x\"", "backslash"), ("+1", "0.5"),
        ("\u{FEFF}1", "byte order mark"),
    ]

    @Test(arguments: hinted) func hints(text: String, hint: String) {
        #expect(parseProblem(text)?.hint.contains(hint) == true, "\(parseProblem(text)?.hint ?? "accepted")")
    }

    /// Bytes that are no UTF-8: within a string, behind an escape, in a name, and outside.
    static let badUTF8: [[UInt8]] = [
        [0xFF], [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF],
        [0xF0, 0x80, 0x80, 0x80],
        [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xE2, 0x82], [0xC3], [0xC3, 0x28], [0xFE, 0xFF],
    ]

    @Test(arguments: badUTF8) func refusesWhatIsNoUTF8(bytes: [UInt8]) {
        for (before, after) in [
            ("\"", "\""), ("\"a\\n", "\""), ("\"\\n", "x\""), ("{\"", "\":1}"), ("[\"abc", "\"]"), ("", ""), ("\"", "\\n\""),
        ] {
            let found = problem { () throws(Problem) in try JSON.parse(Array(before.utf8) + bytes + Array(after.utf8)) }
            #expect(found?.kind == .notJSON, "\(before) \(bytes) \(after)")
        }
    }

    @Test func tellsWhereTheBytesAreNoUTF8() {
        let found = problem { () throws(Problem) in try JSON.parse(Array("[\"ab\",\n \"xé".utf8) + [0xFF] + Array("\"]".utf8)) }
        #expect(found?.detail == "line 2, column 5: found bytes that are no UTF-8, expected text in UTF-8")
    }

    // MARK: Problems with a pointer

    @Test func namesAFieldGivenTwice() {
        let found = parseProblem("{\"upstreams\":{\"blue\":{\"servers\":[{},{\"a/b\":1,\"x\":2,\"a/b\":3}]}}}")
        #expect(found?.kind == .duplicateField)
        #expect(found?.pointer == "/upstreams/blue/servers/1/a~1b")
        #expect(found?.status == 422)
        #expect(parseProblem("{\"a\":1,\"\\u0061\":2}")?.pointer == "/a")
        #expect(parseProblem("{\"\":1,\"\":2}")?.pointer == "/")
    }

    @Test func findsAFieldGivenTwiceAmongMany() {
        let members = (0..<300).map { "\"f\($0)\":\($0)" }
        #expect(throws: Never.self) { try parsed("{" + members.joined(separator: ",") + "}") }
        for repeated in [0, 14, 15, 16, 17, 150, 299] {
            #expect(
                parseProblem("{" + (members + ["\"f\(repeated)\":0"]).joined(separator: ",") + "}")?.pointer == "/f\(repeated)")
        }
    }

    @Test func namesANumberTooLarge() {
        #expect(parseProblem("{\"a\":[1,1e999]}")?.kind == .outOfRange)
        #expect(parseProblem("{\"a\":[1,1e999]}")?.pointer == "/a/1")
        #expect(parseProblem("-1e309")?.pointer == "")
        #expect(parseProblem(String(repeating: "9", count: 500))?.kind == .outOfRange)
    }

    // MARK: Limits

    @Test func depthIsBounded() {
        let deep = String(repeating: "[", count: 32) + String(repeating: "]", count: 32)
        #expect(parseProblem(deep) == nil)
        #expect(parseProblem("[" + deep + "]")?.kind == .tooDeep)
        #expect(parseProblem(String(repeating: "{\"a\":", count: 33))?.kind == .tooDeep)
        for piece in ["[", "{\"a\":", "[{\"a\":"] {
            #expect(parseProblem(String(repeating: piece, count: 10_000))?.kind == .tooDeep)
        }
        // However large the bound, the parser keeps to one that its stack has room for.
        let found = problem { () throws(Problem) in
            try JSON.parse(Array(repeating: UInt8(ascii: "["), count: 1_000_000), limits: JSONLimits(depthMax: .max))
        }
        #expect(found?.kind == .tooDeep)
    }

    @Test func sizeIsBounded() {
        let quote = [UInt8(ascii: "\"")]
        for (count, kind) in [((8 << 20) - 2, nil), ((8 << 20) - 1, .tooLarge)] as [(Int, Problem.Kind?)] {
            let bytes = quote + Array(repeating: UInt8(ascii: "a"), count: count) + quote
            #expect(problem { () throws(Problem) in try JSON.parse(bytes) }?.kind == kind)
        }
        let found = problem { () throws(Problem) in try JSON.parse(Array("[1,2,3]".utf8), limits: JSONLimits(valuesMax: 3)) }
        #expect(found?.kind == .tooLarge)
        #expect(problem { () throws(Problem) in try JSON.parse(Array("[1,2,3]".utf8), limits: JSONLimits(valuesMax: 4)) } == nil)
    }
}
