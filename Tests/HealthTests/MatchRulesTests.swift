import Health
import Testing

/// What an answer is held against, and the words in which it is refused.
@Suite struct MatchRulesTests {
    /// Expressions are texts that must stand somewhere.
    private func judge(_ rules: MatchRules, _ answer: CheckAnswer, _ texts: [String] = []) -> String? {
        let matching: MatchRules.Matching = { number, bytes in String(decoding: bytes, as: UTF8.self).contains(texts[number]) }
        return rules.objectionToHead(answer, matching) ?? rules.objectionToBody(answer.body, matching)
    }

    private func answer(_ status: Int, _ fields: [(String, String)] = [], _ body: String = "") -> CheckAnswer {
        CheckAnswer(status: status, fields: fields.map { ($0.0, Array($0.1.utf8)[...]) }, body: Array(body.utf8)[...])
    }

    @Test func withoutAMatchAllBelow400AreWell() {
        for status in [200, 204, 301, 399] { #expect(judge(.usual, answer(status)) == nil) }
        #expect(judge(.usual, answer(503)) == "expected status 200-399, found 503")
        #expect(judge(.usual, answer(199)) != nil)
    }

    @Test func statusesAreRangesAndRefusals() {
        var rules = MatchRules()
        rules.status = StatusRule(accepted: [200...299], refused: [204...204])
        #expect(judge(rules, answer(200)) == nil)
        #expect(judge(rules, answer(204)) == "expected status 200-299 !204, found 204")
        rules.status = StatusRule(refused: [500...599])
        #expect(judge(rules, answer(404)) == nil)
        #expect(judge(rules, answer(503)) == "expected status !500-599, found 503")
    }

    @Test func fields() {
        func check(_ rule: FieldRule, _ fields: [(String, String)]) -> String? {
            var rules = MatchRules()
            rules.fields = [rule]
            return judge(rules, answer(500, fields), ["html"])
        }
        let html = [("content-type", "text/html")]
        #expect(check(FieldRule("Content-Type"), html) == nil)
        #expect(check(FieldRule("Content-Type"), []) == "expected a field \"content-type\", found none")
        #expect(check(FieldRule("Content-Type", isAbsent: true), html) == "expected no field \"content-type\", found one")
        #expect(check(FieldRule("Content-Type", isAbsent: true), []) == nil)
        #expect(check(FieldRule("Content-Type", .equals("text/html")), html) == nil)
        #expect(check(FieldRule("Content-Type", .equals("text/plain")), html) == "expected field \"content-type\" = text/plain, found \"text/html\"")
        #expect(check(FieldRule("Content-Type", .equals("text/plain")), []) != nil)
        #expect(check(FieldRule("Content-Type", .differs("text/html")), html) != nil)
        #expect(check(FieldRule("Content-Type", .differs("text/html")), []) == nil)
        #expect(check(FieldRule("Content-Type", .matches(0, pattern: "html")), html) == nil)
        #expect(check(FieldRule("Content-Type", .misses(0, pattern: "html")), html) == "expected field \"content-type\" !~ html, found \"text/html\"")
    }

    @Test func bodies() {
        var rules = MatchRules()
        rules.bodies = [.matches(0, pattern: "ok"), .misses(1, pattern: "maintenance")]
        #expect(rules.needsBody && !MatchRules.usual.needsBody)
        let texts = ["ok", "maintenance"]
        #expect(judge(rules, answer(200, [], "all ok"), texts) == nil)
        #expect(judge(rules, answer(200, [], "ok, maintenance\n"), texts) == "expected a body !~ maintenance, found \"ok, maintenance?\"")
        #expect(judge(rules, answer(200, [], String(repeating: "x", count: 100)), texts) == "expected a body ~ ok, found \"\(String(repeating: "x", count: 64))...\"")
    }

    @Test func greetings() {
        var rules = MatchRules()
        func greeting(_ text: String, isWhole: Bool = false) -> MatchRules.Greeting {
            rules.greeting(Array(text.utf8)[...], isWhole: isWhole) { _, bytes in String(decoding: bytes, as: UTF8.self).contains("200 OK") }
        }
        #expect(greeting("anything") == .good)
        rules.expect = .equals("+PONG")
        #expect(greeting("+PO") == .needMore)
        #expect(greeting("+PONG\r\n") == .good)
        #expect(greeting("+PO", isWhole: true) == .bad("expected to be told = +PONG, found \"+PO\""))
        #expect(greeting("-ERR") == .bad("expected to be told = +PONG, found \"-ERR\""))
        rules.expect = .isBytes([0x4A, 0xFF, 0, 1])
        #expect(rules.greeting([0x4A, 0xFF], isWhole: false) { _, _ in false } == .needMore)
        #expect(rules.greeting([0x4A, 0xFF, 0, 1, 9], isWhole: false) { _, _ in false } == .good)
        #expect(greeting("J\u{FFFD}\0\u{1}") == .bad("expected to be told = J\\xff\\x00\\x01, found \"J\u{FFFD}??\""))
        rules.expect = .matches(0, pattern: "200 OK")
        #expect(greeting("HTTP/1.1 ") == .needMore)
        #expect(greeting("HTTP/1.1 200 OK") == .good)
        if case .bad = greeting("HTTP/1.1", isWhole: true) {} else { Issue.record("the end is there") }
    }

    @Test func grpc() {
        #expect(GRPCHealth.question("") == [0, 0, 0, 0, 0])
        #expect(GRPCHealth.question("shop.Cart") == [0, 0, 0, 0, 11, 10, 9] + Array("shop.Cart".utf8))
        let long = GRPCHealth.question(String(repeating: "x", count: 200))
        #expect(Array(long[..<8]) == [0, 0, 0, 0, 203, 10, 200, 1] && long.count == 208)
        func objection(_ message: [UInt8], status: Int? = 0, http: Int = 200, expected: Int? = nil) -> String? {
            GRPCHealth.objection(httpStatus: http, status: status, message: message, expected: expected)
        }
        #expect(objection([0, 0, 0, 0, 2, 8, 1]) == nil)
        #expect(objection([0, 0, 0, 0, 2, 8, 2]) == "expected SERVING, found NOT_SERVING")
        #expect(objection([0, 0, 0, 0, 0]) == "expected SERVING, found UNKNOWN")
        // Fields of a later version are passed over.
        #expect(objection([0, 0, 0, 0, 11, 18, 2, 7, 7, 8, 1, 29, 0, 0, 0, 0]) == nil)
        for bad: [UInt8] in [[], [1, 0, 0, 0, 0], [0, 0, 0, 0, 9, 8, 1], [0, 0, 0, 0, 1, 8], [0, 0, 0, 0, 2, 15, 1], [0, 0, 0, 0, 2, 18, 200]] {
            #expect(objection(bad) == "expected an answer of grpc.health.v1, found something else")
        }
        #expect(objection([], status: 12) == "expected grpc-status 0, found 12")
        #expect(objection([], status: 12, expected: 12) == nil)
        #expect(objection([], status: nil) == "expected a grpc-status, found none")
        #expect(objection([], http: 404) == "expected HTTP status 200, found 404")
    }
}
