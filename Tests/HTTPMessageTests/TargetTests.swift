import HTTPMessage
import Testing

/// Lets `write` fill memory against an unreadable page; the text it wrote, or nil.
private func written(_ count: Int, _ write: (inout MutableSpan<UInt8>) -> Int?) -> String? {
    var storage = [UInt8](repeating: 0, count: count)
    var output = storage.mutableSpan
    guard let n = write(&output) else { return nil }
    return String(decoding: storage[..<n], as: UTF8.self)
}

private func normalized(_ raw: String, merge: Bool = true) -> String? {
    let memory = GuardedMemory()
    let bytes = Array(raw.utf8)
    return written(bytes.count + 1) { output in memory.atEnd(bytes) { normalizePath($0, mergeSlashes: merge, into: &output) } }
}

private let paths: [(raw: String, expected: String?)] = [
    ("/", "/"), ("", "/"), ("/a/b", "/a/b"), ("a/b", "/a/b"), ("/a/b/", "/a/b/"),
    ("//", "/"), ("/a//b", "/a/b"), ("///a////", "/a/"), ("/a/%2Fb", "/a/b"), ("%2f%2F", "/"),
    ("/.", "/"), ("/./", "/"), ("/a/.", "/a/"), ("/a/./b", "/a/b"), ("/a/.b", "/a/.b"), ("/a/b.", "/a/b."), ("/a/...", "/a/..."),
    ("/a/..", "/"), ("/a/../", "/"), ("/a/../b", "/b"), ("/a/b/..", "/a/"), ("/a/b/../../c", "/c"), ("/a/..b", "/a/..b"),
    ("/a//../b", "/b"), ("/a/.//..//b", "/b"), ("/a/%2e%2E/b", "/b"), ("/a/.%2e", "/"), ("/%2e", "/"), ("/a%2f..%2fb", "/b"),
    ("/..", nil), ("/../a", nil), ("/a/../..", nil), ("/a/../../b", nil), ("/%2e%2e/a", nil), ("/./../a", nil), ("..", nil),
    ("/%", nil), ("/%1", nil), ("/%g1", nil), ("/%1g", nil), ("/%%41", nil), ("/%00", nil), ("/a%00b", nil),
    ("/%41%7e", "/A~"), ("/%c3%A9", "/é"), ("/%25%32%35", "/%25"), ("/%2541", "/%41"), ("/%3f%23", "/?#"), ("/%20+", "/ +"),
    ("/%02", "/\u{2}"), ("/a%3f/../b", "/b"), ("/..%23", "/..#"), ("/.%3F", "/.?"),
    ("/a#b", "/a"), ("/a/..#b", "/"), ("/a/.#/../..", "/a/"), ("/a?b/../..", "/a"), ("#", "/"),
]

private let hosts: [(value: String, expected: String)] = [
    ("", "bad"), ("l", "l"), ("L", "L upper"), ("abcd-ef.g02.xyz:", "abcd-ef.g02.xyz"), ("123.40.56.78:", "123.40.56.78"),
    ("www.abcd-ef.g02.xyz", "www.abcd-ef.g02.xyz"), ("abcd-ef.g02.xyz:8080", "abcd-ef.g02.xyz 8080"),
    ("www.abcd-ef.g02.xyz.", "www.abcd-ef.g02.xyz"), ("abcd-ef.g02.xyz.:88", "abcd-ef.g02.xyz 88"),
    ("example.com.:1.2", "bad"), (".", "bad"), (".:80", "bad"), (":80", "bad"), (":", "bad"),
    ("AbC-d93.0.34ZhGt-s.nk.Ru", "AbC-d93.0.34ZhGt-s.nk.Ru upper"), ("123.49.0.78:987", "123.49.0.78 987"),
    ("123.49.0.78:98777", "bad"), ("123.40.56.78:9000:80", "bad"), ("123.40.56.78:123456", "bad"), ("a:65535", "a 65535"),
    ("a:65536", "bad"), ("a:0", "a"), ("a:00080", "a 80"), ("a:8x", "bad"), ("a: 80", "bad"), ("a:-1", "bad"),
    ("[abcd::ef98:0:7654:321]", "[abcd::ef98:0:7654:321]"), ("[abcd::ef98:0:7654:321]:80", "[abcd::ef98:0:7654:321] 80"),
    ("[::ffff:12.30.67.89]", "[::ffff:12.30.67.89]"), ("[::123.45.67.89]:4321", "[::123.45.67.89] 4321"),
    ("example.com/\\:552", "bad"), ("\\e/xample.com", "bad"), ("..examp-LE.com", "bad"), ("com.exa-m.45..:", "bad"),
    ("[abcd::e\\f98:0/:7654:321]", "bad"), ("[abcd\\::ef98:0:7654:321/]:12", "bad"), ("[abcd::ef98:0:7654:321].", "bad"),
    ("[abcd::ef98:0:7654:321].:98", "bad"), ("[abcd::ef98:0:7654:321]..:98", "bad"), ("[ab..cd::ef98:0:7654:321]", "bad"),
    ("extra[abcd::ef98:0:7654:321]:98", "bad"), ("[abcd::ef98:0:7654:321", "bad"), ("[", "bad"), ("]", "bad"), ("[]", "[]"),
    (
        "[v0123456789aBcDeF.!$&'()*+,;=-._~AbCdEfGhIjKlMnOpQrStUvWxYz0123456789:]",
        "[v0123456789aBcDeF.!$&'()*+,;=-._~AbCdEfGhIjKlMnOpQrStUvWxYz0123456789:] upper"
    ),
    ("localhost\u{2}", "bad"), ("a b", "bad"), ("a@b", "bad"), ("a%41", "a%41"), ("[a%41]", "bad"),
    ("a_b~!$&'()*+,;=", "a_b~!$&'()*+,;="),
    ("a\"b", "bad"), ("a#b", "bad"), ("a?b", "bad"), ("h\u{e9}", "bad"), ("a\u{0}", "bad"), ("a<b>", "bad"),
]

@Suite struct TargetTests {
    @Test(arguments: paths)
    func pathsAreNormalized(_ raw: String, _ expected: String?) { #expect(normalized(raw) == expected) }

    @Test func slashesAreKeptWhenTheyAreNotMerged() {
        #expect(normalized("/foo//../bar", merge: false) == "/foo/bar")
        #expect(normalized("/foo///../bar", merge: false) == "/foo//bar")
        #expect(normalized("//a//", merge: false) == "//a//")
        #expect(normalized("//..", merge: false) == "/")
        #expect(normalized("//../..", merge: false) == nil)
        #expect(normalized("/a/.//b/./", merge: false) == "/a//b/")
    }

    @Test func aNormalPathStaysAsItIs() {
        for (raw, path) in paths {
            guard let path, !path.contains(where: { "%?#".contains($0) }) else { continue }
            #expect(normalized(path) == path, "from \(raw)")
        }
    }

    @Test(arguments: hosts)
    func hostsAreJudgedAsNginxDoes(_ value: String, _ expected: String) {
        let memory = GuardedMemory()
        func judge(_ bytes: Span<UInt8>) -> String {
            guard case .valid(let host, let port, let hasUppercase) = validateHost(bytes) else { return "bad" }
            return text(bytes, host) + (port.map { " \($0)" } ?? "") + (hasUppercase ? " upper" : "")
        }
        #expect(memory.atEnd(Array(value.utf8), judge) == expected)
        #expect(memory.atStart(Array(value.utf8), judge) == expected)
    }

    @Test func escapingFollowsTheSet() {
        let all = (0...255).map { UInt8($0) }
        let kept: [(EscapeSet, String)] = [
            (.uri, "!$&'()*+,-./0123456789:;=@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~"),
            (.arguments, "!$'()*,-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~"),
            (.uriComponent, "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"),
        ]
        for (set, expected) in kept {
            let left = all.filter { escapedCount([$0].span, set) == 1 }
            #expect(String(decoding: left, as: UTF8.self) == expected)
            let escaped = written(768) { escape(all.span, set, into: &$0) }!
            #expect(escaped.utf8.count == escapedCount(all.span, set))
            #expect(escaped.hasPrefix("%00%01") && escaped.hasSuffix("%FE%FF"))
            var back = [UInt8](repeating: 0, count: 256)
            var output = back.mutableSpan
            #expect(unescape(Array(escaped.utf8).span, into: &output) == 256)
            #expect(back == all)
            #expect(written(escaped.utf8.count - 1) { escape(all.span, set, into: &$0) } == nil)
        }
    }

    @Test func aMalformedEscapeStays() {
        for (source, expected) in [("%", "%"), ("a%4", "a%4"), ("%zz%41", "%zzA"), ("%%41", "%A"), ("%2541", "%41"), ("", "")] {
            #expect(written(source.utf8.count) { unescape(Array(source.utf8).span, into: &$0) } == expected)
        }
        #expect(written(1) { unescape(Array("ab".utf8).span, into: &$0) } == nil)
    }

    /// A path that another than the client has named: decoded, and refused where it climbs.
    @Test(
        arguments: [
            ("/a%20b", "/a b"), ("/a#b%3F", "/a#b?"), ("/a//./b", "/a//./b"), ("/a%zz%", "/a%zz%"), ("", ""), ("/..a/b../...", "/..a/b../..."),
            ("/a/../b", nil), ("/a/..", nil), ("..", nil), ("../a", nil), ("/a%2f..%2Fb", nil), ("/%2e%2E/b", nil), ("/a%00", nil), ("/a\0b", nil),
        ] as [(String, String?)])
    func climbing(raw: String, path: String?) {
        let memory = GuardedMemory()
        let bytes = Array(raw.utf8)
        #expect(written(bytes.count) { output in memory.atEnd(bytes) { unescapePath($0, into: &output) } } == path)
    }
}
