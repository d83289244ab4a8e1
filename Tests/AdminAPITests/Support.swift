// Owns what the tests of AdminAPI share: parsing of text, problems caught, a state with every field set, a seeded generator.

import AdminAPI

func parsed(_ text: String) throws -> JSON { try JSON.parse(Array(text.utf8)) }

/// The problem `body` throws, or nil.
func problem<Value>(_ body: () throws(Problem) -> Value) -> Problem? {
    do {
        _ = try body()
        return nil
    } catch { return error }
}

/// The problem of parsing `text`.
func parseProblem(_ text: String) -> Problem? { problem { () throws(Problem) in try JSON.parse(Array(text.utf8)) } }

/// A state in which every field differs from its default.
func fullState() -> ProxyState {
    var first = ServerState(server: "127.0.0.1:3001")
    first.id = 4
    first.weight = 7
    first.maxConns = 100
    first.maxFails = 3
    first.failTimeoutMs = 90_000
    first.down = true
    first.drain = true
    var second = ServerState(server: "unix:/run/app.sock")
    second.id = 9
    second.backup = true
    var blue = UpstreamState(servers: [first, second])
    blue.balance = "least_conn"
    blue.keepalive = 32
    blue.keepaliveIsLocal = true
    blue.keepaliveRequests = 77
    blue.keepaliveTimeMs = 1_800_500
    blue.keepaliveTimeoutMs = 15_000
    blue.sticky = "cookie srv expires=1h path=/"
    blue.nextServerID = 12
    var green = UpstreamState(servers: [ServerState(server: "[::1]:8080")])
    green.servers[0].id = 0
    green.nextServerID = 1
    let split = SplitState(
        weights: ["blue": 90, "green": 10], key: ["$cookie_sid", "$remote_addr"], force: "$http_x_variant",
        assign: AssignState(cookie: "sid", maxAgeSeconds: 30 * 86_400))
    return ProxyState(upstreams: ["blue": blue, "green": green], splits: ["app": split])
}
