// The whole engine over the simulated kernel, where upstreams, clients, networks and the machine fail: every request still ends
// once, visibly, and nothing is left behind.

import Simulation
import Testing

@Suite struct EngineFaultTests {
    @Test func upstreamsThatFailAtEveryPoint() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.peerCount = dice.pick(1...3)
            scenario.answersAll = true
            Self.failingUpstreams(&scenario, &dice)
            return scenario
        }
    }

    @Test func connectionsThatAreRefusedOrHearNothing() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.peerCount = dice.pick(1...4)
            scenario.attemptsMax = 2 * scenario.peerCount
            scenario.peerParameters = "max_fails=\(dice.pick(0...2)) fail_timeout=\(dice.pick(1...3))s"
            let refused = dice.chance(0.5) ? 0.3 : 0
            scenario.plan = { run in
                let peers = (0..<run.scenario.peerCount).filter { _ in run.dice.chance(0.3) }
                for peer in peers { run.world.silentPlaces.insert(EngineRun.peer(peer)) }
                run.world.after(run.dice.pick(0...3_000_000_000)) { run.world.silentPlaces = [] }
                // Only connections of the proxy are refused: clients connect in the first moments.
                run.world.after(310_000_000) { run.world.faults.refusedConnect = refused }
                let crashes = run.dice.chance(0.3) ? 0 : -1
                if crashes >= 0 { run.world.after(run.dice.pick(0...1_000_000_000)) { run.upstreams[crashes].crash() } }
            }
            return scenario
        }
    }

    @Test func clientsThatStallCloseAndReset() throws {
        try simulate(also: [171638715138882]) { dice in
            var scenario = EngineScenario()
            scenario.requestBytesMax = 20_000
            scenario.answerBytesMax = 40_000
            scenario.paths.append("/untold/")
            if dice.chance(0.3) { scenario.http = "reset_timedout_connection on;" }
            if dice.chance(0.3) { scenario.http += "proxy_ignore_client_abort \(dice.chance(0.5) ? "on" : "off");" }
            if dice.chance(0.2) { scenario.http += "lingering_close \(dice.chance(0.5) ? "always" : "off");" }
            Self.failingClients(&scenario)
            return scenario
        }
    }

    /// The client is gone when it is told to go on: at the moment its upstream connects.
    @Test func clientsThatAreGoneWhenTheyAreToldToGoOn() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.clientCount = 8
            scenario.paths = ["/streamed/"]
            scenario.methods = ["POST"]
            // Turns are long: the client's end and the upstream's beginning come in one.
            scenario.network.callCostNs = 0...1_000_000
            scenario.network.pieceBytes = Int.max...Int.max
            func expecting(_ id: String) -> PlannedRequest {
                let body = [UInt8](repeating: 0x61, count: 100)
                var request = PlannedRequest(id: id, method: "POST", target: "/streamed/" + id, fields: [("Expect", "100-continue")], body: body)
                request.continueWaitNs = 1_000_000_000
                return request
            }
            scenario.changeRequest = { request, _ in request = expecting(request.id) }
            scenario.tuneClient = { client, dice in
                var pace = Pace()
                pace.stopAfterWritten = expecting("0.0").head.count
                pace.stop = dice.chance(0.9) ? .reset : .close
                client.pace = { _ in pace }
            }
            return scenario
        }
    }

    @Test func tunnelsThatBreak() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.changeRequest = EngineScenario.upgradeSome
            scenario.tuneClient = { client, dice in
                client.patienceNs = 20_000_000_000
                if dice.chance(0.5) { client.pace = Self.failingPace(&dice) }
            }
            scenario.tuneUpstream = { upstream, dice in
                if dice.chance(0.5) { upstream.pace = Self.failingPace(&dice) }
            }
            scenario.changeAnswer = { answer, _, _, dice in
                if dice.chance(0.1) { answer.fault = .closeBeforeHead }
                // An early end of such an answer cannot be told from its end.
                if case .untilClose = answer.framing { answer.framing = .length }
            }
            scenario.attemptsMax = 2
            return scenario
        }
    }

    @Test func noDescriptors() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.answersAll = true
            if dice.chance(0.5) { scenario.faults.noDescriptor = 0.1 }
            let room = dice.pick(4...9)
            scenario.plan = { run in
                run.world.kernel.descriptorsMax = run.world.kernel.openDescriptors + room
            }
            return scenario
        }
    }

    @Test func fewConnections() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.connectionsMax = dice.pick(1...3)
            scenario.peerCount = dice.pick(1...3)
            scenario.clientCount = 6
            return scenario
        }
    }

    @Test func idleConnectionsMakeWayForRequests() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.clientCount = dice.pick(1...3)
            // The client before may not have been seen to be gone.
            scenario.connectionsMax = scenario.clientCount + 1
            scenario.peerCount = 6
            scenario.isPerfect = true
            return scenario
        }
    }

    @Test func aFullOrBrokenDisk() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.paths = ["/spooled/", "/mixed/"]
            scenario.requestBytesMax = 30_000
            scenario.answerBytesMax = 40_000
            scenario.mayLoseLines = true
            scenario.answersAll = true
            if dice.chance(0.3) { scenario.faults.ioError = 0.05 }
            if dice.chance(0.3) { scenario.faults.noSpace = 0.05 }
            let bytesMax = dice.pick(2_000...40_000)
            scenario.plan = { $0.world.files.bytesMax = bytesMax }
            scenario.tuneClient = { client, dice in
                if dice.chance(0.5) { client.pace = { _ in EngineScenario.slowPace } }
            }
            return scenario
        }
    }

    @Test func aDiskWithoutNamelessFiles() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.paths = ["/spooled/"]
            scenario.requestBytesMax = 30_000
            scenario.answerBytesMax = 40_000
            scenario.isPerfect = true
            // The name is there only until the file is open.
            scenario.plan = { run in
                run.world.files.knowsUnnamed = false
                for ms in 1...20 { run.world.after(UInt64(ms) * 50_000_000) { #expect(run.world.files.paths(under: "/tmp/") == []) } }
            }
            scenario.tuneClient = { client, dice in
                if dice.chance(0.5) { client.pace = { _ in EngineScenario.slowPace } }
            }
            return scenario
        }
    }

    @Test func everythingAtOnce() throws {
        try simulate(also: [232842307671202]) { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.peerCount = dice.pick(1...3)
            scenario.mayLoseLines = true
            scenario.paths.append("/untold/")
            scenario.connectionsMax = dice.chance(0.2) ? dice.pick(2...6) : 512
            Self.failingUpstreams(&scenario, &dice)
            Self.failingClients(&scenario)
            scenario.changeRequest = EngineScenario.upgradeSome
            scenario.faults.lostConnection = 0.005
            scenario.faults.stalledPiece = 0.005
            scenario.faults.refusedConnect = 0.05
            scenario.faults.silentConnect = 0.02
            scenario.faults.noDescriptor = 0.01
            scenario.faults.noSpace = 0.01
            scenario.faults.ioError = 0.01
            scenario.attemptsMax = 6
            let happens = dice.pick(0...3)
            scenario.plan = { run in
                let atNs: UInt64 = run.dice.pick(0...2_000_000_000)
                switch happens {
                case 0: run.world.after(atNs) { run.stop() }
                case 1: run.world.after(atNs) { run.stop(gracefully: false) }
                case 2: run.publishNewPeers(atNs: atNs)
                default: break
                }
            }
            return scenario
        }
    }

    // MARK: Ways to fail

    static func failingUpstreams(_ scenario: inout EngineScenario, _ dice: inout SplitMix64) {
        scenario.attemptsMax = 2 * scenario.peerCount
        scenario.peerParameters = "max_fails=\(dice.pick(0...2)) fail_timeout=1s"
        let conditions = ["error", "timeout", "invalid_header", "http_500", "http_503"].filter { _ in dice.chance(0.7) }
        scenario.http += "proxy_next_upstream \(conditions.isEmpty ? "off" : conditions.joined(separator: " "));"
        if dice.chance(0.3) { scenario.http += "proxy_next_upstream_timeout 4s;" }
        let share = Double(dice.pick(1...8)) / 10
        scenario.changeAnswer = { answer, record, _, dice in
            if dice.chance(share) { fail(&answer, record, &dice) }
            if dice.chance(0.1) { answer.moment = .afterHead }
        }
        scenario.tuneUpstream = { upstream, dice in
            if dice.chance(0.3) { upstream.idleCloseNs = dice.pick(1_000_000...200_000_000) }
        }
    }

    private static func fail(_ answer: inout Answer, _ record: UpstreamRecord, _ dice: inout SplitMix64) {
        let isShort = record.method == "HEAD" || answer.status == 204 || answer.status == 304
        let cut = dice.pick(1...(40 + (isShort ? 0 : answer.body.count)))
        switch dice.pick(0...8) {
        case 0: answer.fault = .silence
        case 1: answer.fault = .resetBeforeHead
        case 2: answer.fault = .closeBeforeHead
        case 3: answer.fault = .resetAfter(cut)
        case 4: answer.fault = .closeAfter(cut)
        case 5: answer.fault = .stallAfter(cut)
        case 6: answer.fault = .nonsense(nonsense[dice.pick(0...(nonsense.count - 1))])
        case 7: answer.status = 500
        default: answer.status = 503
        }
    }

    private static let nonsense: [[UInt8]] = [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        "\u{0}\u{1}\u{2}",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 9_000),
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
    ].map { Array($0.utf8) }

    static func failingClients(_ scenario: inout EngineScenario) {
        scenario.tuneClient = { client, dice in
            if dice.chance(0.7) { client.pace = failingPace(&dice) }
            if dice.chance(0.3) { client.pipelineDepth = dice.pick(2...4) }
            if dice.chance(0.3) { client.patienceNs = dice.pick(100_000_000...8_000_000_000) }
        }
    }

    private static func failingPace(_ dice: inout SplitMix64) -> (Int) -> Pace {
        var pace = dice.chance(0.3) ? EngineScenario.slowPace : Pace()
        if dice.chance(0.5) { pace.stopAfterWritten = dice.pick(1...4_000) } else { pace.stopAfterRead = dice.pick(1...20_000) }
        let stops: [Pace.Stop] = [.stall, .pause(ns: 3_000_000_000), .pause(ns: 30_000_000_000), .close, .reset, .shutdownWrite]
        pace.stop = stops[dice.pick(0...(stops.count - 1))]
        let every = dice.pick(1...3)
        return { n in n % every == 0 ? pace : Pace() }
    }
}
