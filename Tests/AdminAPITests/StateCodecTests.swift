import AdminAPI
import Testing

@Suite("JSON: states and writes")
struct StateCodecTests {
    // MARK: States

    @Test func aStateComesBack() throws {
        let state = fullState()
        #expect(try ProxyState(json: state.json(as: .journal), as: .journal) == state)
        #expect(try ProxyState(json: JSON.parse(state.json(as: .journal).text()), as: .journal) == state)
        // An answer does not tell the next id: it is the one behind the last.
        var answered = state
        answered.upstreams["blue"]?.nextServerID = 10
        #expect(try ProxyState(json: state.json, as: .answer) == answered)
        // A request has no ids.
        let requested = try ProxyState(json: state.json)
        #expect(requested.upstreams["blue"]?.servers.map(\.id) == [-1, -1])
        #expect(requested.upstreams["blue"]?.nextServerID == 0)
        #expect(requested.splits == state.splits)
    }

    @Test func writesAState() {
        let expected = """
            {"splits":{"app":{"assign":{"cookie":"sid","max_age":"30d"},"force":"$http_x_variant","key":["$cookie_sid","$remote_addr"],\
            "weights":{"blue":90,"green":10}}},"upstreams":{"blue":{"balance":"least_conn","keepalive":32,"keepalive_local":true,\
            "keepalive_requests":77,"keepalive_time":"30m500ms","keepalive_timeout":"15s",NEXT"servers":[{"backup":false,"down":true,"drain":true,\
            "fail_timeout":"1m30s","id":4,"max_conns":100,"max_fails":3,"server":"127.0.0.1:3001",SLOW"weight":7},{"backup":true,"down":false,\
            "drain":false,"fail_timeout":"10s","id":9,"max_conns":0,"max_fails":1,"server":"unix:/run/app.sock",SLOW"weight":1}],\
            "sticky":"cookie srv expires=1h path=/"},"green":{"balance":"round_robin","keepalive_local":false,"keepalive_requests":1000,\
            "keepalive_time":"1h","keepalive_timeout":"1m",ONE"servers":[{"backup":false,"down":false,"drain":false,"fail_timeout":"10s","id":0,\
            "max_conns":0,"max_fails":1,"server":"[::1]:8080",SLOW"weight":1}]}}}
            """
        let parts = expected.split(separator: "NEXT", maxSplits: 1).flatMap { $0.split(separator: "ONE", maxSplits: 1) }
        #expect(fullState().json.text(pretty: false) == parts.joined().replacing("SLOW", with: "\"slow_start\":\"0s\","))
        let journal = parts[0] + "\"next_server_id\":12," + parts[1] + "\"next_server_id\":1," + parts[2]
        #expect(fullState().json(as: .journal).text(pretty: false) == journal.replacing("SLOW", with: ""))
    }

    @Test func readsTheExampleOfTheManual() throws {
        let text = """
            {"reason": "release 42",
             "upstreams": {"blue": {"balance": "least_conn", "keepalive": 32, "servers": [
                             {"server": "127.0.0.1:3001", "weight": 1, "max_conns": 0, "max_fails": 3, "fail_timeout": "30s", "backup": false,
                              "down": false, "drain": false}]},
                           "green": {"servers": [{"server": "127.0.0.1:3002"}]}},
             "splits": {"app": {"weights": {"blue": 90, "green": 10}, "key": ["$cookie_sid", "$remote_addr"]}}}
            """
        let write = try StateWrite(body: Array(text.utf8))
        #expect(write.reason == "release 42")
        #expect(write.upstreams["blue"]?.keepalive == 32)
        #expect(write.upstreams["blue"]?.servers[0].failTimeoutMs == 30_000)
        #expect(write.upstreams["green"] == UpstreamState(servers: [ServerState(server: "127.0.0.1:3002")]))
        #expect(write.splits?["app"] == SplitState(weights: ["blue": 90, "green": 10], key: ["$cookie_sid", "$remote_addr"]))
        let state = ProxyState(upstreams: write.upstreams, splits: write.splits ?? [:])
        #expect(problem { () throws(Problem) in try StateRules.check(state) } == nil)
    }

    @Test func membersAreSorted() throws {
        func check(_ json: JSON) {
            if let members = json.object {
                #expect(members.map(\.name) == members.map(\.name).sorted())
                members.forEach { check($0.value) }
            }
            json.array?.forEach(check)
        }
        check(fullState().json(as: .journal))
        check(StateWrite(reason: "x", upstreams: fullState().upstreams, splits: fullState().splits).json)
        check(UpstreamWrite(reason: "x", upstream: UpstreamState(servers: [ServerState(server: "a")])).json)
    }

    /// What stands in an upstream with one server, the kind of the problem and its pointer, as of a whole state.
    static let refused: [(String, Problem.Kind, String)] = [
        (
            "{\"upstreams\":{\"blue\":{\"servers\":[{\"server\":\"a\",\"wieght\":1}]}}}", .unknownField,
            "/upstreams/blue/servers/0/wieght"
        ),
        ("{\"upstreams\":{\"blue\":{\"servers\":[{\"weight\":1}]}}}", .missingField, "/upstreams/blue/servers/0/server"),
        ("{\"upstreams\":{\"blue\":{}}}", .missingField, "/upstreams/blue/servers"),
        ("{\"upstreams\":{\"blue\":[]}}", .wrongType, "/upstreams/blue"),
        ("{\"upstreams\":[]}", .wrongType, "/upstreams"), ("[]", .wrongType, ""), ("null", .wrongType, ""),
        ("{\"servers\":[]}", .unknownField, "/servers"),
        ("{\"upstreams\":{\"blue\":{\"servers\":{}}}}", .wrongType, "/upstreams/blue/servers"),
        ("{\"upstreams\":{\"a/b\":{\"servers\":[5]}}}", .wrongType, "/upstreams/a~1b/servers/0"),
        ("{\"upstreams\":{\"b\":{\"servers\":[],\"keepalive\":-1}}}", .outOfRange, "/upstreams/b/keepalive"),
        ("{\"upstreams\":{\"b\":{\"servers\":[],\"keepalive\":true}}}", .wrongType, "/upstreams/b/keepalive"),
        ("{\"upstreams\":{\"b\":{\"servers\":[],\"keepalive_requests\":0}}}", .outOfRange, "/upstreams/b/keepalive_requests"),
        ("{\"upstreams\":{\"b\":{\"servers\":[],\"keepalive_time\":\"1x\"}}}", .badTime, "/upstreams/b/keepalive_time"),
        ("{\"upstreams\":{\"b\":{\"servers\":[],\"keepalive_time\":-1}}}", .outOfRange, "/upstreams/b/keepalive_time"),
        (
            "{\"upstreams\":{\"b\":{\"servers\":[],\"keepalive_time\":9223372036854775807}}}", .outOfRange,
            "/upstreams/b/keepalive_time"
        ),
        ("{\"upstreams\":{\"b\":{\"servers\":[],\"keepalive_time\":1.5}}}", .wrongType, "/upstreams/b/keepalive_time"),
        ("{\"upstreams\":{\"b\":{\"servers\":[],\"balance\":1}}}", .wrongType, "/upstreams/b/balance"),
        ("{\"upstreams\":{\"b\":{\"servers\":[],\"next_server_id\":1}}}", .unknownField, "/upstreams/b/next_server_id"),
        ("{\"splits\":{\"s\":{}}}", .missingField, "/splits/s/weights"),
        ("{\"splits\":{\"s\":{\"weights\":{\"a\":1.5}}}}", .wrongType, "/splits/s/weights/a"),
        ("{\"splits\":{\"s\":{\"weights\":{\"a\":-1}}}}", .outOfRange, "/splits/s/weights/a"),
        ("{\"splits\":{\"s\":{\"weights\":{\"a\":1000001}}}}", .outOfRange, "/splits/s/weights/a"),
        ("{\"splits\":{\"s\":{\"weights\":{\"a\":1e30}}}}", .outOfRange, "/splits/s/weights/a"),
        ("{\"splits\":{\"s\":{\"weights\":{},\"key\":\"$a\"}}}", .wrongType, "/splits/s/key"),
        ("{\"splits\":{\"s\":{\"weights\":{},\"key\":[\"$a\",1]}}}", .wrongType, "/splits/s/key/1"),
        ("{\"splits\":{\"s\":{\"weights\":{},\"assign\":{\"cookie\":\"a\"}}}}", .missingField, "/splits/s/assign/max_age"),
        (
            "{\"splits\":{\"s\":{\"weights\":{},\"assign\":{\"cookie\":\"a\",\"max_age\":\"1ms\"}}}}", .badTime,
            "/splits/s/assign/max_age"
        ),
        (
            "{\"splits\":{\"s\":{\"weights\":{},\"assign\":{\"cookie\":\"a\",\"max_age\":0}}}}", .outOfRange,
            "/splits/s/assign/max_age"
        ),
        (
            "{\"splits\":{\"s\":{\"weights\":{},\"assign\":{\"cookie\":\"a\",\"max_age\":1,\"name\":1}}}}", .unknownField,
            "/splits/s/assign/name"
        ),
    ]

    @Test(arguments: refused) func refuses(text: String, kind: Problem.Kind, pointer: String) throws {
        let json = try parsed(text)
        let found = problem { () throws(Problem) in try ProxyState(json: json) }
        #expect(found?.kind == kind)
        #expect(found?.pointer == pointer)
        let below = problem { () throws(Problem) in try ProxyState(json: json, at: JSONPointer(["x", "y"])) }
        #expect(below?.pointer == "/x/y" + pointer)
        // What an older proxyctl does not know does not stop it.
        if kind == .unknownField { #expect(problem { () throws(Problem) in try ProxyState(json: json, as: .answer) } == nil) }
    }

    @Test func saysWhatItFound() throws {
        func server(_ member: String) throws -> Problem? {
            let json = try parsed("{\"server\":\"a\",\(member)}")
            return problem { () throws(Problem) in try ServerState(json: json) }
        }
        #expect(try server("\"wieght\":1")?.hint == "did you mean \"weight\"?")
        #expect(try server("\"max_con\":1")?.hint == "did you mean \"max_conns\"?")
        #expect(try server("\"service\":1")?.hint == "")
        #expect(try server("\"weight\":\"5\"")?.detail == "found the string \"5\", expected a whole number")
        #expect(try server("\"weight\":\"5\"")?.hint == "write it without quotes")
        #expect(try server("\"down\":\"true\"")?.hint == "write it without quotes")
        #expect(try server("\"down\":0")?.detail == "found the number 0, expected true or false")
        #expect(try server("\"weight\":null")?.detail == "found null, expected a whole number")
        #expect(try server("\"weight\":2000000")?.detail == "found the number 2000000, expected a whole number from 0 to 1000000")
        #expect(try server("\"fail_timeout\":\"5 minutes\"")?.detail.contains("such as 30s or 1h30m") == true)
    }

    @Test func takesOtherWaysToWriteAValue() throws {
        let text = "{\"server\":\"a\",\"weight\":5.0,\"fail_timeout\":90,\"max_conns\":1e2,\"id\":\"anything\"}"
        let server = try ServerState(json: parsed(text))
        #expect(server.weight == 5 && server.failTimeoutMs == 90_000 && server.maxConns == 100 && server.id == -1)
        let upstream = try UpstreamState(
            json: parsed("{\"servers\":[],\"keepalive\":null,\"sticky\":null,\"keepalive_time\":\"1500ms\"}"))
        #expect(upstream.keepalive == nil && upstream.sticky == nil && upstream.keepaliveTimeMs == 1500)
    }

    @Test func tenThousandServers() throws {
        var state = ProxyState(upstreams: ["app": UpstreamState()])
        state.upstreams["app"]?.servers = (0..<10_000).map { i in
            var server = ServerState(server: "10.\(i >> 16).\(i >> 8 & 255).\(i & 255):8080")
            server.id = i
            server.weight = 1 + i % 10
            return server
        }
        state.upstreams["app"]?.nextServerID = 10_000
        let bytes = state.json(as: .journal).bytes(pretty: false)
        #expect(bytes.count > 1_300_000)
        let back = try ProxyState(json: JSON.parse(bytes), as: .journal)
        #expect(back == state)
        #expect(problem { () throws(Problem) in try StateRules.check(back) } == nil)
        state.upstreams["app"]?.servers[9999].server = "10.0.0.7:8080"
        let found = problem { () throws(Problem) in try StateRules.check(state) }
        #expect(found?.kind == .duplicateServer && found?.pointer == "/upstreams/app/servers/9999/server")
    }

    // MARK: Writes

    @Test func writesComeBack() throws {
        var upstream = try #require(fullState().upstreams["blue"])
        for i in upstream.servers.indices { upstream.servers[i].id = -1 }
        upstream.nextServerID = 0
        let split = try #require(fullState().splits["app"])
        func comesBack<Body: JSONCodable & Equatable>(_ body: Body) throws {
            #expect(try Body(json: body.json) == body)
            #expect(try Body(body: body.json.bytes()) == body)
        }
        for reason in [nil, "", "release \"42\""] as [String?] {
            try comesBack(StateWrite(reason: reason, upstreams: ["blue": upstream]))
            try comesBack(StateWrite(reason: reason, upstreams: ["blue": upstream], splits: ["app": split]))
            try comesBack(StateWrite(reason: reason, upstreams: [:], splits: [:]))
            try comesBack(UpstreamWrite(reason: reason, upstream: upstream))
            try comesBack(ServerWrite(reason: reason, server: upstream.servers[0]))
            try comesBack(SplitWrite(reason: reason, split: split))
            try comesBack(WeightsPatch(reason: reason, weights: ["green": 10]))
            try comesBack(ReasonOnly(reason: reason))
        }
        try comesBack(ServerPatch())
        var patch = ServerPatch()
        patch.reason = "r"
        patch.server = "b:1"
        patch.weight = 0
        patch.maxConns = 1
        patch.maxFails = 2
        patch.failTimeoutMs = 3000
        patch.backup = true
        patch.down = true
        patch.drain = true
        try comesBack(patch)
        try comesBack(Accepted(revision: 43, previous: 42, changed: true, summary: "split app: green 5 -> 50", reason: "r"))
        try comesBack(Accepted(revision: 1, previous: nil, changed: false))
        #expect(try ReasonOnly(body: []) == ReasonOnly())
    }

    @Test func aPatchSetsWhatItNames() throws {
        var server = ServerState(server: "a:1")
        server.id = 3
        server.maxFails = 9
        try ServerPatch(json: parsed("{\"weight\":0,\"drain\":true,\"id\":7,\"revision\":4,\"reason\":null}")).apply(to: &server)
        var expected = ServerState(server: "a:1")
        expected.id = 3
        expected.maxFails = 9
        expected.weight = 0
        expected.drain = true
        #expect(server == expected)
        try ServerPatch(
            json: parsed(
                "{\"server\":\"b\",\"max_conns\":1,\"max_fails\":2,\"fail_timeout\":\"3s\",\"backup\":true,\"down\":true}")
        ).apply(to: &server)
        #expect(
            server.server == "b" && server.maxConns == 1 && server.maxFails == 2 && server.failTimeoutMs == 3000 && server.backup
                && server.down)
    }

    @Test func writesTakeWhatGetGaveAndRefuseTheRest() throws {
        func refusal<Body: JSONCodable>(_ type: Body.Type, _ text: String) throws -> Problem? {
            let json = try parsed(text)
            return problem { () throws(Problem) in try Body(json: json) }
        }
        #expect(try refusal(StateWrite.self, "{\"revision\":3,\"etag\":\"3\",\"upstreams\":{}}") == nil)
        #expect(try refusal(UpstreamWrite.self, "{\"revision\":3,\"etag\":\"3\",\"servers\":[]}") == nil)
        #expect(try refusal(StateWrite.self, "{}")?.pointer == "/upstreams")
        #expect(try refusal(StateWrite.self, "{\"upstreams\":{},\"raeson\":\"x\"}")?.hint == "did you mean \"reason\"?")
        #expect(try refusal(StateWrite.self, "{\"upstreams\":{},\"reason\":1}")?.pointer == "/reason")
        #expect(try refusal(StateWrite.self, "{\"upstream\":{}}")?.hint == "did you mean \"upstreams\"?")
        #expect(try refusal(ReasonOnly.self, "{\"reason\":\"\(String(repeating: "x", count: 1001))\"}")?.kind == .outOfRange)
        #expect(try refusal(WeightsPatch.self, "{}")?.pointer == "/weights")
        #expect(try refusal(WeightsPatch.self, "{\"weights\":{\"a\":1},\"key\":[]}")?.pointer == "/key")
        #expect(try refusal(ServerPatch.self, "{\"wait\":1}")?.kind == .unknownField)
        #expect(try refusal(ServerPatch.self, "[]")?.kind == .wrongType)
        #expect(try refusal(ReasonOnly.self, "{\"timeout\":1}")?.pointer == "/timeout")
        #expect(try refusal(ServerWrite.self, "{\"server\":\"a\",\"servr\":1}")?.hint == "did you mean \"server\"?")
    }
}
