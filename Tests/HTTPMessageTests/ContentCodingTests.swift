// Owns what Accept-Encoding says of gzip, how a Content-Type is taken apart, and recoding by the tables of charset_map.

import Bytes
import HTTPMessage
import Testing

@Suite("content codings and charsets")
struct ContentCodingTests {
    @Test(
        "gzip is welcome",
        arguments: [
            "gzip", "GZIP", "gzip, deflate", "gzip,deflate", "deflate, gzip", "deflate,gzip", "gzip;q=1", "gzip;q=1.0",
            "gzip;q=1.000",
            "gzip;q=0.001", "gzip; q=0.5", "gzip ; Q=0.5", "gzip;q=0.5, br", "identity;q=1, gzip;q=0.1", "gzip;",
            "gzip;q=1,deflate",
            "xgzip, gzip", "br;q=1.0 gzip",
        ])
    func welcome(_ value: String) { #expect(accepts(value)) }

    @Test(
        "gzip is not welcome",
        arguments: [
            "", "gzi", "deflate", "*", "identity", "x-gzip", "xgzip", "gzipx", "gzip;q=0", "gzip;q=0.0", "gzip;q=0.000",
            "gzip;q=2", "gzip;q=",
            "gzip;q=0.0001", "gzip;q=1.5", "gzip;q=1.001", "gzip;q=a", "gzip;q=.5", "gzip;x=1", "gzip;q", "gzip;q=0, deflate",
            "gzip;q=0,gzip;q=1",
            "gzip=1", "gzip;q=0.a",
        ])
    func unwelcome(_ value: String) { #expect(!accepts(value)) }

    @Test func anEndAnywhereIsNoCrash() {
        let value = "deflate ; q=0.5 , gzip ; q=0.25 , *;q=0"
        for n in 0...value.utf8.count { _ = accepts(String(value.prefix(n))) }
    }

    private func accepts(_ value: String) -> Bool { acceptsGzip(Array(value.utf8).span) }

    @Test(
        "a Content-Type is taken apart",
        arguments: [
            ("text/html", "text/html", ""), ("text/html; charset=A", "text/html", "A"),
            ("text/html;charset=\"utf-8\"", "text/html", "utf-8"),
            ("a/b; x=y; Charset=c", "a/b; x=y", "c"), ("a/b; x=y", "a/b; x=y", ""), ("a/b; charset=", "a/b", ""),
            ("a/b;", "a/b;", ""),
            ("a/b; charset=\"", "a/b", ""), ("", "", ""),
        ])
    func parts(value: String, type: String, charset: String) {
        let arena = Arena()
        let parts = MediaTypeParts(arena.freeze(value))
        #expect(parts.type.string == type)
        #expect(parts.charset.string == charset)
    }

    @Test(
        "directives of Cache-Control",
        arguments: [
            ("no-cache", "no-cache", true), ("private, no-cache", "no-cache", true), ("No-Cache", "no-cache", true),
            ("private=\"x\"", "private", true),
            ("x-no-cache", "no-cache", false), ("no-cachex", "no-cache", false), ("", "no-cache", false),
            ("max-age=5 , no-store", "no-store", true),
        ])
    func directives(value: String, name: String, isThere: Bool) {
        let arena = Arena()
        #expect(namesDirective(arena.freeze(value), arena.freeze(name)) == isThere)
    }

    // MARK: Recoding

    /// In pieces of `size` bytes, through an output that is nearly always full.
    private func recode(_ text: [UInt8], _ table: CharsetTable, pieces size: Int) -> [UInt8] {
        let arena = Arena()
        var recoder = CharsetRecoder(table)
        var result: [UInt8] = []
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 20)
        let place = UnsafeMutablePointer<ByteWriter>.allocate(capacity: 1)
        place.initialize(to: ByteWriter(memory, capacity: 20))
        defer {
            memory.deallocate()
            place.deallocate()
        }
        let output = Ref(place)
        for at in stride(from: 0, to: text.count, by: size) {
            let piece = arena.freeze(bytes: text[at..<min(at + size, text.count)])
            var offset = 0
            while offset < piece.count {
                output.value.reset()
                recoder.recode(piece, at: &offset, into: output)
                #expect(!output.overflowed)
                result += output.view.buffer
            }
        }
        return result
    }

    @Test(arguments: 1...7)
    func everyCutGivesTheSameText(size: Int) {
        let arena = Arena()
        let koi: [(byte: UInt8, text: [UInt8])] = [
            (0xC1, Array("а".utf8)), (0xC2, Array("б".utf8)), (0x80, Array("─".utf8)), (0x2A, Array("*".utf8)),
        ]
        let there = CharsetTable(toUTF8: koi, arena: arena)
        let back = CharsetTable(fromUTF8: koi.map { (utf8Point($0.text) ?? 0, $0.byte) }, arena: arena)
        #expect(recode([0x41, 0xC1, 0xC2, 0x80, 0xFF, 0x42], there, pieces: size) == Array("Aаб─?B".utf8))
        #expect(recode(Array("Aаб─B".utf8), back, pieces: size) == [0x41, 0xC1, 0xC2, 0x80, 0x42])
        #expect(String(decoding: recode(Array("xв😀y".utf8), back, pieces: size), as: UTF8.self) == "x&#1074;&#128512;y")
        #expect(!there.keepsLength && !back.keepsLength)
    }

    @Test(
        "what is no UTF-8 becomes question marks",
        arguments: [
            ([0x41, 0xFF, 0x42], "A?B"), ([0x80, 0x42], "?B"), ([0xC3, 0x42], "?B"), ([0xE2, 0x82, 0x42], "?B"),
            ([0xC0, 0xAF], "??"),
            ([0xE0, 0x80, 0x80], "?"), ([0xF4, 0x90, 0x80, 0x80], "?"), ([0xC3], ""), ([0xC3, 0xC3, 0xA4], "?&#228;"),
            ([0xF5], "?"),
        ] as [([UInt8], String)])
    func broken(bytes: [UInt8], text: String) {
        let arena = Arena()
        let table = CharsetTable(fromUTF8: [], arena: arena)
        for size in 1...4 { #expect(String(decoding: recode(bytes, table, pieces: size), as: UTF8.self) == text) }
    }

    @Test func bytesBecomeBytes() {
        let arena = Arena()
        let table = CharsetTable(bytes: [(0x58, 0x59), (0xE4, 0x61)], arena: arena)
        #expect(recode([0x58, 0x59, 0xE4, 0xE5, 0], table, pieces: 2) == [0x59, 0x59, 0x61, 0x3F, 0])
        #expect(table.keepsLength)
    }
}
