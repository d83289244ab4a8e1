// What a hostile peer sends: messages of HTTP/1 and HTTP/2 as they should be, and what chance makes of them.
// Drawn from a seed by EngineHostileTests. Nothing here knows the code under test.

import Simulation

/// Draws bytes that are nearly right.
struct HostileBytes {
    var dice: SplitMix64
    /// Of a hundred messages so many stay as they are.
    var rightOfHundred: Int

    private mutating func one<T>(of list: [T]) -> T { list[dice.pick(0...(list.count - 1))] }

    // MARK: HTTP/1

    private static let requests = [
        "GET PATH HTTP/1.1\r\nHost: a\r\n\r\n", "GET PATH HTTP/1.0\r\n\r\n", "HEAD PATH HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "POST PATH HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
        "POST PATH HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: 1\r\n\r\n",
        "PUT PATH HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        "GET PATH HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\u{1}\u{2}\u{3}",
        "GET http://a:80PATH?x=1&y=%20#f HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nCookie: a=b; c=d\r\nRange: bytes=1-3,5-\r\n\r\n",
        "GET PATH/../%2e%2e//x HTTP/1.1\r\nHost: [::1]:80\r\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\nTE: trailers\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    ]

    private static let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/html\r\n\r\nhello", "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\nTrailer: T\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\u{1}\u{2}", "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 500 Sorry\r\nContent-Length: 3\r\n\r\nbad", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://u/x\r\nSet-Cookie: a=b; Path=/; Domain=u\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /plain/x\r\nX-Accel-Limit-Rate: 9\r\nX-Accel-Buffering: no\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 93\r\n\r\n<!--#include virtual=\"/plain/1\" --><!--#if expr=\"$a\" -->a<!--#else -->b<!--#endif --><!--#ec",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\n\r\n19\r\nGZIP\r\n0\r\n\r\n",
        "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    ]

    private static let paths = [
        "/plain/", "/streamed/", "/spooled/", "/gzip/", "/gunzip/", "/ssi/", "/charset/", "/mirror/", "/auth/", "/two/", "/grpc/", "/errors/",
        "/limited/", "/rewritten/", "/tunnel/", "/said/", "/nowhere",
    ]

    private static let gzipOfHello: [UInt8] = [
        0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 0xCB, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0, 0x86, 0xA6, 0x10, 0x36, 5, 0, 0, 0,
    ]

    /// What is put into messages.
    private static let tokens = [
        "\r\n", "\r", "\n", "\r\n\r\n", " ", "\t", ":", "\0", "\u{7F}", "Content-Length: 5\r\n", "Content-Length: 18446744073709551616\r\n",
        "Content-Length: -1\r\n", "Content-Length: 9223372036854775807\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n",
        "ffffffffffffffff\r\n", "7fffffffffffffff\r\n", "0\r\n\r\n", "0000000000000000000001\r\n", "Connection: close\r\n", "Connection: keep-alive, x\r\n",
        "Host: b\r\n", "Upgrade: h2c\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/9.9", "GET / HTTP/1.1\r\n", "%", "%00", "%zz", "?", "/", "..", ";", ",", "-", "\"",
        "Expect: 100-continue\r\n", "Range: bytes=0-0,-1,9999999999999999999-\r\n", "Content-Encoding: gzip\r\n", "Content-Type: text/html; charset=koi8-r\r\n",
        "X-Accel-Redirect: @named\r\n", "X-Accel-Expires: @99999999999999999999\r\n", "Location: /\r\n", "Trailer: x\r\n", "Keep-Alive: timeout=0\r\n",
        "<!--#include virtual=\"/ssi/\" -->", "<!--#set var=\"a\" value=\"$a$a\" -->", "<!--#block name=\"x\" -->", "-->",
    ]

    mutating func requests(_ count: Int) -> [UInt8] {
        var out: [UInt8] = []
        for _ in 0..<count {
            // The rare ones are at the end.
            let text = one(of: Array(dice.chance(0.9) ? Self.requests.dropLast(2) : Self.requests)).replacing("PATH", with: one(of: Self.paths) + String(dice.pick(0...9)))
            out += spoilt(Array(text.utf8))
        }
        return out
    }

    mutating func answer() -> [UInt8] {
        let parts = one(of: Self.answers).split(separator: "GZIP", omittingEmptySubsequences: false).map { Array($0.utf8) }
        return spoilt(parts.count == 2 ? parts[0] + Self.gzipOfHello + parts[1] : parts[0])
    }

    /// Some changes, or none.
    private mutating func spoilt(_ bytes: [UInt8]) -> [UInt8] {
        if dice.pick(0...99) < rightOfHundred { return bytes }
        var out = bytes
        for _ in 0..<dice.pick(1...4) where !out.isEmpty {
            let at = dice.pick(0...(out.count - 1))
            let end = min(out.count, at + dice.pick(1...16))
            switch dice.pick(0...6) {
            case 0: out[at] = UInt8(truncatingIfNeeded: dice.next())
            case 1: out[at] ^= 1 << UInt8(dice.pick(0...7))
            case 2: out.removeSubrange(at..<end)
            case 3: out.insert(contentsOf: out[at..<end], at: at)
            case 4: out.removeSubrange(at...)
            case 5: out.insert(contentsOf: [UInt8](repeating: out[at], count: dice.pick(1...9000)), at: at)
            default: out.insert(contentsOf: Array(one(of: Self.tokens).utf8), at: at)
            }
        }
        return out
    }

    // MARK: HTTP/2

    /// RFC 9113 section 4.1.
    private static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
        let n = payload.count
        return [UInt8(truncatingIfNeeded: n >> 16), UInt8(truncatingIfNeeded: n >> 8), UInt8(truncatingIfNeeded: n), type, flags]
            + Self.big(stream) + payload
    }

    private static func big(_ n: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: n >> (24 - 8 * $0)) } }

    /// Literals that no table is for (RFC 7541 section 6.2.2).
    private static func block(_ fields: [(String, String)]) -> [UInt8] {
        fields.flatMap { name, value in
            [0, UInt8(min(126, name.utf8.count))] + name.utf8.prefix(126) + [UInt8(min(126, value.utf8.count))] + value.utf8.prefix(126)
        }
    }

    private mutating func streamID(isClient: Bool) -> UInt32 {
        switch dice.pick(0...9) {
        case 0: 0
        case 1: 2
        case 2: UInt32(truncatingIfNeeded: dice.next())
        default: UInt32(2 * dice.pick(0...(isClient ? 6 : 1)) + 1)
        }
    }

    /// Settings, then frames of all types, most of them sensible.
    mutating func session(isClient: Bool) -> [UInt8] {
        var out = isClient ? Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) : []
        out += Self.frame(4, 0, 0, dice.chance(0.3) ? [0, 4] + Self.big(UInt32(dice.pick(0...70_000))) : [])
        if dice.chance(0.8) { out += Self.frame(4, 1, 0, []) }
        for i in 0..<dice.pick(1...12) { out += spoiltFrame(frames(isClient, i)) }
        return out
    }

    private mutating func fields(isClient: Bool) -> [(String, String)] {
        var fields: [(String, String)]
        if isClient {
            let method = dice.chance(0.03) ? "CONNECT" : one(of: ["GET", "GET", "POST", "POST", "HEAD"])
            fields = [(":method", method), (":scheme", "http"), (":path", one(of: Self.paths) + "2"), (":authority", "a")]
        } else {
            fields = [(":status", one(of: ["200", "200", "200", "103", "204", "304", "500", "101", "1000", ""])), ("content-type", "text/html")]
        }
        let more = [
            ("te", "trailers"), ("content-length", "5"), ("cookie", "a=b"), ("grpc-status", "0"), ("connection", "close"), ("X-Up", "x"), ("host", "b"),
            ("transfer-encoding", "chunked"), ("x", "a\r\nb: c"), (":path", "/"), ("content-length", "99999999999999999999"), ("range", "bytes=0-1"),
            ("content-encoding", "gzip"), ("location", "/x"), ("x-accel-redirect", "/plain/"), ("", ""), ("expect", "100-continue"),
        ]
        for _ in 0..<dice.pick(0...3) { fields.insert(one(of: more), at: dice.chance(0.8) ? fields.count : dice.pick(0...fields.count)) }
        if dice.chance(0.1) { fields.remove(at: dice.pick(0...(fields.count - 1))) }
        return fields
    }

    private mutating func frames(_ isClient: Bool, _ i: Int) -> [UInt8] {
        let id = streamID(isClient: isClient)
        switch dice.pick(0...15) {
        case 0...5:
            let block = Self.block(fields(isClient: isClient))
            let stream = isClient && dice.chance(0.8) ? UInt32(2 * i + 1) : id
            let ends: UInt8 = dice.chance(0.6) ? 1 : 0
            if dice.chance(0.85) { return Self.frame(1, 4 | ends, stream, block) }
            let cut = dice.pick(0...block.count)
            return Self.frame(1, ends, stream, Array(block[..<cut])) + Self.frame(9, 4, stream, Array(block[cut...]))
        case 6...9: return Self.frame(0, dice.chance(0.5) ? 1 : 0, id, dice.bytes(dice.pick(0...(dice.chance(0.1) ? 16_384 : 64))))
        case 10: return Self.frame(3, 0, id, Self.big(UInt32(dice.pick(0...14))))
        case 11: return Self.frame(6, dice.chance(0.3) ? 1 : 0, 0, dice.bytes(8))
        case 12: return Self.frame(8, 0, dice.chance(0.5) ? 0 : id, Self.big(dice.chance(0.1) ? 0x7FFF_FFFF : UInt32(dice.pick(0...70_000))))
        case 13: return Self.frame(2, 0, id, dice.bytes(5))
        case 14: return Self.frame(7, 0, 0, Self.big(id) + Self.big(UInt32(dice.pick(0...14))))
        default: return Self.frame(4, 0, 0, [0, UInt8(dice.pick(0...8))] + Self.big(UInt32(truncatingIfNeeded: dice.next() >> UInt64(dice.pick(0...63)))))
        }
    }

    private mutating func spoiltFrame(_ bytes: [UInt8]) -> [UInt8] {
        if dice.pick(0...99) < rightOfHundred { return bytes }
        var out = bytes
        switch dice.pick(0...5) {
        case 0: out[dice.pick(0...(out.count - 1))] = UInt8(truncatingIfNeeded: dice.next())
        case 1: out[3] = UInt8(dice.pick(0...16))
        case 2: out[4] = UInt8(truncatingIfNeeded: dice.next())
        case 3: out[2] &+= UInt8(dice.pick(0...3))
        case 4: out.removeLast(dice.pick(0...(out.count - 1)))
        default: out += dice.bytes(dice.pick(0...20))
        }
        return out
    }
}
