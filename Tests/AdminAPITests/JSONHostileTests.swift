import AdminAPI
import TestChance
import Testing

/// Whatever is sent, parsing and decoding end in a value or a Problem.
@Suite("JSON: hostile input")
struct JSONHostileTests {
    static let document = fullState().json(as: .journal).merging(
        .object([
            .init("reason", "release \"42\" é €\n"),
            .init("figures", [.number(-1.5e10), .integer(.min), .null, [], .object([])]),
        ]))

    private func swallow(_ bytes: [UInt8]) {
        guard let json = try? JSON.parse(bytes) else { return }
        for form in [StateForm.request, .answer, .journal] {
            if let state = try? ProxyState(json: json, as: form) { _ = try? StateRules.check(state) }
        }
        _ = try? StateWrite(json: json)
        _ = try? Receipt(json: json)
        _ = try? Status(json: json)
        _ = try? Plan(json: json)
        #expect((try? JSON.parse(json.bytes(pretty: false))) == json)
    }

    /// Names are guessed from the object before, but not what must be written otherwise.
    @Test(arguments: [
        #"[{"a\"b": 1}, {"a"b": 1}]"#, "[{\"a\\nb\": 1}, {\"a\nb\": 1}]", #"[{"a\\x": 1}, {"a\x": 1}]"#, #"[{"a": 1, "b": 2}, {"a": 1, "a": 2}]"#,
        #"[{"a": 1, "b": 2}, {"a": 1, "b": 2, "a": 3}]"#, #"[{"a": 1}, {"ab": 1, "a: 1}]"#, #"[{"a": 1}, {"a" 1}]"#,
    ])
    func namesAreNotGuessedWrong(text: String) {
        #expect(throws: Problem.self) { _ = try JSON.parse(text) }
    }

    @Test func namesOfObjectsThatAreAlikeInPart() throws {
        let text = #"[{"a": 1, "b": 2}, {"a": 1}, {"a": 1, "c": 3, "b": 2}, {}, {"b": 1}, {"\u0061": 4}, {"ab": 1}, {"a": {"a": 1, "b": 2}, "b": 5}]"#
        let names = try JSON.parse(text).array?.map { $0.object?.map(\.name).joined(separator: " ") ?? "" }
        #expect(names == ["a b", "a", "a c b", "", "b", "a", "ab", "a b"])
    }

    @Test func truncatedAtEveryByte() {
        for pretty in [false, true] {
            let bytes = Self.document.bytes(pretty: pretty)
            let end = pretty ? bytes.count - 1 : bytes.count
            for count in 0..<end {
                let found = problem { () throws(Problem) in try JSON.parse(Array(bytes[..<count])) }
                #expect(found?.kind == .notJSON, "cut at \(count)")
            }
            #expect((try? JSON.parse(Array(bytes[..<end]))) == Self.document)
        }
    }

    @Test(arguments: 0..<20 as Range<UInt64>) func mutated(seed: UInt64) {
        var numbers = SeededNumbers(state: seed)
        let source = Self.document.bytes(pretty: seed % 2 == 0)
        let marks = Array("{}[]\",:\\u0019-.eE tfn\u{0}\u{1F}é".utf8) + [0xFF, 0x80, 0xED]
        for _ in 0..<400 {
            var bytes = source
            for _ in 0...numbers.below(4) {
                let at = numbers.below(bytes.count)
                switch numbers.below(5) {
                case 0: bytes[at] = UInt8(truncatingIfNeeded: numbers.next())
                case 1: bytes[at] = marks[numbers.below(marks.count)]
                case 2: bytes.insert(marks[numbers.below(marks.count)], at: at)
                case 3: bytes.removeSubrange(at..<min(at + 1 + numbers.below(8), bytes.count))
                default: bytes.insert(contentsOf: source[min(at, source.count)...].prefix(numbers.below(64)), at: at)
                }
                if bytes.isEmpty { break }
            }
            swallow(bytes)
        }
    }

    @Test func arbitraryBytes() {
        var numbers = SeededNumbers(state: 7)
        let marks = Array("{}[]\",:\\u0019-.eE tfnrals".utf8)
        for _ in 0..<5000 {
            swallow(
                (0..<numbers.below(40)).map { _ in
                    numbers.below(3) == 0 ? UInt8(truncatingIfNeeded: numbers.next()) : marks[numbers.below(marks.count)]
                })
        }
    }

    /// Every string field gets every hostile text: a Problem or a state, never a crash.
    @Test func hostileTexts() {
        let texts = [
            "", " ", ":", "::", "[", "]", "[]", "[]:", "[:", "unix:", "unix:/", "$", "${", "${}", "$$", "\u{0}", "\"", "'", "\\",
            "é:1", "a:b:c", ":80", "a:",
            "1", "99999999999999999999", "a:99999999999999999999", "9223372036854775807y", "1ms1ms", "hash", "hash \"",
            "hash '$a", "random two", "random three x",
            "{", "}", "${{", "#", ";", "cookie", "cookie a=", "cookie a =", "\u{1F600}", String(repeating: "a", count: 5000),
            String(repeating: "[", count: 200),
            "-1", "::1", "[::1", "[::1]x", "[1:2:3:4:5:6:7:8:9]:1", "[::1.2.3.4.5]:1", "1.2.3.4.5", "http://", "://", "~", "~2",
            "/",
        ]
        for text in texts {
            var state = fullState()
            state.upstreams["blue"]?.balance = text
            _ = try? StateRules.check(state)
            state = fullState()
            state.upstreams["blue"]?.sticky = text
            state.upstreams["green"]?.servers[0].server = text
            _ = try? StateRules.check(state)
            state = fullState()
            state.upstreams[text] = state.upstreams["blue"]
            state.splits[text] = SplitState(
                weights: [text: 1], key: [text], force: text, assign: AssignState(cookie: text, maxAgeSeconds: .max))
            _ = try? StateRules.check(state)
            _ = try? ServerAddress(text)
            _ = try? BalanceMethod(text)
            _ = try? StateRules.check(template: text)
            _ = NginxTime.ms(text, isInSeconds: true)
            _ = NginxTime.ms(text, isInSeconds: false)
            _ = Timestamp.ms(text)
            _ = JSONPointer(text)?.tokens
            _ = try? ProxyState(json: JSON.parse(state.json(as: .journal).text()), as: .journal)
        }
    }
}
