// Owns gRPC through the proxy: calls of one message and of many, trailers, errors, deadlines, retries, and a call that outlives switches.

import Foundation
import TestSupport
import Testing

/// A message as gRPC frames it.
private func message(_ text: String) -> [UInt8] {
    let n = text.utf8.count
    return [0, UInt8(n >> 24 & 255), UInt8(n >> 16 & 255), UInt8(n >> 8 & 255), UInt8(n & 255)] + Array(text.utf8)
}

/// The texts of the whole messages in `bytes`.
private func messages(_ bytes: [UInt8]) -> [String] {
    var found: [String] = []
    var at = 0
    while at + 5 <= bytes.count {
        let n = Int(bytes[at + 1]) << 24 | Int(bytes[at + 2]) << 16 | Int(bytes[at + 3]) << 8 | Int(bytes[at + 4])
        if at + 5 + n > bytes.count { break }
        found.append(String(decoding: bytes[(at + 5)..<(at + 5 + n)], as: UTF8.self))
        at += 5 + n
    }
    return found
}

private let call = [("content-type", "application/grpc"), ("te", "trailers")]
private let head = [(":status", "200"), ("content-type", "application/grpc")]
private let ok = [("grpc-status", "0"), ("grpc-message", "")]

@Suite("gRPC", .ownThread)
struct GRPCTests {
    private func proxy(_ servers: [Upstream], _ location: String = "", server: String = "") throws -> Proxy {
        let list = servers.map { "server \($0.endpoint);" }.joined(separator: " ")
        return try Proxy(
            server: "http2 on; \(server) location / { grpc_pass grpc://u; \(location) }", http: "upstream u { \(list) keepalive 8; }")
    }

    private func serving(_ answer: @escaping @Sendable (HTTP2Peer, HTTP2Peer.Request) throws -> Void) throws -> Upstream {
        try Upstream(http2: nil) { peer in while true { try answer(peer, try peer.request()) } }
    }

    private func client(_ proxy: Proxy) throws -> HTTP2Client { try HTTP2Client(proxy) }

    @Test func aCallOfOneMessageHasAnAnswerAndTrailers() throws {
        let upstream = try serving { peer, r in
            let lines = r.fields.map { "\($0.name)=\($0.value)" }.joined(separator: "|")
            let frame = HTTP2Peer.Frame(type: HTTP2Peer.Frame.data, flags: 0, stream: r.stream, payload: message(lines + "|" + messages(r.body)[0]))
            try peer.send(HTTP2Peer.headers(r.stream, head), frame, HTTP2Peer.headers(r.stream, ok, end: true))
        }
        let proxy = try proxy([upstream], "grpc_set_header X-Mine $request_method;")
        let client = try client(proxy)
        let id = try client.begin("POST", "/pkg.Service/Method", call + [("grpc-timeout", "5S")], end: false)
        try client.data(id, message("hello"), end: true)
        let answer = try client.answer(id)
        #expect(answer.status == "200" && answer["content-type"] == "application/grpc")
        #expect(
            messages(answer.body) == [
                ":method=POST|:scheme=http|:path=/pkg.Service/Method|:authority=u|x-mine=POST|content-type=application/grpc|te=trailers|grpc-timeout=5S|hello"
            ])
        #expect(answer.trailer("grpc-status") == "0" && answer.trailer("grpc-message") == "")
    }

    @Test func trailersAloneAreAnAnswer() throws {
        let upstream = try serving { peer, r in
            try peer.send(HTTP2Peer.headers(r.stream, head + [("grpc-status", "12"), ("grpc-message", "unknown service")], end: true))
        }
        let client = try client(proxy([upstream]))
        let id = try client.begin("POST", "/x", call, end: false)
        try client.data(id, message("a"), end: true)
        let answer = try client.answer(id)
        #expect(answer.headEnds && answer.dataFrames == 0 && answer["grpc-status"] == "12" && answer["grpc-message"] == "unknown service")
    }

    @Test func messagesGoBothWaysAsTheyCome() throws {
        // Each message is answered before the next is asked for.
        let upstream = try Upstream(http2: nil) { peer in
            let request = try peer.request(whole: false)
            try peer.send(HTTP2Peer.headers(request.stream, head))
            var ended = false
            while !ended {
                for frame in try peer.frames(until: { $0.type == HTTP2Peer.Frame.data }) where frame.type == HTTP2Peer.Frame.data {
                    try peer.send(HTTP2Peer.Frame(type: HTTP2Peer.Frame.data, flags: 0, stream: frame.stream, payload: frame.payload))
                    ended = frame.endsStream
                }
            }
            try peer.send(HTTP2Peer.headers(request.stream, ok, end: true))
            _ = try peer.frame()
        }
        let client = try client(proxy([upstream]))
        let id = try client.begin("POST", "/chat", call, end: false)
        for i in 1...50 {
            try client.data(id, message("m\(i)"))
            let sofar = try client.answer(id) { messages($0.body).count >= i }
            #expect(messages(sofar.body).last == "m\(i)")
        }
        try client.data(id, [], end: true)
        let answer = try client.answer(id)
        #expect(messages(answer.body).count == 50 && answer.trailer("grpc-status") == "0")
    }

    @Test func faultsAreAnsweredAsTheConfigurationSays() throws {
        let upstream = try serving { peer, r in
            switch r.path {
            case "/reset": try peer.reset(r.stream, 2)
            default: throw StreamEnd.malformed("closing")
            }
        }
        let plain = try client(proxy([upstream]))
        for path in ["/reset", "/close"] { #expect(try plain.answer(plain.begin("POST", path, call)).status == "502") }
        let page = "error_page 502 = @unavailable; location @unavailable { default_type application/grpc; add_header grpc-status 14; return 204; }"
        let told = try client(proxy([upstream], server: page))
        let answer = try told.answer(told.begin("POST", "/reset", call))
        #expect(answer["grpc-status"] == "14" && answer.headEnds)
    }

    @Test func anotherPeerIsAskedWhenTheFirstIsGone() throws {
        let gone = try Upstream(http2: nil) { _ in }
        gone.stop()
        let upstream = try serving { peer, r in try peer.answer(r.stream, 200, [], body: "here", trailers: ok) }
        let client = try client(proxy([gone, upstream]))
        for _ in 0..<4 { #expect(try client.answer(client.begin("GET", "/", call)).text == "here") }
    }

    @Test func earlyHintsPass() throws {
        let upstream = try serving { peer, r in
            try peer.send(HTTP2Peer.headers(r.stream, [(":status", "103"), ("link", "x")]))
            try peer.answer(r.stream, 200, [], body: "x", trailers: ok)
        }
        let client = try client(proxy([upstream], "early_hints 1;"))
        let answer = try client.answer(client.begin("GET", "/", call))
        #expect(answer.interim == ["103"] && answer.text == "x")
    }

    @Test func addressesMayBeComputed() throws {
        let upstream = try serving { peer, r in try peer.answer(r.stream, 200, [], body: r[":authority"] ?? "", trailers: ok) }
        let proxy = try Proxy(
            server: """
                http2 on;
                location / { grpc_pass grpc://$arg_to; }
                location /bare { grpc_pass $arg_to; }
                location /host { grpc_pass \(upstream.endpoint); grpc_set_header Host mine; }
                """, http: "upstream named { server \(upstream.endpoint); }")
        let client = try client(proxy)
        for (path, text) in [("/?to=named", "named"), ("/bare?to=named", "named"), ("/?to=\(upstream.endpoint)", "\(upstream.endpoint)"), ("/host", "")] {
            #expect(try client.answer(client.begin("GET", path, call)).text == text, "\(path)")
        }
        #expect(try client.answer(client.begin("GET", "/?to=127.0.0.1", call)).status == "500")
    }

    @Test func aWholeByteOfPaddingIsRead() throws {
        // "application/grpc" in Huffman's code is 88 bits, and this server adds a byte of ones.
        let value: [UInt8] = [0x8C, 0x1D, 0x75, 0xD0, 0x62, 0x0D, 0x26, 0x3D, 0x4C, 0x4D, 0x65, 0x64, 0xFF]
        let upstream = try serving { peer, r in
            let block = [0x88, 0x0F, 0x10] + value
            let trailers: [UInt8] = [0x00, 0x0C] + Array("grpc-message".utf8) + [0x81, 0xFF]
            let frames = [
                HTTP2Peer.Frame(type: HTTP2Peer.Frame.headers, flags: 4, stream: r.stream, payload: block),
                HTTP2Peer.data(r.stream, "x", end: false),
                HTTP2Peer.Frame(type: HTTP2Peer.Frame.headers, flags: 1, stream: r.stream, payload: Array(trailers.prefix(5))),
                HTTP2Peer.Frame(type: HTTP2Peer.Frame.continuation, flags: 4, stream: r.stream, payload: Array(trailers.dropFirst(5))),
            ]
            for byte in frames.flatMap(HTTP2Peer.bytes) { try peer.connection.send([byte]) }
        }
        let client = try client(proxy([upstream]))
        let answer = try client.answer(client.begin("GET", "/", call))
        #expect(answer["content-type"] == "application/grpc" && answer.trailer("grpc-message") == "" && answer.text == "x")
        // The same from a client.
        let fields = HTTP2Peer.block([(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]) + [0x0F, 0x10] + value
        try client.send(HTTP2Peer.Frame(type: HTTP2Peer.Frame.headers, flags: 5, stream: 101, payload: fields))
        #expect(try client.answer(101).text == "x")
    }

    @Test func aLongCallStaysThroughAHundredSwitches() throws {
        let switches = 100
        let counted = Locked(0)
        let blue = try Upstream(http2: nil) { peer in
            while true {
                let request = try peer.request(whole: false)
                if request.path == "/say" {
                    try peer.answer(request.stream, 200, [], body: "blue", trailers: ok)
                    continue
                }
                try peer.send(HTTP2Peer.headers(request.stream, head))
                var ended = false
                while !ended {
                    for frame in try peer.frames(until: { $0.type == HTTP2Peer.Frame.data }) where frame.type == HTTP2Peer.Frame.data {
                        counted.with { $0 += messages(frame.payload).count }
                        try peer.send(HTTP2Peer.Frame(type: HTTP2Peer.Frame.data, flags: 0, stream: frame.stream, payload: frame.payload))
                        ended = frame.endsStream
                    }
                }
                try peer.send(HTTP2Peer.headers(request.stream, ok, end: true))
            }
        }
        let green = try serving { peer, r in try peer.answer(r.stream, 200, [], body: "green", trailers: ok) }
        let proxy = try Proxy(
            server: "http2 on; location / { grpc_pass app; }",
            http: """
                upstream blue { server \(blue.endpoint); keepalive 8; }
                upstream green { server \(green.endpoint); keepalive 8; }
                split app { blue 1; green 0; }
                """)
        let admin = try Admin(proxy, folder: ".")
        let client = try client(proxy)
        let id = try client.begin("POST", "/chat", call, end: false)
        try client.data(id, message("0"))
        _ = try client.answer(id) { messages($0.body).count == 1 }
        let probe = try self.client(proxy)
        for i in 1...switches {
            let isGreen = i % 2 == 1
            try admin.weigh(isGreen ? ["blue": 0, "green": 1] : ["blue": 1, "green": 0])
            if isGreen { #expect(try probe.answer(probe.begin("GET", "/say", call)).text == "green") }
            try client.data(id, message("\(i)"))
            _ = try client.answer(id) { messages($0.body).count == i + 1 }
        }
        try client.data(id, [], end: true)
        let answer = try client.answer(id)
        #expect(messages(answer.body) == (0...switches).map(String.init) && answer.trailer("grpc-status") == "0")
        #expect(counted.current == switches + 1)
    }
}
