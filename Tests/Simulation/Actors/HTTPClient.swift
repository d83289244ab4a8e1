// A client of the proxy under test: sends planned requests on one connection after another, and writes down every answer.
// Started by a test. It follows HTTP/1.1 just far enough to know where an answer ends.

import CLinux

/// One request as the client will send it.
package struct PlannedRequest: Sendable {
    package var id: String
    package var method: String
    package var head: [UInt8]
    package var body: [UInt8]
    /// What the body means, whatever its framing.
    package var meaning: [UInt8]
    /// The body waits for a 100 (Continue), at most so long.
    package var continueWaitNs: UInt64?
    /// Bytes to send through the tunnel once the answer is 101; the client then shuts its writing down.
    package var tunnel: [UInt8]?
    /// The client's side of the tunnel stays open when they are sent.
    package var holdsTunnel = false

    package enum Framing: Sendable {
        case length
        /// In chunks of at most so many bytes.
        case chunked(Int)
    }

    /// A request with its id in the field `x-id`.
    package init(
        id: String, method: String = "GET", target: String = "/", host: String = "test", fields: [(String, String)] = [],
        body: [UInt8] = [], framing: Framing = .length
    ) {
        self.id = id
        self.method = method
        meaning = body
        var text = "\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\nX-Id: \(id)\r\n"
        for (name, value) in fields { text += "\(name): \(value)\r\n" }
        switch framing {
        case .length:
            if !body.isEmpty || method == "POST" || method == "PUT" { text += "Content-Length: \(body.count)\r\n" }
            self.body = body
        case .chunked(let size):
            text += "Transfer-Encoding: chunked\r\n"
            self.body = chunks(body, sizes: size...size) { $0.lowerBound }
        }
        head = Array((text + "\r\n").utf8)
    }

    /// Bytes as they are: for malformed requests. The method says how the answer ends.
    package init(id: String, raw: [UInt8], method: String = "GET") {
        self.id = id
        self.method = method
        head = raw
        body = []
        meaning = []
    }

    /// Asks to switch protocols, and sends `bytes` through the tunnel.
    package static func upgrade(id: String, target: String = "/", to token: String = "test", bytes: [UInt8]) -> PlannedRequest {
        var request = PlannedRequest(id: id, target: target, fields: [("Connection", "Upgrade"), ("Upgrade", token)])
        request.tunnel = bytes
        return request
    }
}

/// `body` in the chunked coding of RFC 9112 7.1, the sizes chosen by `pick`.
func chunks(_ body: [UInt8], sizes: ClosedRange<Int>, _ pick: (ClosedRange<Int>) -> Int) -> [UInt8] {
    var out: [UInt8] = []
    var rest = body[...]
    while !rest.isEmpty {
        let piece = rest.prefix(max(1, pick(sizes)))
        out += Array((String(piece.count, radix: 16) + "\r\n").utf8) + piece + [13, 10]
        rest = rest.dropFirst(piece.count)
    }
    return out + Array("0\r\n\r\n".utf8)
}

/// What became of a planned request, as its client saw it.
package struct ClientRecord: Sendable {
    package enum Outcome: Equatable, Sendable {
        /// Not sent yet, or its answer is not whole yet.
        case waiting
        case whole
        /// The connection ended, in order, inside the answer.
        case cut
        /// The connection ended or was reset before any byte of an answer.
        case noAnswer
        /// A reset inside the answer.
        case reset
        case notConnected
        /// The client itself stalled, closed or reset.
        case abandoned
        /// Patience was at its end.
        case timedOut
        case bad(String)
    }

    package let id: String
    package let method: String
    package let sentBody: [UInt8]
    package var outcome = Outcome.waiting
    package var informational: [Int] = []
    package var head: TestHead?
    package var body: [UInt8] = []
    /// What came back through the tunnel.
    package var tunnelBytes: [UInt8] = []
    package var startedNs: UInt64 = 0
    package var finishedNs: UInt64 = 0
    /// On which of the client's connections it was sent.
    package var connection = -1

    package var status: Int { head?.status ?? 0 }
}

package final class HTTPClient: ConnectionScript {
    package let name: String
    package private(set) var records: [ClientRecord]
    package private(set) var connectionsOpened = 0
    /// Requests sent before the answer of the first was whole; 1: none.
    package var pipelineDepth = 1
    /// Between a whole answer and the next request.
    package var thinkNs: ClosedRange<UInt64> = 0...0
    /// The pace of the n-th connection.
    package var pace: (Int) -> Pace = { _ in Pace() }
    /// Whether requests not yet sent go on a new connection when one is lost.
    package var reconnects = true
    /// A new connection for each request.
    package var closesEachTime = false
    /// How long a request may take before the client resets its connection.
    package var patienceNs: UInt64?
    /// What to say through a tunnel to what has come of it so far.
    package var tunnelReply: ([UInt8]) -> [UInt8]? = { _ in nil }
    /// Set when every request has come to an outcome.
    package private(set) var isFinished = false

    private let world: World
    private let address: Address
    private let requests: [PlannedRequest]
    private var connection: ActorConnection?
    private var reader = MessageReader(readsRequests: false)
    private var nextToSend = 0
    private var outstanding: [Int] = []
    private var thinkingIsPlanned = false
    private var heldBody: Int?
    private var withholdsBody = false

    package init(_ world: World, name: String, to address: Address, requests: [PlannedRequest]) {
        self.world = world
        self.name = name
        self.address = address
        self.requests = requests
        records = requests.map { ClientRecord(id: $0.id, method: $0.method, sentBody: $0.meaning) }
    }

    /// Connects after `delayNs` and begins.
    package func start(afterNs delayNs: UInt64 = 0) {
        world.after(delayNs) { self.goOn() }
    }

    /// Sends bytes as they are: through a tunnel.
    package func say(_ bytes: [UInt8]) { connection?.send(bytes) }

    /// Closes the connection, if one is open, whatever is outstanding.
    package func leave() {
        connection?.close()
        abandonEverything()
    }

    // MARK: Sending

    private func goOn() {
        thinkingIsPlanned = false
        if isFinished { return }
        if connection == nil {
            if nextToSend == requests.count { return settle() }
            reader = MessageReader(readsRequests: false)
            reader.nextAnswersHead = { [unowned self] in outstanding.first.map { requests[$0].method == "HEAD" } ?? false }
            connectionsOpened += 1
            let n = connectionsOpened - 1
            connection = ActorConnection(world, to: address, name: "\(name)#\(n)", pace: pace(n), script: self)
            return
        }
        sendNext()
    }

    private func sendNext() {
        guard let connection else { return }
        // What follows a request to switch protocols would go into the tunnel.
        if outstanding.contains(where: { requests[$0].tunnel != nil }) { return }
        while nextToSend < requests.count, outstanding.count < (closesEachTime ? 1 : pipelineDepth), heldBody == nil {
            let i = nextToSend
            if closesEachTime && records[..<i].contains(where: { $0.connection == connectionsOpened - 1 }) { return }
            nextToSend += 1
            outstanding.append(i)
            records[i].startedNs = world.nowNs
            records[i].connection = connectionsOpened - 1
            world.note("client", "\(name) sends \(requests[i].id)")
            connection.send(requests[i].head)
            if let waitNs = requests[i].continueWaitNs {
                heldBody = i
                world.after(waitNs) { self.sendHeldBody(i) }
            } else {
                connection.send(requests[i].body)
            }
            if let patienceNs { world.after(patienceNs) { self.losePatience(i) } }
            if requests[i].tunnel != nil { return }
        }
    }

    private func sendHeldBody(_ i: Int) {
        if heldBody != i { return }
        heldBody = nil
        connection?.send(requests[i].body)
        sendNext()
    }

    private func losePatience(_ i: Int) {
        if records[i].outcome != .waiting || records[i].connection != connectionsOpened - 1 { return }
        finish(i, .timedOut)
        connection?.reset()
        lost(.noAnswer)
    }

    // MARK: Events

    package func connected(_ connection: ActorConnection) { sendNext() }

    package func received(_ connection: ActorConnection, _ bytes: [UInt8]) {
        reader.feed(bytes) { handle($0) }
    }

    private func handle(_ event: MessageReader.Event) {
        guard let i = outstanding.first else {
            // An answer nobody asked for (408 at most, as a server may send one when it closes an idle connection).
            if case .head(let head) = event, head.status != 408 { unasked += 1 }
            return
        }
        switch event {
        case .head(let head):
            if head.status == 101 {
                records[i].head = head
                if let tunnel = requests[i].tunnel {
                    connection?.send(tunnel)
                    if !requests[i].holdsTunnel { connection?.whenDrained(.shutdownWrite) }
                }
            } else if head.status < 200 {
                records[i].informational.append(head.status)
                if head.status == 100 { sendHeldBody(i) }
            } else {
                records[i].head = head
                // A body that was announced and is not sent ends the connection (RFC 9110 10.1.1).
                if heldBody == i {
                    heldBody = nil
                    withholdsBody = true
                }
            }
        case .body(let piece): records[i].body += piece
        case .end: answered(i)
        case .raw(let piece):
            records[i].tunnelBytes += piece
            if let reply = tunnelReply(records[i].tunnelBytes) { connection?.send(reply) }
        case .bad(let reason):
            finish(i, .bad(reason))
            connection?.reset()
            lost(.noAnswer)
        }
    }

    /// Answers that came without a request.
    package private(set) var unasked = 0

    private func answered(_ i: Int) {
        outstanding.removeFirst()
        finish(i, .whole)
        let head = records[i].head
        let closes = withholdsBody
            || head?.field("connection")?.lowercased() == "close" || head?.startLine.hasPrefix("HTTP/1.0") == true
        withholdsBody = false
        if closes || closesEachTime || nextToSend == requests.count && outstanding.isEmpty {
            // What was sent after an answer that announces the close is not served (RFC 9112 9.6).
            if !outstanding.isEmpty {
                nextToSend = outstanding[0]
                for k in outstanding { records[k].connection = -1 }
                outstanding = []
            }
            connection?.close()
            return lost(.noAnswer)
        }
        if thinkingIsPlanned { return }
        let thinkNs = world.dice.pick(thinkNs)
        if thinkNs == 0 { return sendNext() }
        thinkingIsPlanned = true
        world.after(thinkNs) { self.goOn() }
    }

    package func ended(_ connection: ActorConnection) {
        if let i = outstanding.first, records[i].head != nil, reader.streamEnded() {
            outstanding.removeFirst()
            finish(i, .whole)
        }
        connection.close()
        lost(.cut)
    }

    package func failed(_ connection: ActorConnection, error: Int32) {
        if connection.bytesRead == 0 && connection.bytesWritten == 0 && outstanding.isEmpty {
            if nextToSend < requests.count {
                finish(nextToSend, .notConnected)
                nextToSend += 1
            }
        }
        lost(.reset)
    }

    package func stopped(_ connection: ActorConnection) {
        switch connection.pace.stop {
        case .pause, .shutdownWrite: return
        case .stall, .close, .reset:
            if !connection.isOpen { return lost(.abandoned) }
            // It holds its connection open for ever: whatever it had planned is not sent.
            abandonEverything()
        }
    }

    /// The connection is gone: the first outstanding request ended as `outcome` says if its answer had begun.
    private func lost(_ outcome: ClientRecord.Outcome) {
        giveUp(outcome)
        reader.stop()
        connection = nil
        if !reconnects {
            for i in nextToSend..<requests.count { finish(i, .notConnected) }
            nextToSend = requests.count
        }
        settleIfOver()
        if !isFinished && !thinkingIsPlanned {
            thinkingIsPlanned = true
            world.after(world.dice.pick(thinkNs)) { self.goOn() }
        }
    }

    private func abandonEverything() {
        giveUp(.abandoned)
        for i in nextToSend..<requests.count { finish(i, .abandoned) }
        nextToSend = requests.count
        settle()
    }

    private func giveUp(_ outcome: ClientRecord.Outcome) {
        for (position, i) in outstanding.enumerated() {
            let begun = position == 0 && (records[i].head != nil || reader.isInMessage)
            finish(i, begun || outcome == .abandoned ? outcome : .noAnswer)
        }
        outstanding = []
        heldBody = nil
        withholdsBody = false
    }

    private func finish(_ i: Int, _ outcome: ClientRecord.Outcome) {
        if records[i].outcome != .waiting { return }
        records[i].outcome = outcome
        records[i].finishedNs = world.nowNs
        world.note("client", "\(name) \(requests[i].id): \(outcome) \(records[i].status)")
    }

    private func settleIfOver() {
        if nextToSend == requests.count && outstanding.isEmpty { settle() }
    }

    private func settle() {
        isFinished = true
    }
}
