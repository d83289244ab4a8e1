import ConfigurationFile
import Testing

@Suite struct PrinterTests {
    @Test func theTextIsIndentedAndQuotedWhereItMustBe() throws {
        let text = ##"a{b "c d" e\;f 'g' "" ${h}; i \"j k\\ "}" "\#l";m{}} n #"## + "\n;"
        let tree = try parse(Array(text.utf8), file: "x")
        let expected = ##"""
            a {
              b "c d" e\;f "g" "" ${h};
              i "\"j" "k\\" "}" "\\#l";
              m {
              }
            }
            n;

            """##
        #expect(String(decoding: Printer(indentation: 2).text(tree), as: UTF8.self) == expected)
    }

    @Test func theSampleComesBackAsItWas() throws {
        let tree = try parse(Array(sample.utf8), file: "x")
        let text = Printer().text(tree)
        let again = try parse(text, file: "y")
        #expect(again == tree)
        #expect(shape(again) == shape(tree))
        #expect(Printer().text(again) == text)
    }

    @Test func anyWordComesBackAsItWas() throws {
        let bytes = Array(" \t\r\n;{}\"'\\#$()atrn".utf8) + [0, 0x7F, 0x80, 0xEF, 0xBB, 0xBF, 0xFF]
        var words: [[UInt8]] = [[]] + bytes.map { [$0] }
        for a in bytes { for b in bytes { words.append([a, b]) } }
        for a in bytes { for b in bytes { for c in bytes { words.append([a, b, c]) } } }
        let place = Position(file: "x")
        let directives = words.flatMap { bytes in
            let bare = Word(bytes, position: place)
            let quoted = Word(bytes, position: place, isQuoted: true)
            return [Directive(name: bare, arguments: [quoted, bare]), Directive(name: quoted, arguments: [bare], block: [])]
        }
        #expect(try parse(Printer().text(directives), file: "y", limits: ConfigurationLimits()) == directives)
    }

    @Test func anyTreeComesBackAsItWas() throws {
        var dice = Dice(state: 7)
        for _ in 0..<500 {
            let tree = Self.tree(depth: 4, &dice)
            #expect(try parse(Printer().text(tree), file: "y") == tree)
        }
    }

    private static func tree(depth: Int, _ dice: inout Dice) -> [Directive] {
        (0..<Int.random(in: 0...3, using: &dice)).map { _ in
            var directive = Directive(
                name: word(&dice), arguments: (0..<Int.random(in: 0...3, using: &dice)).map { _ in word(&dice) })
            if depth > 0, Bool.random(using: &dice) { directive.block = tree(depth: depth - 1, &dice) }
            return directive
        }
    }

    private static func word(_ dice: inout Dice) -> Word {
        let bytes = (0..<Int.random(in: 0...8, using: &dice)).map { _ in UInt8.random(in: 0...255, using: &dice) }
        return Word(bytes, position: Position(file: "x"), isQuoted: Bool.random(using: &dice))
    }
}
