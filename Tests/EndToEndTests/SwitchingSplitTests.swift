// Owns who gets what of a split: by key, in turn, by force, by an assigned cookie; and what the log says of it.

import Foundation
import TestSupport
import Testing

@Suite("switching: splits", .ownThread, .enabled(if: !Harness.isNginx))
struct SwitchingSplitTests {
    static let users = 2000

    /// What each of the requests gets, pipelined on one connection.
    private func answers(_ proxy: Proxy, _ requests: [[String]]) throws -> [Response] {
        let client = try proxy.client()
        var answers: [Response] = []
        for at in stride(from: 0, to: requests.count, by: 50) {
            let batch = requests[at..<min(at + 50, requests.count)]
            try client.send(batch.map { RawClient.text("GET", "/", $0) }.joined())
            for _ in batch { answers.append(try client.response()) }
        }
        return answers
    }

    /// The places of those users, of all, whom green answers.
    private func greens(_ proxy: Proxy) throws -> Set<Int> {
        let answers = try answers(proxy, (0..<Self.users).map { ["Cookie: sid=user\($0)"] })
        #expect(answers.allSatisfy { $0.status == 200 && ["blue", "green"].contains($0.text) })
        return Set(answers.indices.filter { answers[$0].text == "green" })
    }

    @Test func usersStayWhereTheyAreWhenAShareGrows() throws {
        let key = "key $cookie_sid $remote_addr;"
        let pools = try BlueGreen(split: "blue 95; green 5; \(key)")
        let first = try greens(pools.proxy)
        // 100, give or take four standard deviations; 1000 below. Who gets what follows from the names, so it cannot flutter.
        #expect((60...140).contains(first.count), "\(first.count)")
        try pools.admin().weigh(["blue": 50, "green": 50])
        let second = try greens(pools.proxy)
        #expect((910...1090).contains(second.count), "\(second.count)")
        #expect(first.isSubset(of: second), "nobody went back")

        // Another process, with two workers: the same answer.
        try pools.proxy.stop()
        try pools.proxy.configure(
            BlueGreen.configuration(
                pools.blue.endpoint, pools.green.endpoint, split: "blue 50; green 50; \(key)", main: "worker_processes 2;"))
        try pools.proxy.start()
        #expect(try greens(pools.proxy) == second)
        try pools.admin().weigh(["blue": 95, "green": 5])
        #expect(try greens(pools.proxy) == first)
    }

    @Test("without a key each tenth request is one of ten percent", arguments: [1, 2])
    func turns(workers: Int) throws {
        let pools = try BlueGreen(split: "blue 90; green 10;", main: "worker_processes \(workers);")
        let clients = try (0..<4).map { _ in try pools.proxy.client() }
        // One after the other, on connections that may lie with different workers.
        let answers = try (0..<100).map { try clients[$0 % 4].request().text }
        let places = answers.indices.filter { answers[$0] == "green" }
        #expect(places.count == 10)
        #expect(places == (0..<10).map { places[0] + 10 * $0 })
    }

    @Test func aHeaderForcesAVariant() throws {
        let pools = try BlueGreen(split: "blue 1; green 0; force $http_x_variant;")
        let client = try pools.proxy.client()
        #expect(try client.request().text == "blue")
        for _ in 0..<5 { #expect(try client.request("GET", "/", ["X-Variant: green"]).text == "green") }
        #expect(try client.request("GET", "/", ["X-Variant: blue"]).text == "blue")
        #expect(try client.request("GET", "/", ["X-Variant: violet"]).text == "blue", "what is no variant forces nothing")
        #expect(try client.request("GET", "/", ["X-Variant:"]).text == "blue")
    }

    @Test func aCookieIsAssignedOnceAndKeepsItsVariant() throws {
        let pools = try BlueGreen(split: "blue 50; green 50; assign cookie=visitor max_age=1d;")
        let admin = try pools.admin()
        let visitors = try answers(pools.proxy, Array(repeating: [], count: 40)).map { response in
            let lines = response.values("Set-Cookie")
            #expect(lines.count == 1)
            #expect(lines[0].hasPrefix("visitor=") && lines[0].contains("; Max-Age=86400;"), "\(lines)")
            return (cookie: String(lines[0].prefix { $0 != ";" }), variant: response.text)
        }
        #expect(Set(visitors.map(\.cookie)).count == 40)
        #expect(Set(visitors.map(\.variant)) == ["blue", "green"])
        func variants() throws -> [String] {
            let responses = try answers(pools.proxy, visitors.map { ["Cookie: \($0.cookie)"] })
            #expect(responses.allSatisfy { $0.values("Set-Cookie").isEmpty }, "given once")
            return responses.map(\.text)
        }
        for _ in 0..<3 { #expect(try variants() == visitors.map(\.variant)) }
        try admin.weigh(["blue": 0])
        #expect(Set(try variants()) == ["green"])
        try admin.write("POST", "/undo")
        #expect(try variants() == visitors.map(\.variant))
    }

    @Test func theLogNamesSplitVariantRevisionAndPool() throws {
        let pools = try BlueGreen(
            http: "log_format switching '$split $variant $revision $upstream_name'; access_log access.log switching;")
        let admin = try pools.admin()
        let client = try pools.proxy.client()
        try client.request()
        try admin.weigh(["blue": 0, "green": 1])
        try client.request()
        try admin.write("POST", "/undo")
        try client.request()
        #expect(try pools.proxy.waitForLines(3) == ["app blue 1 blue", "app green 2 green", "app blue 3 blue"])
    }
}
