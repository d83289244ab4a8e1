// Tests that YAML is read as the JSON it stands for, that its places are told, and that no text gets past the bounds.

import AdminAPI
import Testing

@testable import proxyctl

@Suite("YAML")
struct YAMLTests {
    private func read(_ text: String) throws -> YAMLDocument { try YAMLDocument.read(Array(text.utf8), file: "a.yaml") }

    private func refusal(_ text: String, _ limits: YAMLLimits = YAMLLimits()) -> String? {
        do throws(Failure) {
            _ = try YAMLDocument.read(Array(text.utf8), file: "a.yaml", limits: limits)
            return nil
        } catch {
            return error.text
        }
    }

    @Test(
        arguments: [
            ("", "null"), ("# only words\n", "null"), ("a: 1", #"{"a":1}"#), ("a: -2.5", #"{"a":-2.5}"#),
            ("- a\n- [b, c]", #"["a",["b","c"]]"#),
            ("a: yes\nb: on\nc: true\nd: False", #"{"a":"yes","b":"on","c":true,"d":false}"#),
            ("a: 012\nb: 0x1f\nc: 1_000\nd: .5\ne: 12:30", #"{"a":"012","b":"0x1f","c":"1_000","d":".5","e":"12:30"}"#),
            ("a: ~\nb:\nc: null\nd: ''", #"{"a":null,"b":null,"c":null,"d":""}"#),
            ("a: \"1\"\nb: '2'\nc: !!str 3", #"{"a":"1","b":"2","c":"3"}"#),
            ("a: |\n  one\n  two\nb: >-\n  one\n  two", #"{"a":"one\ntwo\n","b":"one two"}"#),
            ("1: a\ntrue: b", #"{"1":"a","true":"b"}"#),
            ("a: &x {b: 1}\nc: *x", #"{"a":{"b":1},"c":{"b":1}}"#),
            ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", #"{"a":{"b":1,"c":2},"d":{"c":3,"b":1}}"#),
            ("{a: {<<: [{b: 1}, {b: 2, c: 3}]}}", #"{"a":{"b":1,"c":3}}"#),
        ])
    func standsFor(yaml: String, json: String) throws {
        #expect(try read(yaml).json.text(pretty: false) == json)
    }

    @Test func placesAreThoseOfTheFile() throws {
        let document = try read(
            "services:\n  api:\n    # words\n    health:\n      tries: many\n      url: /x\n    ports: [1, two]\n")
        #expect(document.place("/services/api/health/tries") == YAMLDocument.Place(line: 5, column: 14))
        #expect(document.place("/services/api/health/tries", isKey: true) == YAMLDocument.Place(line: 5, column: 7))
        #expect(document.place("/services/api/ports/1") == YAMLDocument.Place(line: 7, column: 16))
        // What is not there is looked for around the place where it should be.
        #expect(document.place("/services/api/split/name") == YAMLDocument.Place(line: 4, column: 5))
        let unknown = Problem(.unknownField, "found \"tries\"", pointer: "/services/api/health/tries")
        #expect(document.failure(unknown).text == "a.yaml:5:7: found \"tries\"")
        let wrong = Problem(
            .wrongType, "found \"many\", expected a whole number", hint: "write 5", pointer: "/services/api/health/tries")
        #expect(document.failure(wrong).text == "a.yaml:5:14: found \"many\", expected a whole number")
        #expect(document.failure(wrong).hint == "write 5")
        #expect(document.failure(Problem(.conflict, "no place")).text == "a.yaml: no place")
    }

    @Test(
        arguments: [
            ("a: 1\nb: [1, 2\n", "a.yaml:3:1: "), ("a: 1\n  b: 2", "a.yaml:2:4: "),
            ("a: 1\nb: 2\na: 3", "a.yaml:1:1: the key a is given twice"),
            ("a: *x", "a.yaml:1:4: found undefined alias"), ("a: !!set {b}", "a.yaml:1:4: found the tag"),
            ("a: !mine b", "a.yaml:1:4: found the tag"),
            ("[a, b]: c", "a.yaml:1:1: expected a word as a key"), ("a: 1\n---\nb: 2", "a.yaml:2:1: but found another document"),
            ("a: {<<: 1}", "a.yaml:1:9: << takes a mapping"), ("a:\tb: c\n\tx", "a.yaml:"), ("a: \u{7}", "a.yaml:1: "),
        ])
    func refuses(yaml: String, start: String) {
        let text = refusal(yaml)
        #expect(text?.hasPrefix(start) == true, "\(text ?? "taken")")
    }

    @Test func boundsHold() {
        var limits = YAMLLimits()
        limits.bytesMax = 10
        #expect(refusal("a: 12345678", limits) == "a.yaml: found 11 bytes, expected at most 10")
        #expect(refusal(String(repeating: "[", count: 100_000))?.hasSuffix("nested too deeply") == true)
        #expect(
            refusal((0..<100).map { String(repeating: " ", count: $0) + "a:\n" }.joined())?.hasSuffix("nested too deeply") == true
        )
        #expect(refusal(String(repeating: "- ", count: 100_000)) != nil)
        #expect((try? YAMLDocument.read([0x61, 0xff], file: "a.yaml")) == nil)
        // Nine lists of nine aliases each: 387 million values in 200 bytes.
        var laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        for i in 1...9 { laughs += "a\(i): &a\(i) [" + Array(repeating: "*a\(i - 1)", count: 9).joined(separator: ",") + "]\n" }
        #expect(refusal(laughs)?.hasSuffix("found more than 100000 values, with aliases followed") == true)
    }

    /// What is cut or changed anywhere is read or refused.
    @Test func noTextCrashesIt() {
        let text = Array(
            "a: &x {b: [1, \"\\u00e4\", 'c'], ? d : |\n  e\n}\n<<: *x\nf: >-\n  g\n  h\n- !!str i\n%TAG ! tag:x\n--- j\n".utf8)
        for i in text.indices {
            _ = try? YAMLDocument.read(Array(text[..<i]), file: "a.yaml")
            for byte in Array("[{*&!|>'\"%@-: \n\t\0".utf8) + [0x80, 0xff] {
                var changed = text
                changed[i] = byte
                _ = try? YAMLDocument.read(changed, file: "a.yaml")
            }
        }
    }
}
