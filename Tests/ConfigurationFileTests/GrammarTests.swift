import ConfigurationFile
import Testing

@Suite struct GrammarTests {
    @Test(arguments: [
        ("", ""),
        (" \t\r\n# only a comment", ""),
        ("#;{}\"'\na;", "[a];"),
        ("a;", "[a];"),
        ("a b  c\t\r\nd ;", "[a][b][c][d];"),
        ("a;b;", "[a];[b];"),
        ("a{}", "[a]{}"),
        ("a { b; c d {e;} } f;", "[a]{[b];[c][d]{[e];}}[f];"),
        // Comments begin only where a word could.
        ("a b#c; #d;\n", "[a][b#c];"),
        ("a b # c;\n d;", "[a][b][d];"),
        ("a;#b", "[a];"),
        // Quotes: only at the start of a word; the other quote is an ordinary byte.
        (#"a "b c" 'd;{}#';"#, #"[a]["b c"]["d;{}#"];"#),
        (#"a "it's" 'a "b"';"#, #"[a]["it's"]["a "b""];"#),
        (#"a b"c d"e;"#, #"[a][b"c][d"e];"#),
        (#"a "" '';"#, #"[a][""][""];"#),
        (#""a" "b"{"c";}"#, #"["a"]["b"]{["c"];}"#),
        ("a \"b\nc\";", "[a][\"b\nc\"];"),
        // A closing bracket may follow a quote: it begins the next word.
        (#"if ($a = "b") {}"#, #"[if][($a][=]["b"][)]{}"#),
        // Escapes, in quotes and out of them.
        (#"a "\"\'\\";"#, #"[a][""'\"];"#),
        (#"a \"\'\\;"#, #"[a]["'\];"#),
        (#"a "\t\r\n" \t\r\n;"#, "[a][\"\t\r\n\"][\t\r\n];"),
        (#"a "\d\.\$\{" \d\.\;b;"#, #"[a]["\d\.\$\{"][\d\.\;b];"#),
        (#"a b\ c \{;"#, #"[a][b\ c][\{];"#),
        (#"a "\\\\" "\\"";"#, #"x"#),
        // Variables: a brace after a dollar opens no block.
        ("a ${b} $b{}", "[a][${b}][$b]{}"),
        ("a x${b}y${c};", "[a][x${b}y${c}];"),
        ("a ${{{;", "[a][${{{];"),
        ("a $ {}", "[a][$]{}"),
        (#"a $\{;}"#, #"x"#),
        // A closing brace closes only where a word could begin.
        ("a{b c};}", "[a]{[b][c}];}"),
        ("a }b;", "x"),
        // Blocks with words of their own.
        ("map $a $b { default 0; ~*^x$ 1; \"\" 2; *.c 3; }", "[map][$a][$b]{[default][0];[~*^x$][1];[\"\"][2];[*.c][3];}"),
        ("types { text/html html htm; }", "[types]{[text/html][html][htm];}"),
    ])
    func wordsAndBlocks(_ text: String, _ expected: String) {
        if expected == "x" {
            #expect(outcome(text).contains(" in x:1:"), "\(text)")
        } else {
            #expect(outcome(text) == expected, "\(text)")
        }
    }

    @Test(arguments: [
        (";", #"unexpected ";" in x:1:1"#),
        ("a;;", #"unexpected ";" in x:1:3"#),
        ("a;\n {", #"unexpected "{" in x:2:2"#),
        ("a { { } }", #"unexpected "{" in x:1:5"#),
        ("}", #"unexpected "}" in x:1:1; no block is open here"#),
        ("a {}\n}", #"unexpected "}" in x:2:1; no block is open here"#),
        ("a {\n b\n}", #"unexpected "}" in x:3:1; "b" at line 2 is not ended by ";""#),
        (#"a "b"c;"#, #"unexpected "c" in x:1:6; a quoted word ends at its closing quote: quote the whole word"#),
        (#"a "b"}"#, #"unexpected "}" in x:1:6; a quoted word ends at its closing quote: quote the whole word"#),
        (#"a 'b'#;"#, ##"unexpected "#" in x:1:6; a quoted word ends at its closing quote: quote the whole word"##),
        (#"a """;"#, #"unexpected """ in x:1:5; a quoted word ends at its closing quote: quote the whole word"#),
        ("a \"\"\u{1}", #"unexpected "\x01" in x:1:5; a quoted word ends at its closing quote: quote the whole word"#),
        ("a \"\"é;", #"unexpected "é" in x:1:5; a quoted word ends at its closing quote: quote the whole word"#),
        ("a", #"unexpected end of file, expecting ";" or "}" in x:1:2; "a" at line 1 is not ended by ";""#),
        ("a b\n", #"unexpected end of file, expecting ";" or "}" in x:2:1; "a" at line 1 is not ended by ";""#),
        (#"a "b""#, #"unexpected end of file, expecting ";" or "}" in x:1:6; "a" at line 1 is not ended by ";""#),
        ("a \\", #"unexpected end of file, expecting ";" or "}" in x:1:4; "a" at line 1 is not ended by ";""#),
        ("a # b;", #"unexpected end of file, expecting ";" or "}" in x:1:7; "a" at line 1 is not ended by ";""#),
        (
            "a;\nb \"c;\nd;",
            #"unexpected end of file, expecting ";" or "}" in x:3:3; the " at line 2, column 3 is not closed"#
        ),
        (#"a 'b\'"#, #"unexpected end of file, expecting ";" or "}" in x:1:7; the ' at line 1, column 3 is not closed"#),
        ("a {", #"unexpected end of file, expecting "}" in x:1:4; the block of "a" at line 1 is not closed"#),
        (
            "http {\n server {\n listen 80;\n }\n",
            #"unexpected end of file, expecting "}" in x:5:1; the block of "http" at line 1 is not closed"#
        ),
        (
            "\u{FEFF}user a;",
            "unexpected byte order mark in x:1:1; save the file as UTF-8 without a byte order mark"
        ),
    ])
    func whatIsNoGrammarIsNamedWithItsPlace(_ text: String, _ expected: String) { #expect(outcome(text) == expected) }

    @Test func everyWordAndBraceKnowsItsPlace() throws {
        let text = "a  b {\n\tc \"d\ne\" f;\n  é g;\n} h;"
        let tree = try parse(Array(text.utf8), file: "dir/x.conf")
        func place(_ p: Position?) -> String { p.map { "\($0)" } ?? "" }
        #expect(place(tree[0].position) == "dir/x.conf:1:1")
        #expect(place(tree[0].arguments[0].position) == "dir/x.conf:1:4")
        let inner = try #require(tree[0].block)
        #expect(place(inner[0].position) == "dir/x.conf:2:2")
        #expect(place(inner[0].arguments[0].position) == "dir/x.conf:2:4")
        #expect(place(inner[0].arguments[1].position) == "dir/x.conf:3:4")
        // Columns count bytes.
        #expect(place(inner[1].arguments[0].position) == "dir/x.conf:4:6")
        #expect(place(tree[0].blockEnd) == "dir/x.conf:5:1")
        #expect(place(tree[1].position) == "dir/x.conf:5:3")
        #expect(tree[1].block == nil && tree[1].blockEnd == nil)
    }

    @Test func bytesThatAreNoTextStayAsTheyAre() throws {
        let bytes: [UInt8] = Array("a ".utf8) + [0xFF, 0x00, 0xC3] + Array(" \"".utf8) + [0x80, 0x20] + Array("\";".utf8)
        let tree = try parse(bytes, file: "x")
        #expect(tree[0].arguments.map(\.bytes) == [[0xFF, 0x00, 0xC3], [0x80, 0x20]])
        #expect(tree[0].arguments[0].shown == #"\xFF\x00\xC3"#)
    }

    @Test func theSampleIsReadWhole() throws {
        let tree = try parse(Array(sample.utf8), file: "x")
        #expect(tree.map(\.name.text) == ["user", "events", "http"])
        let http = try #require(tree[2].block)
        #expect(http[0].arguments[1].text == #"$remote_addr - "$request" '$status'"#)
        #expect(http[1].block?.map(\.name.text) == ["default", #"~*\.(png|jpg)$"#, #"~^/(?<x>\d{2})/"#])
        let server = try #require(http[3].block)
        #expect(server.map(\.name.text) == ["listen", "server_name", "location", "location", "if"])
        #expect(server[3].arguments[0].text == "/b")
        #expect(server[3].block?[0].arguments[0].text == "http://${name}_app:80$request_uri")
    }

    @Test func aParameterIsSplitAtItsFirstEqualsSign() throws {
        let tree = try parse(Array("server a:80 weight=5 \"x=y=z\" backup;".utf8), file: "x")
        let words = tree[0].arguments
        #expect(words[0].parameter == nil && words[3].parameter == nil)
        let weight = try #require(words[1].parameter)
        #expect(weight.name == "weight" && weight.value == "5" && weight.value.position.column == 20)
        let quoted = try #require(words[2].parameter)
        #expect(quoted.name == "x" && quoted.value == "y=z" && quoted.value.position.column == 25)
    }
}
