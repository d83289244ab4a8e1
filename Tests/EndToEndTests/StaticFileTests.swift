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
}
