import AdminAPI
import TestChance
import Testing

@Suite("JSON: writer and pointers")
struct JSONWriterTests {
    static let written: [(JSON, String)] = [
        (.null, "null"), (true, "true"), (false, "false"), (0, "0"), (.integer(.min), "-9223372036854775808"),
        (.number(0.5), "0.5"),
        (.number(1e300), "1e+300"), (.number(.nan), "null"), (.number(.infinity), "null"), ("", "\"\""), ("é€😀", "\"é€😀\""),
        ("\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}", "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\u{7f}\""), ([], "[]"),
        (.object([]), "{}"),
        ([1, [], "a"], "[1,[],\"a\"]"), (.object([.init("b", 1), .init("a", [.null])]), "{\"b\":1,\"a\":[null]}"),
        (.object([.init("\n", 1)]), "{\"\\n\":1}"),
    ]

    @Test(arguments: written) func writesOneLine(value: JSON, text: String) {
        #expect(value.text(pretty: false) == text)
        var bytes = Array("x".utf8)
        value.appendBytes(to: &bytes)
        #expect(String(decoding: bytes, as: UTF8.self) == "x" + text)
        #expect(!bytes.contains { $0 < 0x20 })
    }

    @Test func writesForPeople() {
        let value = JSON.object([.init("a", [1, .object([.init("b", .null)])]), .init("c", []), .init("d", .object([]))])
        #expect(
            value.text() == """
                {
                  "a": [
                    1,
                    {
                      "b": null
                    }
                  ],
                  "c": [],
                  "d": {}
                }

                """)
        #expect(JSON.integer(1).text() == "1\n")
    }

    @Test func readsWhatItWrote() throws {
        var numbers = SeededNumbers(state: 42)
        for _ in 0..<300 {
            let value = arbitrary(&numbers, depth: 0)
            #expect(try JSON.parse(value.bytes(pretty: false)) == value)
            #expect(try JSON.parse(value.bytes(pretty: true)) == value)
        }
    }

    private func arbitrary(_ numbers: inout SeededNumbers, depth: Int) -> JSON {
        switch numbers.below(depth < 5 ? 8 : 6) {
        case 0: .null
        case 1: .bool(numbers.below(2) == 0)
        case 2: .integer(Int64(bitPattern: numbers.next()) >> Int64(numbers.below(64)))
        case 3: .number(Double(Int64(bitPattern: numbers.next())) / Double(1 + numbers.below(1_000_000)) + 0.5)
        case 4, 5: .string(text(&numbers))
        case 6: .array((0..<numbers.below(6)).map { _ in arbitrary(&numbers, depth: depth + 1) })
        default: .object((0..<numbers.below(20)).map { .init("\($0)" + text(&numbers), arbitrary(&numbers, depth: depth + 1)) })
        }
    }

    private func text(_ numbers: inout SeededNumbers) -> String {
        let letters = ["a", "\"", "\\", "\n", "\u{0}", "é", "€", "😀", "/", "~", " ", "\u{7f}"]
        return (0..<numbers.below(30)).map { _ in letters[numbers.below(letters.count)] }.joined()
    }

    // MARK: Values

    @Test func aWholeNumberHoweverWritten() throws {
        for (text, value) in [
            ("5", 5), ("5.0", 5), ("5e0", 5), ("50e-1", 5), ("5.5", nil), ("1e300", nil), ("-1e300", nil), ("\"5\"", nil),
        ] as [(String, Int64?)] {
            #expect(try parsed(text).integer == value)
        }
    }

    @Test func membersAreMergedAndSorted() {
        let value = JSON.members(["b": 1, "a": nil, "c": .null]).merging(.members(["a": 2, "b": "x"]))
        #expect(value.text(pretty: false) == "{\"a\":2,\"b\":\"x\",\"c\":null}")
    }

    // MARK: Pointers

    /// RFC 6901 section 5.
    static let pointed: [(String, String?)] = [
        ("", nil), ("/foo", "[\"bar\",\"baz\"]"), ("/foo/0", "\"bar\""), ("/", "0"), ("/a~1b", "1"), ("/c%d", "2"), ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"), ("/k\"l", "6"), ("/ ", "7"), ("/m~0n", "8"),
    ]

    @Test(arguments: pointed) func findsWhatAPointerNames(text: String, value: String?) throws {
        let document = try parsed(
            "{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,\"k\\\"l\":6,\" \":7,\"m~n\":8}"
        )
        let pointer = try #require(JSONPointer(text))
        #expect(document[pointer]?.text(pretty: false) == value ?? document.text(pretty: false))
        #expect(JSONPointer(pointer.tokens) == pointer)
    }

    @Test func aPointerToNothing() throws {
        let document = try parsed("{\"a\":[1,{\"b\":2}]}")
        for text in ["/b", "/a/2", "/a/-1", "/a/-", "/a/01", "/a/+1", "/a/0/x", "/a/1/b/c", "/a/x"] {
            #expect(document[try #require(JSONPointer(text))] == nil, "\(text)")
        }
        for text in ["a", "/~", "/~2", "/a~", "/~~0"] { #expect(JSONPointer(text) == nil, "\(text)") }
        #expect(JSONPointer("/~01")?.tokens == ["~1"])
    }

    @Test func escapesWhatItAppends() {
        #expect(JSONPointer.root.appending("upstreams").appending("a/b~c").appending(0).text == "/upstreams/a~1b~0c/0")
        #expect(JSONPointer.root.appending("").text == "/")
    }
}
