@testable import Balancing
import Testing

/// What nginx 1.22 answered to the same requests, recorded once: each digit is the server that answered the next request.
@Suite struct NginxFixtureTests {
    static let servers: [(name: String, weight: Int)] = [
        ("127.0.0.1:18101", 1), ("127.0.0.1:18102", 3), ("127.0.0.1:18103", 2),
        ("127.0.0.1:18104", 1), ("127.0.0.1:18105", 5),
    ]
    static let ringServers: [(name: String, weight: Int)] =
        Array(servers.dropLast()) + [("unix:/tmp/ring.sock", 5), ("[::1]:18106", 1)]
    static let keys = (0..<300).map { Array("key-\($0)".utf8) }
    static let addresses = (0..<300).map(address)

    static func address(_ i: Int) -> [UInt8] {
        let bytes = [127, 7 * i, 13 * i, 1 + i % 200]
        return bytes.map { UInt8($0 % 256) }
    }

    /// An upstream whose fourth server is down, as nginx was configured with.
    static func upstream(_ algorithm: Algorithm, _ servers: [(name: String, weight: Int)]) -> Balancer {
        var specs: [PeerSpec] = []
        for (i, server) in servers.enumerated() {
            var spec = PeerSpec(counters: PeerCounters())
            spec.hashName = Array(server.name.utf8)
            spec.weight = server.weight
            spec.isDown = i == 3
            specs.append(spec)
        }
        return Balancer(algorithm, peers: specs)
    }

    static func answers(_ balancer: inout Balancer, _ keys: [[UInt8]]) -> String {
        var result = ""
        for key in keys {
            var tried = TriedPeers()
            let pick = balancer.pick(PickContext(nowMs: 1_000_000), key: key.span, tried: &tried)
            guard case .peer(let peer, isBackup: false) = pick else { return "\(pick) after \(result)" }
            balancer.release(peer, outcome: .succeeded, nowMs: 1_000_000)
            result += String(peer)
        }
        return result
    }

    @Test func hash() {
        var balancer = Self.upstream(.hash, Self.servers)
        #expect(Self.answers(&balancer, Self.keys) == Self.hashAnswers)
        let noKeys = [[UInt8]](repeating: [], count: 22)
        #expect(Self.answers(&balancer, noKeys) == Self.turnAnswers.prefix(22))
    }

    @Test func hashConsistent() {
        var balancer = Self.upstream(.hashConsistent, Self.ringServers)
        #expect(Self.answers(&balancer, Self.keys) == Self.ringAnswers)
    }

    @Test func ipHash() {
        var balancer = Self.upstream(.ipHash, Self.servers)
        #expect(Self.answers(&balancer, Self.addresses) == Self.addressAnswers)
    }

    @Test(arguments: [Algorithm.roundRobin, .leastConn])
    func turnsAmongIdlePeers(_ algorithm: Algorithm) {
        var balancer = Self.upstream(algorithm, Self.servers)
        let noKeys = [[UInt8]](repeating: [], count: 44)
        #expect(Self.answers(&balancer, noKeys) == Self.turnAnswers)
    }

    static let hashAnswers = [
        "4244144144114004411224112410444414120424142412142421402414142442244444401411042444411101212114244210",
        "0111211044422242242442444244111112241114211424444014241404042204422421141021121411402442244104121141",
        "2104101411414404224444122144421421414121424112144121404442144424211242402214412410112404044444144044",
    ].joined()
    static let ringAnswers = [
        "0245444424514142412100442544420441414514211414440141425440015100244244205201412254424144151015451404",
        "2151412454015445411114544144245041154415422041112444442142514224142445142224444442252514144444442014",
        "5500041214021442011044144444410214551414410445542404121240401014024541144215201054410421151414454404",
    ].joined()
    static let addressAnswers = [
        "4441111111142414002444444440000000022444444444441111111444441111444444411122444222224444444411111114",
        "2222222244000222222111424114044444444200000002244111111114111111144444444000004441122244444444111444",
        "4411111111444444424400022222224444444144444444222222224444411111111424140024444444400000000224444444",
    ].joined()
    static let turnAnswers = [
        "41240414214412404142144124041421441240414214",
    ].joined()
}
