// Owns server-side includes as text: where commands begin and end however a page is cut, what they say, what is none.

import HTTPMessage
import Testing

@Suite("server-side includes") struct SSITests {
    /// Text as it is, commands in brackets.
    private static func scan(_ pieces: [[UInt8]], valueBytesMax: Int = 256, commandBytesMax: Int = 1000) -> String {
        var scanner = SSIScanner(valueBytesMax: valueBytesMax, commandBytesMax: commandBytesMax)
        var out = ""
        var command: [UInt8] = []
        func text(_ bytes: some Collection<UInt8>) -> String { String(decoding: Array(bytes), as: UTF8.self) }
        for piece in pieces {
            var at = 0
            scanning: while true {
                switch scanner.step(piece.span, at: &at) {
                case .text(let start, let count): out += text(piece[start..<(start + count)])
                case .opening(let count): out += text(Array("<!--#".utf8)[..<count])
                case .piece(let start, let count): command += piece[start..<(start + count)]
                case .command:
                    out += "[" + text(command) + "]"
                    command = []
                case .tooLong:
                    out += "[TOO LONG]"
                    command = []
                case .needMore: break scanning
                }
            }
        }
        if case .opening(let count) = scanner.end() { out += text(Array("<!--#".utf8)[..<count]) }
        return out
    }

    private static let pages: [(page: String, scanned: String)] = [
        ("", ""),
        ("plain", "plain"),
        ("a<!--#echo var=\"x\" -->b", "a[echo var=\"x\" --]b"),
        ("<!--#else--><!--#endif-->", "[else--][endif--]"),
        ("a <!-- comment --> b", "a <!-- comment --> b"),
        ("<<!--#endif --><", "<[endif --]<"),
        ("<!--<!--#endif -->", "<!--[endif --]"),
        ("<!-<!<", "<!-<!<"),
        ("<!--# x='a --> b' y=\"--> ' \\\" -->\" -->.", "[ x='a --> b' y=\"--> ' \\\" -->\" --]."),
        ("<!--#a - -- > --->b", "[a - -- > ---]b"),
        ("<!--#never ends", ""),
        ("tail<!--", "tail<!--"),
        ("<!--#set var='v' value='" + String(repeating: "x", count: 257) + "' -->after", "[TOO LONG]after"),
        ("<!--#set var='v' value='" + String(repeating: "x", count: 256) + "' -->", "[set var='v' value='" + String(repeating: "x", count: 256) + "' --]"),
        ("<!--#" + String(repeating: " ", count: 1000) + "-->after", "[TOO LONG]after"),
    ]

    @Test func commandsAreFoundHoweverAPageIsCut() {
        for (page, scanned) in Self.pages {
            let bytes = Array(page.utf8)
            #expect(Self.scan([bytes]) == scanned, "\(page)")
            #expect(Self.scan(bytes.map { [$0] }) == scanned, "byte by byte: \(page)")
            for cut in 0...bytes.count {
                #expect(Self.scan([Array(bytes[..<cut]), Array(bytes[cut...])]) == scanned, "cut at \(cut): \(page)")
            }
        }
    }

    @Test func commands() throws {
        func parsed(_ text: String) throws -> [String: String] {
            let command = try parseSSICommand(Array((text + "--").utf8))
            return command.parameters.mapValues { String(decoding: $0, as: UTF8.self) }.merging(["": command.word.rawValue]) { a, _ in a }
        }
        #expect(try parsed("include virtual=\"/a?b=c\" wait='yes' ") == ["": "include", "virtual": "/a?b=c", "wait": "yes"])
        #expect(try parsed(" echo\n var = \"x\" default=''") == ["": "echo", "var": "x", "default": ""])
        #expect(try parsed("set var=\"a\" value=\"\\\"q\\\"\"") == ["": "set", "var": "a", "value": "\\\"q\\\""])
        #expect(try parsed("endif") == ["": "endif"])
        let faults: [(String, SSIFault)] = [
            ("", .unknownCommand), ("exec cmd='ls'", .unknownCommand), ("Echo var='a'", .unknownCommand), ("echo", .missingParameter),
            ("echo var", .badSyntax), ("echo var=a", .badSyntax), ("echo var='a", .badSyntax), ("echo var='a' x='b'", .unknownParameter),
            ("echo var='a' var='b'", .repeatedParameter), ("endif x='1'", .unknownParameter), ("echo ='a'", .badSyntax),
            ("echo var='a\\", .badSyntax),
        ]
        for (text, fault) in faults {
            #expect(throws: fault, "\(text)") { _ = try parseSSICommand(Array((text + "--").utf8)) }
        }
    }

    @Test func texts() throws {
        func parsed(_ text: String) throws -> [SSIPart] { try parseSSIText(Array(text.utf8)) }
        #expect(try parsed("plain") == [.bytes(Array("plain".utf8))])
        #expect(try parsed("a$b.${C}d$1") == [.bytes([0x61]), .variable("b"), .bytes([0x2E]), .variable("c"), .bytes([0x64]), .variable("1")])
        #expect(try parsed("\\$a\\\\\\n\\'") == [.bytes(Array("$a\\\\n'".utf8))])
        #expect(try parsed("") == [])
        for bad in ["$", "${", "${a", "${}", "$.", "a$"] { #expect(throws: SSIFault.badVariable, "\(bad)") { _ = try parsed(bad) } }
    }

    @Test func expressions() throws {
        func parsed(_ text: String) throws -> String {
            let e = try parseSSIExpression(Array(text.utf8))
            let right: String = switch e.test {
            case .isNotEmpty: ""
            case .equals(let text): "=" + String(decoding: text, as: UTF8.self)
            case .matches(let text): "~" + String(decoding: text, as: UTF8.self)
            }
            return String(decoding: e.left, as: UTF8.self) + (e.isNegated ? "!" : "") + right
        }
        #expect(try parsed("$a") == "$a")
        #expect(try parsed("$a = b c") == "$a=b c")
        #expect(try parsed("${a}b!=$c") == "${a}b!=$c")
        #expect(try parsed("$a = /x+\\/y/") == "$a~x+\\/y")
        #expect(try parsed("equal != /./") == "equal!~.")
        #expect(try parsed("$a = /") == "$a=/")
        for bad in ["$a b", "$a !", "$a ~ b", "$a = /b"] { #expect(throws: SSIFault.badExpression, "\(bad)") { _ = try parsed(bad) } }
    }

    @Test func times() {
        func text(_ format: String, _ seconds: Int64 = 784_111_777, offset: Int = 0, zone: String = "GMT") -> String {
            String(decoding: formatTime(Array(format.utf8), seconds: seconds, offsetMinutes: offset, zone: zone), as: UTF8.self)
        }
        #expect(text("%A, %d-%b-%Y %H:%M:%S %Z") == "Sunday, 06-Nov-1994 08:49:37 GMT")
        #expect(text("%A, %H:%M:%S", offset: 60) == "Sunday, 09:49:37")
        #expect(text("%e|%j|%I%p|%y|%s|%u%w|%%|%q|%") == " 6|310|08AM|94|784111777|70|%|%q|%")
        #expect(text("%Z %z", offset: -90, zone: "") == "-0130 -0130")
        #expect(text("%F %T %D %R %r %C %h %c") == "1994-11-06 08:49:37 11/06/94 08:49 08:49:37 AM 19 Nov Sun Nov  6 08:49:37 1994")
        #expect(text(String(repeating: "%s", count: 5000)).count <= 1100)
    }
}
