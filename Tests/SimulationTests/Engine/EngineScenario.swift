// What one run of the engine is made of: network, faults, configuration, and how clients and upstreams behave.
// Filled by the engine's tests from a seed; run by `EngineRun`. It does nothing by itself.

import Simulation

struct EngineScenario {
    var network = NetworkPlan.rough
    var faults = FaultPlan.harmless
    var workers = 1
    var clientCount = 4
    var requestsEach = 6
    var peerCount = 1
    var connectionsMax = 512

    /// Directives of the main level, of `http`, of `upstream u`, and parameters of each of its servers.
    var main = ""
    var http = ""
    var upstream = ""
    var locations = ""
    var peerParameters = ""
    /// Where locations lead: the upstream `u`, or a split that `http` makes.
    var target = "u"
    /// Names of the usual timeouts that `http` sets itself.
    var omits: [String] = []

    /// Request bodies and answers have at most so many bytes.
    var requestBytesMax = 6_000
    var answerBytesMax = 12_000
    /// Where requests go: the paths of `locations`.
    var paths = ["/whole/", "/streamed/", "/mixed/", "/spooled/"]
    var methods = ["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE"]

    /// Changes to a request and to an answer that were drawn; `attempt` counts from 0.
    var changeRequest: (inout PlannedRequest, inout SplitMix64) -> Void = { _, _ in }
    var changeAnswer: (inout Answer, UpstreamRecord, Int, inout SplitMix64) -> Void = { _, _, _, _ in }
    var tuneClient: (HTTPClient, inout SplitMix64) -> Void = { _, _ in }
    var tuneUpstream: (HTTPUpstream, inout SplitMix64) -> Void = { _, _ in }
    /// Plans what else happens in the run.
    var plan: (EngineRun) -> Void = { _ in }

    /// Every request gets the whole answer of an upstream.
    var isPerfect = false
    var attemptsMax = 1
    var attemptsWithBodyMax = 1
    /// Every request gets an answer, of an upstream or of the proxy; only one that had begun may be cut.
    var answersAll = false
    /// After a graceful stop in mid-flight, whatever had reached an upstream ends with its whole answer.
    var isPerfectWhenStopped = false
    /// Log lines may be lost: the disk is full.
    var mayLoseLines = false

    private static let timeouts = [
        "proxy_connect_timeout 2s;", "proxy_read_timeout 5s;", "proxy_send_timeout 5s;", "client_header_timeout 6s;",
        "client_body_timeout 6s;", "send_timeout 6s;", "keepalive_timeout 20s;", "lingering_time 10s;", "lingering_timeout 3s;",
    ]

    static let locations = """
        location /whole/ { proxy_pass http://u; }
        location /streamed/ { proxy_pass http://u; proxy_buffering off; proxy_request_buffering off; }
        location /mixed/ { proxy_pass http://u; proxy_request_buffering off; proxy_buffers 2 1k; proxy_max_temp_file_size 4k; }
        location /spooled/ { proxy_pass http://u; client_body_buffer_size 1k; proxy_buffers 2 512; }
        location /untold/ { proxy_pass http://u; proxy_http_version 1.0; proxy_buffers 2 1k; proxy_max_temp_file_size 0; }
        location /gotten/ { proxy_pass http://u; proxy_method GET; }
        location /said/ { return 200 said; }
        location /tunnel/ {
            proxy_pass http://u; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
        }
        """

    func configuration(peers: [Address]) -> String {
        let servers = peers.map { "server \($0) \(peerParameters);" }.joined(separator: " ")
        return """
            \(main)
            error_log /log/error.log info;
            events { worker_connections \(connectionsMax); }
            http {
                log_format line '$http_x_id $status $request_method $revision $variant $upstream_addr';
                access_log \(SimulatedProxy.accessLog) line;
                client_body_temp_path /tmp; proxy_temp_path /tmp;
                \(Self.timeouts.filter { line in !omits.contains { line.hasPrefix($0) } }.joined(separator: " "))
                \(http)
                upstream u { \(upstream) \(servers) }
                server {
                    listen \(SimulatedProxy.address);
                    \(Self.locations.replacing("http://u;", with: "http://\(target);")) \(locations)
                }
            }
            """
    }

    /// A request as this scenario draws it.
    func request(_ id: String, _ dice: inout SplitMix64) -> PlannedRequest {
        let method = methods[dice.pick(0...(methods.count - 1))]
        let path = paths[dice.pick(0...(paths.count - 1))]
        let hasBody = method == "POST" || method == "PUT"
        let body = hasBody ? dice.bytes(dice.chance(0.2) ? dice.pick(0...requestBytesMax) : dice.pick(0...900)) : []
        let framing: PlannedRequest.Framing = hasBody && dice.chance(0.4) ? .chunked(dice.pick(1...3_000)) : .length
        var fields: [(String, String)] = []
        let waits = !body.isEmpty && dice.chance(0.15)
        if waits { fields.append(("Expect", "100-continue")) }
        var request = PlannedRequest(
            id: id, method: method, target: path + id, fields: fields, body: body, framing: framing)
        if waits { request.continueWaitNs = 1_000_000_000 }
        changeRequest(&request, &dice)
        return request
    }

    /// An answer as this scenario draws it.
    func answer(_ record: UpstreamRecord, _ attempt: Int, _ dice: inout SplitMix64) -> Answer {
        if record.target.hasPrefix("/tunnel/") {
            var answer = Answer.echo
            changeAnswer(&answer, record, attempt, &dice)
            return answer
        }
        var answer = Answer(body: dice.bytes(dice.chance(0.25) ? dice.pick(0...answerBytesMax) : dice.pick(0...1_200)))
        if dice.chance(0.3) { answer.framing = .chunked(1...2_000) }
        if dice.chance(0.15) { answer.framing = .untilClose }
        if dice.chance(0.2) { answer.delayNs = dice.pick(0...1_000_000_000) }
        if dice.chance(0.1) { answer.informational = [dice.chance(0.5) ? 100 : 103] }
        if dice.chance(0.1) { answer.ending = .close }
        if dice.chance(0.05) { answer = Answer(dice.chance(0.5) ? 204 : 304) }
        changeAnswer(&answer, record, attempt, &dice)
        return answer
    }

    /// Turns a third of the requests into upgrades.
    static func upgradeSome(_ request: inout PlannedRequest, _ dice: inout SplitMix64) {
        if !dice.chance(0.3) { return }
        request = .upgrade(id: request.id, target: "/tunnel/" + request.id, bytes: dice.bytes(dice.pick(0...15_000)))
    }

    /// A client that reads by and by.
    static var slowPace: Pace {
        var pace = Pace()
        pace.readBytes = 1...2_000
        pace.readGapNs = 0...5_000_000
        return pace
    }
}
