// Owns files served from disk: root, alias, index, types, and what must not be served.

import Foundation
import TestSupport
import Testing

@Suite("static files", .ownThread)
struct StaticFileTests {
    static let files = [
        "site/index.html": "<p>home", "site/a.txt": "text a", "site/dir/index.html": "<p>dir", "site/empty/x.txt": "x",
        "site/style.css": "p{}", "other/b.txt": "text b", "site/zero.txt": "", "secret.txt": "secret", "site/a b.txt": "spaced",
    ]

    private func proxy(_ server: String = "") throws -> Proxy {
        try Proxy(
            server: """
                root site;
                location /alias/ { alias %DIR%/other/; }
                location /down/ { root other; }
                \(server)
                """,
            http: "types { text/html html; text/css css; text/plain txt; } default_type application/octet-stream;",
            files: Self.files)
    }

    @Test(
        "an address names a file",
        arguments: [
            ("/", "<p>home", "text/html"), ("/index.html", "<p>home", "text/html"), ("/a.txt", "text a", "text/plain"),
            ("/dir/", "<p>dir", "text/html"), ("/style.css", "p{}", "text/css"), ("/alias/b.txt", "text b", "text/plain"),
            ("/zero.txt", "", "text/plain"), ("/a%20b.txt", "spaced", "text/plain"), ("/dir/../a.txt", "text a", "text/plain"),
            ("//a.txt", "text a", "text/plain"), ("/a.txt?query", "text a", "text/plain"),
        ])
    func served(target: String, text: String, type: String) throws {
        let response = try proxy().get(target)
        #expect(response.status == 200)
        #expect(response.text == text)
        #expect(response["Content-Type"] == type)
        #expect(response["Content-Length"] == "\(text.utf8.count)")
        #expect(response["Last-Modified"] != nil)
        #expect(response["ETag"] != nil)
    }

    @Test(
        "what is not there or not allowed says so",
        arguments: [
            ("GET", "/missing", 404), ("GET", "/empty/", 403), ("POST", "/a.txt", 405), ("GET", "/a.txt/", 404),
            ("GET", "/down/b.txt", 404), ("GET", "/../secret.txt", 400), ("GET", "/%2e%2e/secret.txt", 400),
            ("GET", "/alias/../../secret.txt", 400), ("GET", "/alias../secret.txt", 404), ("HEAD", "/a.txt", 200),
        ])
    func refused(method: String, target: String, status: Int) throws {
        #expect(try proxy().get(target, method: method).status == status)
    }

    @Test func aFolderWithoutItsSlashRedirects() throws {
        let proxy = try proxy()
        let response = try proxy.get("/dir?a=1")
        #expect(response.status == 301)
        #expect(response["Location"] == "http://test:\(proxy.port)/dir/?a=1")
    }

    @Test func theFirstIndexFoundIsServed() throws {
        let proxy = try proxy("location /dir/ { index none.html index.html; } location /empty/ { index x.txt; }")
        #expect(try proxy.get("/dir/").text == "<p>dir")
        #expect(try proxy.get("/empty/").text == "x")
    }

    // MARK: Parts

    @Test(
        "a part of a file is sent",
        arguments: [("bytes=0-3", "text", "bytes 0-3/6"), ("bytes=-1", "a", "bytes 5-5/6"), ("bytes=5-100", "a", "bytes 5-5/6")], [false, true])
    func part(asked: (range: String, text: String, contentRange: String), isHTTP2: Bool) throws {
        let (range, text, contentRange) = asked
        let proxy = try proxy("http2 on;")
        if isHTTP2 {
            let client = try HTTP2Client(proxy)
            let answer = try client.answer(try client.begin("GET", "/a.txt", [("range", range)]))
            #expect(answer.status == "206" && answer.text == text && answer["content-range"] == contentRange)
            return
        }
        let response = try proxy.get("/a.txt", ["Range: \(range)"])
        #expect(response.status == 206)
        #expect(response.text == text)
        #expect(response["Content-Range"] == contentRange)
        #expect(response["Content-Length"] == "\(text.utf8.count)")
        #expect(response["Accept-Ranges"] == nil)
    }

    @Test func whatIsNotThereCannotBeSent() throws {
        let proxy = try proxy("max_ranges 1; location /whole/ { alias %DIR%/site/; max_ranges 0; }")
        let response = try proxy.get("/a.txt", ["Range: bytes=6-"])
        #expect(response.status == 416)
        #expect(response["Content-Range"] == "bytes */6")
        #expect(try proxy.get("/a.txt")["Accept-Ranges"] == "bytes")
        #expect(try proxy.get("/a.txt", ["Range: bytes=0-0,2-2"]).status == 200)
        let whole = try proxy.get("/whole/a.txt", ["Range: bytes=0-0"])
        #expect(whole.status == 200)
        #expect(whole["Accept-Ranges"] == nil)
        #expect(try proxy.get("/zero.txt", ["Range: bytes=0-"]).status == 200)
        #expect(try proxy.get("/missing", ["Range: bytes=0-"]).status == 404)
    }

    @Test("several parts come in one answer", arguments: [Int](0..<3))
    func parts(way: Int) throws {
        let text = Pattern.text(300_000)
        let proxy = try Proxy(server: "http2 on; root site; \(way == 2 ? "add_trailer X-A b;" : "")", files: ["site/big.txt": text])
        let spans = [0...9, 100_000...299_998, 50...50]
        let range = "bytes=" + spans.map { "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: ", ")
        let type: String?
        let body: String
        if way == 1 {
            let client = try HTTP2Client(proxy)
            let answer = try client.answer(try client.begin("GET", "/big.txt", [("range", range)]))
            (type, body) = (answer["content-type"], answer.text)
            #expect(answer["content-length"] == "\(answer.body.count)")
        } else {
            let response = try proxy.get("/big.txt", ["Range: \(range)"])
            (type, body) = (response["Content-Type"], response.text)
            #expect(response.status == 206)
            #expect(response.isChunked == (way == 2))
        }
        let boundary = try #require(type?.split(separator: "=").last)
        #expect(type == "multipart/byteranges; boundary=\(boundary)")
        let bytes = Array(text.utf8)
        let parts = spans.map { span in
            "\r\n--\(boundary)\r\nContent-Type: text/plain\r\nContent-Range: bytes \(span.lowerBound)-\(span.upperBound)/300000\r\n\r\n"
                + String(decoding: bytes[span], as: UTF8.self)
        }
        #expect(body == parts.joined() + "\r\n--\(boundary)--\r\n")
    }

    @Test func aPartOfAnotherStateIsOfNoUse() throws {
        let proxy = try proxy()
        let client = try proxy.client()
        let first = try client.request("GET", "/a.txt")
        let modified = try #require(first["Last-Modified"])
        let tag = try #require(first["ETag"])
        for (condition, status) in [(tag, 206), ("\"other\"", 200), (modified, 206), ("Thu, 01 Jan 1970 00:00:00 GMT", 200), ("W/\(tag)", 200)] {
            #expect(try client.request("GET", "/a.txt", ["Range: bytes=0-1", "If-Range: \(condition)"]).status == status, "\(condition)")
        }
        for (field, status) in [
            ("If-Match: \(tag)", 200), ("If-Match: *", 200), ("If-Match: \"a\", \(tag)", 200), ("If-Match: \"other\"", 412), ("If-Match: W/\(tag)", 412),
            ("If-Unmodified-Since: \(modified)", 200), ("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 412),
        ] {
            #expect(try client.request("GET", "/a.txt", [field]).status == status, "\(field)")
        }
    }

    @Test func aCompressedFileHasNoParts() throws {
        let proxy = try proxy("gzip on; gzip_min_length 0; gzip_types text/plain;")
        let packed = try proxy.get("/a.txt", ["Range: bytes=0-1", "Accept-Encoding: gzip"])
        #expect(packed.status == 200)
        #expect(packed["Accept-Ranges"] == nil)
        #expect(Gzip.unpacked(packed.body) == "text a")
        let plain = try proxy.get("/a.txt", ["Range: bytes=0-1"])
        #expect(plain.status == 206)
        #expect(plain.text == "te")
    }

    @Test func anUnchangedFileIsNotSentAgain() throws {
        let proxy = try proxy()
        let client = try proxy.client()
        let first = try client.request("GET", "/a.txt")
        let modified = try #require(first["Last-Modified"])
        let tag = try #require(first["ETag"])
        let second = try client.request("GET", "/a.txt", ["If-Modified-Since: \(modified)"])
        #expect(second.status == 304)
        #expect(second.body.isEmpty)
        #expect(try client.request("GET", "/a.txt", ["If-None-Match: \(tag)"]).status == 304)
        #expect(try client.request("GET", "/a.txt", ["If-None-Match: \"other\""]).status == 200)
        #expect(try client.request("GET", "/a.txt", ["If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"]).status == 200)
    }

    @Test func aLargeFileArrivesWhole() throws {
        let body = Pattern.text(5 << 20)
        let proxy = try Proxy(server: "root site;", files: ["site/large.bin": body])
        let client = try proxy.client()
        for _ in 0..<2 { #expect(try client.request("GET", "/large.bin").text == body) }
        #expect(try client.request("HEAD", "/large.bin")["Content-Length"] == "\(5 << 20)")
    }

    @Test func anErrorPageMayBeAFile() throws {
        let proxy = try Proxy(
            server: "root site; error_page 404 /404.html; location = /404.html { }", files: ["site/404.html": "not here"])
        let response = try proxy.get("/missing")
        #expect(response.status == 404)
        #expect(response.text == "not here")
    }

    /// With the slash the folder's page would be sent under an address that its relative links do not fit.
    @Test func aFolderThatTryFilesFindsIsRedirected() throws {
        let proxy = try proxy(
            "absolute_redirect off; location / { try_files $uri $uri/ =404; } location /al/ { alias %DIR%/site/; try_files $uri $uri/ =404; } location /file/ { alias %DIR%/site/; try_files $uri =404; }")
        for (target, status, location) in [
            ("/dir", 301, "/dir/"), ("/dir?a=b", 301, "/dir/?a=b"), ("/dir/", 200, nil), ("/", 200, nil), ("/al/dir", 301, "/al/dir/"),
            ("/al/dir/", 200, nil), ("/nothing", 404, nil), ("/file/dir/", 404, nil),
        ] as [(String, Int, String?)] {
            let response = try proxy.get(target)
            #expect(response.status == status, "\(target)")
            #expect(response["Location"] == location, "\(target)")
        }
    }

    /// A file is not what a POST can be sent to; where there is none, `error_page 404` has its say.
    @Test func aPostToNoFileIsNotFound() throws {
        let upstream = try Upstream { request, c in try c.answer(body: "\(request.method) \(request.target)") }
        let proxy = try proxy(
            "absolute_redirect off; location / { error_page 404 = @application; } location @application { proxy_pass http://\(upstream.endpoint); }")
        #expect(try proxy.get("/form", method: "POST", body: "a=b").text == "POST /form")
        #expect(try proxy.get("/a.txt", method: "POST", body: "a=b").status == 405)
        #expect(try proxy.get("/dir", method: "POST", body: "a=b")["Location"] == "/dir/")
        #expect(try proxy.get("/form", method: "DELETE").status == 405)
    }
}
