import ConfigurationFile
import Testing

/// Whatever the bytes are: an answer, on one line when it is a refusal, and a tree that can be written and read again.
private func check(_ bytes: [UInt8]) {
    do {
        let tree = try parse(bytes, file: "x")
        let text = Printer().text(tree)
        if (try? parse(text, file: "y")) != tree { Issue.record("another tree comes back for \(bytes)") }
        for directive in tree {
            for word in directive.arguments {
                _ = try? word.template(of: "a")
                _ = try? word.milliseconds(of: "a")
            }
        }
    } catch {
        let text = error.description
        let isOneLine = text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
        #expect(isOneLine && text.contains(" in x:"), "\(text)")
        #expect(error.position.line >= 1 && error.position.column >= 1)
    }
}

@Suite struct HostileInputTests {
    @Test func aFileCutAtAnyByteIsAnswered() {
        let bytes = Array(sample.utf8)
        for end in 0...bytes.count { check(Array(bytes[..<end])) }
    }

    @Test func anyByteAtAnyPlaceIsAnswered() {
        let bytes = Array("a 'b' \"c\\\"\" ${d}{ e; #\n}".utf8)
        for place in 0...bytes.count {
            for byte in UInt8.min...UInt8.max {
                check(Array(bytes[..<place]) + [byte] + Array(bytes[place...]))
                if place < bytes.count { check(Array(bytes[..<place]) + [byte] + Array(bytes[(place + 1)...])) }
            }
        }
    }

    @Test func randomPiecesOfGrammarAreAnswered() {
        let pieces = ["a", " ", ";", "{", "}", "\"", "'", "\\", "#", "\n", "$", "${", ")", "é", "\0", "\\n", "include", "\t"]
        var dice = Dice(state: 1)
        for _ in 0..<20_000 {
            let text = (0..<Int.random(in: 1...14, using: &dice)).map { _ in pieces.randomElement(using: &dice) ?? "" }.joined()
            check(Array(text.utf8))
        }
    }

    @Test func aShownTextIsOneLineAndCut() {
        #expect(printable("a\nb\tc\r\u{7}\u{2028}\u{202E}é€𝄞".utf8) == #"a\nb\tc\r\x07\xE2\x80\xA8\xE2\x80\xAEé€𝄞"#)
        #expect(printable([0xC3, 0x28, 0xE2, 0x82]) == #"\xC3(\xE2\x82"#)
        #expect(printable("abcdef".utf8, bytesMax: 3) == "abc...")
        #expect(printable("abc".utf8, bytesMax: 3) == "abc")
    }
}
