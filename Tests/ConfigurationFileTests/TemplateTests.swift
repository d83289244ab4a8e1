import ConfigurationFile
import Testing

@Suite struct TemplateTests {
    private func literal(_ text: String) -> TemplatePart { .literal(Array(text.utf8)) }

    @Test func aWordIsSplitIntoLiteralsAndVariables() throws {
        let cases: [(String, [TemplatePart])] = [
            ("", []),
            ("abc", [literal("abc")]),
            ("$a", [.variable("a")]),
            ("${a}", [.variable("a")]),
            ("x$a-y", [literal("x"), .variable("a"), literal("-y")]),
            ("$a$b${c}d", [.variable("a"), .variable("b"), .variable("c"), literal("d")]),
            ("$A_9z.", [.variable("A_9z"), literal(".")]),
            ("$1", [.capture(1)]),
            ("$12", [.capture(1), literal("2")]),
            ("/$9$1", [literal("/"), .capture(9), .capture(1)]),
            ("$0", [.variable("0")]),
            ("${1}", [.variable("1")]),
            ("{a}}", [literal("{a}}")]),
            (
                "http://${name}_app:80$request_uri",
                [
                    literal("http://"), .variable("name"), literal("_app:80"), .variable("request_uri"),
                ]
            ),
            ("$aé", [.variable("a"), literal("é")]),
        ]
        for (text, expected) in cases { #expect(try word(text).template(of: "d") == expected, "\(text)") }
        #expect(word("a$").hasVariables && !word("a").hasVariables)
    }

    @Test(arguments: [
        ("$", "invalid variable name in x:1:1"), ("a$", "invalid variable name in x:1:1"),
        ("$$a", "invalid variable name in x:1:1"), ("$-", "invalid variable name in x:1:1"),
        ("${", "invalid variable name in x:1:1"), ("${}", "invalid variable name in x:1:1"),
        ("$é", "invalid variable name in x:1:1"),
        ("${a", #"the closing bracket in "a" variable is missing in x:1:1"#),
        ("${a-b}", #"the closing bracket in "a" variable is missing in x:1:1"#),
        ("${-", #"the closing bracket in "" variable is missing in x:1:1"#),
    ])
    func whatIsNoVariableIsRefused(_ text: String, _ expected: String) {
        #expect(told { try word(text).template(of: "d") } == expected)
        do { _ = try word(text).template(of: "d") } catch { #expect(error.directive == "d" && error.found.hasPrefix("$")) }
    }
}
