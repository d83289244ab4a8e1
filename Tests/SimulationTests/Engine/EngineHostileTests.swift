// The whole engine between clients and upstreams that speak nonsense, nearly right: whatever they send, nothing crashes, what goes
// to an upstream is a request, and when they are gone nothing is left of them.

import Simulation
import Testing

/// One end that says its bytes at its own pace and ends as chance has it.
private final class Babbler: ConnectionScript {
    let world: World
    /// One after the other, each when something has come.
    private var speeches: [[UInt8]]
    private let ending: Pace.Stop
    /// The other end speaks first.
    private let waits: Bool
    private let reader: MessageReader?
    private(set) var nonsense: [String] = []
    private(set) var isOver = false
    private let patienceNs: UInt64

    /// - Parameter readsRequests: what is heard must be requests of HTTP/1.
    init(_ world: World, _ speeches: [[UInt8]], _ ending: Pace.Stop, waits: Bool, readsRequests: Bool, patienceNs: UInt64) {
        self.world = world
        self.speeches = speeches
        self.ending = ending
        self.waits = waits
        self.patienceNs = patienceNs
        reader = readsRequests ? MessageReader(readsRequests: true) : nil
    }

    func begin(_ connection: ActorConnection) {
        // Nobody waits for ever.
        world.after(patienceNs) { [weak self, weak connection] in
            connection?.reset()
            self?.isOver = true
        }
        if !waits { speak(connection) }
    }

    private func speak(_ connection: ActorConnection) {
        if speeches.isEmpty { return }
        let speech = speeches.removeFirst()
        // What comes behind it may come through a tunnel.
        if String(decoding: speech, as: UTF8.self).contains(" 101 ") { reader?.becomeRaw() }
        connection.send(speech)
        if speeches.isEmpty { connection.whenDrained(ending) }
    }

    func connected(_ connection: ActorConnection) { begin(connection) }

    func received(_ connection: ActorConnection, _ bytes: [UInt8]) {
        reader?.feed(bytes) { event in
            if case .bad(let reason) = event { nonsense.append("\(connection.name) was sent no request: \(reason)") }
        }
        if waits || !speeches.isEmpty { speak(connection) }
    }

    func ended(_ connection: ActorConnection) {
        connection.close()
        isOver = true
    }

    func failed(_ connection: ActorConnection, error: Int32) { isOver = true }
}

private final class HostileRun {
    let world: World
    let proxy: SimulatedProxy
    private var dice: SplitMix64
    /// What clients say, and what upstreams say: at times one side does everything right.
    private var asked: HostileBytes
    private var answered: HostileBytes
    private var upstreams: [Babbler] = []
    private var clients: [Babbler] = []
    private var listeners: [ActorListener] = []
    private let baseDescriptors: Int
    private static let peers = (0..<2).map { Address.host(UInt8(2 + $0), 3001) }
    private static let peerOfHTTP2 = Address.host(9, 3002)

    init(_ seed: UInt64) throws {
        dice = SplitMix64(seed: seed ^ 0x4057)
        let rights = dice.chance(0.3) ? (100, dice.pick(20...95)) : dice.chance(0.3) ? (dice.pick(50...98), 100) : (dice.pick(60...98), dice.pick(60...98))
        asked = HostileBytes(dice: SplitMix64(seed: seed ^ 0xA5), rightOfHundred: rights.0)
        answered = HostileBytes(dice: SplitMix64(seed: seed ^ 0x1E), rightOfHundred: rights.1)
        world = World(seed: seed, network: dice.chance(0.5) ? .rough : NetworkPlan(), faults: dice.chance(0.5) ? .harmless : FaultPlan())
        // Long turns: much has happened by the time a worker looks.
        if dice.chance(0.4) { world.network.callCostNs = 0...1_000_000 }
        baseDescriptors = world.kernel.openDescriptors
        let named = Self.peers.map { ("u", $0.description) } + [("two", Self.peerOfHTTP2.description)]
        proxy = try SimulatedProxy(world, Self.configuration(dice.chance(0.5)), peers: named, workers: dice.pick(1...2))
        for address in Self.peers + [Self.peerOfHTTP2] { listen(address) }
        for i in 0..<dice.pick(3...8) { connect("c\(i)") }
        if dice.chance(0.3) { reload(named) }
        if dice.chance(0.2) { world.after(dice.pick(0...8_000_000_000)) { [unowned self] in proxy.stop(gracefully: dice.chance(0.7)) } }
        if dice.chance(0.2) { world.kernel.descriptorsMax = world.kernel.openDescriptors + dice.pick(2...12) }
    }

    private static func configuration(_ isPatient: Bool) -> String {
        """
        error_log /log/error.log info;
        events { worker_connections 512; }
        http {
            access_log \(SimulatedProxy.accessLog);
            client_body_temp_path /tmp; proxy_temp_path /tmp;
            proxy_read_timeout 5s; client_header_timeout 6s; client_body_timeout 6s; send_timeout 6s; lingering_time 10s;
            charset_map koi8-r utf-8 { 80 E282AC; C1 D0B0; }
            limit_req_zone $remote_addr zone=r:1m rate=5r/s; limit_conn_zone $remote_addr zone=c:1m;
            proxy_next_upstream error timeout invalid_header http_500 non_idempotent;
            upstream u { \(peers.map { "server \($0) max_fails=0;" }.joined(separator: " ")) keepalive 4; }
            upstream two { server \(peerOfHTTP2) max_fails=0; keepalive 4; }
            server {
                listen \(SimulatedProxy.address);
                http2 on;
                \(isPatient ? "" : "client_max_body_size 8; large_client_header_buffers 2 1k; client_header_buffer_size 512;")
                location /plain/ { proxy_pass http://u; }
                location /streamed/ { proxy_pass http://u; proxy_buffering off; proxy_request_buffering off; }
                location /spooled/ { proxy_pass http://u; client_body_buffer_size 1k; proxy_buffers 2 512; }
                location /gzip/ { proxy_pass http://u; gzip on; gzip_min_length 0; gzip_proxied any; gzip_types *; }
                location /gunzip/ { proxy_pass http://u; gunzip on; }
                location /ssi/ { proxy_pass http://u; ssi on; }
                location /charset/ { proxy_pass http://u; charset utf-8; source_charset koi8-r; override_charset on; }
                location /mirror/ { proxy_pass http://u; mirror /plain/m; }
                location /auth/ { auth_request /plain/a; proxy_pass http://u/; }
                location /two/ { proxy_pass http://two; proxy_http_version 2; proxy_request_buffering off; }
                location /grpc/ { grpc_pass grpc://two; }
                location /errors/ { proxy_pass http://u; proxy_intercept_errors on; error_page 401 500 502 504 = /plain/e; error_page 302 = @named; }
                location /limited/ { limit_req zone=r burst=1; limit_conn c 1; limit_rate 100; proxy_pass http://u; }
                location /rewritten/ { rewrite ^/rewritten/(.*)$ /plain/$1?y=$args; }
                location /tunnel/ {
                    proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
                }
                location /said/ { return 200 "$request_body$args$http_cookie$sent_http_x\\n"; }
                location @named { proxy_pass http://u; }
            }
        }
        """
    }

    private func reload(_ named: [(String, String)]) {
        let isPatient = dice.chance(0.5)
        world.after(dice.pick(0...5_000_000_000)) { [unowned self] in try? proxy.publish(Self.configuration(isPatient), peers: named) }
    }

    private func ending() -> Pace.Stop {
        switch dice.pick(0...3) {
        case 0: .close
        case 1: .reset
        case 2: .shutdownWrite
        default: .stall
        }
    }

    private func pace() -> Pace { dice.chance(0.3) ? .dripping : Pace() }

    private func listen(_ address: Address) {
        let isHTTP2 = address == Self.peerOfHTTP2
        listeners.append(
            ActorListener(world, at: address) { [unowned self] _, n in
                let speaksHTTP2 = isHTTP2 != dice.chance(0.05)
                let said = (0..<dice.pick(1...3)).map { _ in speaksHTTP2 ? answered.session(isClient: false) : answered.answer() }
                let script = Babbler(
                    world, said, dice.chance(0.5) ? .pause(ns: 1) : ending(), waits: !dice.chance(0.05), readsRequests: !isHTTP2,
                    patienceNs: dice.pick(1_000_000_000...30_000_000_000))
                upstreams.append(script)
                return ("u\(address) \(n)", pace(), script)
            } took: { [unowned self] connection in
                upstreams.last?.begin(connection)
            })
    }

    private func connect(_ name: String) {
        world.after(dice.pick(0...2_000_000_000)) { [unowned self] in
            let speaksHTTP2 = dice.chance(0.5)
            let said = (0..<dice.pick(1...2)).map { i in speaksHTTP2 ? asked.session(isClient: i == 0) : asked.requests(dice.pick(1...4)) }
            let script = Babbler(
                world, said, ending(), waits: false, readsRequests: false, patienceNs: dice.pick(1_000_000_000...60_000_000_000))
            clients.append(script)
            _ = ActorConnection(world, to: SimulatedProxy.address, name: name, pace: pace(), script: script)
        }
    }

    func go() -> [String] {
        var problems: [String] = []
        world.after(100_000_000_000) { self.isDue = true }
        let result = proxy.run(until: { self.isDue && self.clients.allSatisfy(\.isOver) })
        if result != .done { problems.append("\(result) with \(proxy.workers.map(\.accounts))") }
        proxy.stop()
        let end = proxy.runToTheEnd()
        if end != .done { problems.append("stopping: \(end) with \(proxy.workers.map(\.accounts))") }
        problems += proxy.leftovers() + proxy.unbalanced() + proxy.badReceipts() + upstreams.flatMap(\.nonsense)
        for listener in listeners { listener.stop() }
        proxy.end()
        if world.kernel.openDescriptors != baseDescriptors { problems.append("descriptors are left open:\n\(world.kernel.openDescriptorsStory)") }
        if world.kernel.closedTwice > 0 { problems.append("\(world.kernel.closedTwice) descriptors were closed twice") }
        if !problems.isEmpty { problems += [world.story, "--- error log", world.files.text("/log/error.log") ?? ""] }
        world.end()
        return problems
    }

    private var isDue = false
}

@Suite struct EngineHostileTests {
    @Test func nonsenseOnBothSides() throws {
        for seed in simulationSeeds(200) {
            let problems = try HostileRun(seed).go()
            if problems.isEmpty { continue }
            Issue.record("SIMULATION_SEED=\(seed) replays this:\n\(problems.joined(separator: "\n"))")
            return
        }
    }
}
