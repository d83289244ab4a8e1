// Owns the lenient reading of HTTP/1 messages from a Stream: heads kept byte for byte, bodies in every framing.
// Called by RawClient (responses) and Upstream (requests). It accepts what a strict parser refuses: tests look at the bytes.

import Foundation

/// Name and value pairs in the order of arrival.
public struct Fields: Sendable {
    public private(set) var all: [(name: String, value: String)] = []

    /// The value of the only field of that name, the first one when there are several.
    public subscript(_ name: String) -> String? { values(name).first }

    public func values(_ name: String) -> [String] {
        all.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
    }

    public var names: [String] { all.map(\.name) }

    mutating func append(line: String) {
        guard let colon = line.firstIndex(of: ":") else { return all.append((line, "")) }
        all.append((String(line[..<colon]), line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)))
    }
}

/// Start line and fields, and the bytes they came in.
public struct Head: Sendable {
    public var raw: [UInt8] = []
    public var startLine = ""
    public var fields = Fields()

    /// The words of the start line; missing ones are empty.
    public func word(_ i: Int) -> String {
        let words = startLine.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        return i < words.count ? String(words[i]) : ""
    }

    public subscript(_ name: String) -> String? { fields[name] }
    public var text: String { String(decoding: raw, as: UTF8.self) }
}

public struct Response: Sendable {
    public internal(set) var head = Head()
    /// 1xx heads that came before.
    public internal(set) var interim: [Head] = []
    public internal(set) var body: [UInt8] = []
    public internal(set) var trailers = Fields()
    public internal(set) var isChunked = false

    public var status: Int { Int(head.word(1)) ?? 0 }
    public var reason: String { head.word(2) }
    public var text: String { String(decoding: body, as: UTF8.self) }
    public subscript(_ name: String) -> String? { head[name] }
    public func values(_ name: String) -> [String] { head.fields.values(name) }
}

/// A request as an upstream server received it.
public struct Request: Sendable {
    public internal(set) var head = Head()
    public internal(set) var body: [UInt8] = []
    public internal(set) var trailers = Fields()
    /// Which connection of the upstream it came on, and which request on it this is, both from 0.
    public internal(set) var connection = 0
    public internal(set) var sequence = 0

    public var method: String { head.word(0) }
    public var target: String { head.word(1) }
    public var version: String { head.word(2) }
    public var text: String { String(decoding: body, as: UTF8.self) }
    public subscript(_ name: String) -> String? { head[name] }
    public func values(_ name: String) -> [String] { head.fields.values(name) }
}

extension Stream {
    /// The next head. Throws `.closed` when the peer ends before or in it.
    public func readHead() throws -> Head {
        var head = Head()
        var isFirst = true
        while true {
            let line = try readLine()
            head.raw += line
            let text = Self.trimmed(line)
            if text.isEmpty && !isFirst { return head }
            if isFirst { head.startLine = text } else { head.fields.append(line: text) }
            isFirst = false
        }
    }

    /// A chunked body: its bytes to `sink`, its trailers back.
    public func readChunked(_ sink: ([UInt8]) throws -> Void) throws -> Fields {
        while true {
            let line = Self.trimmed(try readLine())
            let digits = line.prefix { $0.isHexDigit }
            guard let size = Int(digits, radix: 16) else { throw StreamEnd.malformed("chunk size \(line)") }
            if size == 0 { break }
            try readBytes(size, sink)
            guard Self.trimmed(try readLine()).isEmpty else { throw StreamEnd.malformed("chunk without its line end") }
        }
        var trailers = Fields()
        while true {
            let line = Self.trimmed(try readLine())
            if line.isEmpty { return trailers }
            trailers.append(line: line)
        }
    }

    /// Exactly `count` bytes to `sink`, piece by piece.
    public func readBytes(_ count: Int, _ sink: ([UInt8]) throws -> Void) throws {
        var left = count
        while left > 0 {
            let some = try read(upTo: min(left, 64 << 10))
            if some.isEmpty { throw StreamEnd.closed }
            left -= some.count
            try sink(some)
        }
    }

    /// A request body in the framing that `head` names; nil trailers when it wasn't chunked.
    public func readRequestBody(_ head: Head, _ sink: ([UInt8]) throws -> Void) throws -> Fields {
        if head["Transfer-Encoding"]?.lowercased().contains("chunked") == true { return try readChunked(sink) }
        if let length = head["Content-Length"].flatMap({ Int($0) }) { try readBytes(length, sink) }
        return Fields()
    }

    /// Reads one final response to a request of `method`; interim ones are gathered. The body goes to `sink` when given.
    public func readResponse(to method: String = "GET", sink: (([UInt8]) throws -> Void)? = nil) throws -> Response {
        var response = Response()
        while true {
            response.head = try readHead()
            guard response.head.startLine.hasPrefix("HTTP/"), response.status >= 100 else {
                throw StreamEnd.malformed("status line \(response.head.startLine)")
            }
            if response.status >= 200 || response.status == 101 { break }
            response.interim.append(response.head)
        }
        if method == "HEAD" || [101, 204, 304].contains(response.status) { return response }
        var kept: [UInt8] = []
        let take = sink ?? { kept += $0 }
        if response["Transfer-Encoding"]?.lowercased() == "chunked" {
            response.isChunked = true
            response.trailers = try readChunked(take)
        } else if let length = response["Content-Length"].flatMap({ Int($0) }) {
            try readBytes(length, take)
        } else {
            while case let some = try read(), !some.isEmpty { try take(some) }
        }
        response.body = kept
        return response
    }

    private static func trimmed(_ line: [UInt8]) -> String {
        String(decoding: line.prefix { $0 != 13 && $0 != 10 }, as: UTF8.self)
    }
}
