// An upstream server of the proxy under test: answers as its script says, well or badly, and writes down what it saw.
// Started by a test. Its script is a function from the request seen to an `Answer`.

import CLinux

/// How an upstream answers one request.
package struct Answer: Sendable {
    package enum Framing: Sendable {
        case length
        /// Chunks with sizes drawn from the range.
        case chunked(ClosedRange<Int>)
        case untilClose
    }
    package enum Moment: Sendable { case afterRequest, afterHead }
    package enum Ending: Sendable {
        case keepAlive
        /// Says `Connection: close` and closes.
        case close
        /// Closes after the answer without having said so, at once or a little later.
        case closeUnannounced(afterNs: UInt64)
    }
    package enum Fault: Sendable {
        case none
        /// Never answers, and does not close.
        case silence
        /// Resets or closes in place of an answer.
        case resetBeforeHead, closeBeforeHead
        /// After so many bytes of the answer, head included.
        case resetAfter(Int), closeAfter(Int), stallAfter(Int)
        /// These bytes in place of an answer; then closes.
        case nonsense([UInt8])
    }

    package var status = 200
    package var reason = "OK"
    package var fields: [(String, String)] = []
    package var body: [UInt8] = []
    package var framing = Framing.length
    package var moment = Moment.afterRequest
    package var delayNs: UInt64 = 0
    /// Between the head and a body with a length.
    package var bodyDelayNs: UInt64 = 0
    /// Informational statuses sent before, such as 100 or 103.
    package var informational: [Int] = []
    package var ending = Ending.keepAlive
    package var fault = Fault.none
    /// Answers 101 and gives every byte back until the end of the stream.
    package var becomesEcho = false

    package init(_ status: Int = 200, body: [UInt8] = [], framing: Framing = .length) {
        self.status = status
        self.body = body
        self.framing = framing
    }

    package static func text(_ text: String) -> Answer { Answer(body: Array(text.utf8)) }
    package static func fault(_ fault: Fault) -> Answer {
        var answer = Answer()
        answer.fault = fault
        return answer
    }
    package static var echo: Answer {
        var answer = Answer(101)
        answer.becomesEcho = true
        return answer
    }

    /// The answer as bytes. `id` comes back in `x-id`, `upstream` in `x-upstream`.
    func bytes(to request: UpstreamRecord, upstream: String, _ dice: inout SplitMix64) -> [UInt8] {
        var text = ""
        for code in informational { text += "HTTP/1.1 \(code) Informational\r\n\r\n" }
        text += "HTTP/1.1 \(status) \(reason)\r\nX-Id: \(request.id)\r\nX-Upstream: \(upstream)\r\n"
        for (name, value) in fields { text += "\(name): \(value)\r\n" }
        if becomesEcho { return Array((text + "Connection: Upgrade\r\nUpgrade: test\r\n\r\n").utf8) }
        if case .close = ending { text += "Connection: close\r\n" }
        let hasBody = status != 204 && status != 304
        switch framing {
        case .length: if hasBody { text += "Content-Length: \(body.count)\r\n" }
        case .chunked: text += "Transfer-Encoding: chunked\r\n"
        case .untilClose: text += "Connection: close\r\n"
        }
        let head = Array((text + "\r\n").utf8)
        if request.method == "HEAD" || !hasBody { return head }
        if case .chunked(let sizes) = framing { return head + chunks(body, sizes: sizes) { dice.pick($0) } }
        return head + body
    }
}

/// A request as an upstream saw it.
package struct UpstreamRecord: Sendable {
    package enum Outcome: Sendable {
        /// The request is not whole yet, or its answer has not gone out yet.
        case waiting
        /// The whole answer was taken by the network.
        case answered
        /// The script cut it or kept silent.
        case cut
        /// The proxy ended the connection first.
        case proxyGone
    }

    package var id: String
    package var method: String
    package var target: String
    package var head: TestHead
    package var body: [UInt8] = []
    package var isWhole = false
    package var outcome = Outcome.waiting
    /// What the body of the answer was meant to be.
    package var answerBody: [UInt8] = []
    /// What went through the tunnel, in.
    package var tunnelBytes: [UInt8] = []
    /// Which connection of the upstream, and how many requests came before on it.
    package var connection: Int
    package var position: Int
    package var atNs: UInt64
}

package final class HTTPUpstream {
    package let name: String
    package internal(set) var records: [UpstreamRecord] = []
    /// The pace of the n-th connection.
    package var pace: (Int) -> Pace = { _ in Pace() }
    /// Closes a connection that has been idle for so long.
    package var idleCloseNs: UInt64?
    /// Closes after so many requests on a connection, without a word.
    package var requestsMax = Int.max
    /// Bytes that made no request.
    package internal(set) var bad: [String] = []
    package private(set) var listener: ActorListener!

    let world: World
    let answer: (UpstreamRecord) -> Answer
    private var connections: [UpstreamConnection] = []

    /// Listens at `address`. `answer` is asked when the head of a request has come.
    package init(_ world: World, name: String, at address: Address, answer: @escaping (UpstreamRecord) -> Answer) {
        self.world = world
        self.name = name
        self.answer = answer
        var waiting: UpstreamConnection?
        listener = ActorListener(
            world, at: address,
            accepted: { [unowned self] _, n in
                let script = UpstreamConnection(self, number: n)
                waiting = script
                return ("\(self.name)#\(n)", self.pace(n), script)
            },
            took: { [unowned self] connection in
                waiting?.connection = connection
                if let script = waiting { connections.append(script) }
                waiting?.becomeIdle()
            })
    }

    /// Connections open now.
    package var openConnections: Int { connections.count { $0.connection?.isOpen == true } }

    /// Closes every connection that waits for a request, at once.
    package func closeIdle() { for script in connections where script.isIdle { script.connection?.close() } }

    /// Resets everything and stops listening, as a process that is killed.
    package func crash() {
        listener.stop()
        for script in connections {
            script.giveUp(.cut)
            script.connection?.reset()
        }
    }

    /// Requests seen with `id`.
    package func seen(_ id: String) -> [UpstreamRecord] { records.filter { $0.id == id } }
}

/// One connection of an upstream: requests in order, answers in order.
final class UpstreamConnection: ConnectionScript {
    unowned let upstream: HTTPUpstream
    let number: Int
    var connection: ActorConnection?
    private var reader = MessageReader(readsRequests: true)
    private var current: Int?
    private var plan: Answer?
    private var position = 0
    private var isEcho = false
    private var isAnswering = false
    private var answerIsOut = false
    private var idleTimer: HappeningID?

    init(_ upstream: HTTPUpstream, number: Int) {
        self.upstream = upstream
        self.number = number
    }

    var isIdle: Bool { current == nil && connection?.isOpen == true && !isEcho }

    func becomeIdle() {
        guard let idleNs = upstream.idleCloseNs else { return }
        idleTimer = upstream.world.after(idleNs) { [weak self] in if self?.isIdle == true { self?.connection?.close() } }
    }

    func received(_ connection: ActorConnection, _ bytes: [UInt8]) {
        reader.feed(bytes) { event in
            switch event {
            case .head(let head): begin(head)
            case .body(let piece): if let i = current { upstream.records[i].body += piece }
            case .end: requestIsWhole()
            case .raw(let piece):
                if let i = current { upstream.records[i].tunnelBytes += piece }
                connection.send(piece)
            case .bad(let reason):
                upstream.bad.append(reason)
                connection.reset()
            }
        }
    }

    private func begin(_ head: TestHead) {
        if let timer = idleTimer { upstream.world.callOff(timer) }
        if let i = current, upstream.records[i].outcome == .waiting {
            // A proxy pipelines nothing to its upstreams: the second request overtakes an answer.
            upstream.bad.append("a request before the answer to \(upstream.records[i].id)")
        }
        var record = UpstreamRecord(
            id: head.field("x-id") ?? "", method: head.method, target: head.target, head: head, connection: number,
            position: position, atNs: upstream.world.nowNs)
        position += 1
        let plan = upstream.answer(record)
        record.answerBody = record.method == "HEAD" || plan.status == 204 || plan.status == 304 ? [] : plan.body
        upstream.records.append(record)
        current = upstream.records.count - 1
        self.plan = plan
        isAnswering = false
        answerIsOut = false
        upstream.world.note("upstream", "\(upstream.name)#\(number) sees \(record.id)")
        let expectsContinue = head.field("expect")?.lowercased() == "100-continue" && !plan.informational.contains(100)
        if expectsContinue, case .afterRequest = plan.moment {
            connection?.send("HTTP/1.1 100 Continue\r\n\r\n")
        }
        if case .afterHead = plan.moment { answerSoon() }
        if plan.becomesEcho {
            upstream.records[upstream.records.count - 1].isWhole = true
            isEcho = true
            reader.becomeRaw()
            answerSoon()
        }
    }

    private func requestIsWhole() {
        guard let i = current, let plan else { return }
        upstream.records[i].isWhole = true
        if case .afterRequest = plan.moment { answerSoon() } else { finishIfOver() }
    }

    private func answerSoon() {
        guard let plan, let i = current, !isAnswering else { return }
        isAnswering = true
        if plan.delayNs == 0 { return sendAnswer(i) }
        upstream.world.after(plan.delayNs) { [weak self] in self?.sendAnswer(i) }
    }

    private func sendAnswer(_ i: Int) {
        guard let plan, let connection, connection.isOpen, current == i else { return }
        let bytes = plan.bytes(to: upstream.records[i], upstream: upstream.name, &upstream.world.dice)
        func cut(_ count: Int, _ what: Pace.Stop) {
            connection.send(Array(bytes.prefix(count)))
            upstream.records[i].outcome = .cut
            connection.whenDrained(what)
        }
        switch plan.fault {
        case .none:
            if plan.bodyDelayNs > 0, case .length = plan.framing, upstream.records[i].answerBody.count > 0 {
                let bodyCount = upstream.records[i].answerBody.count
                connection.send(Array(bytes.dropLast(bodyCount)))
                upstream.world.after(plan.bodyDelayNs) { [weak self] in
                    self?.answerIsOut = true
                    connection.send(Array(bytes.suffix(bodyCount)))
                }
                return
            }
            connection.send(bytes)
            answerIsOut = true
        case .silence: upstream.records[i].outcome = .cut
        case .resetBeforeHead: cut(0, .reset)
        case .closeBeforeHead: cut(0, .close)
        case .resetAfter(let count): cut(count, .reset)
        case .closeAfter(let count):
            cut(count, .close)
            if case .untilClose = plan.framing, let end = bytes.endOfHead(plan.informational.count, limit: count) {
                // Without framing an early close is a whole answer with a shorter body: nobody can tell.
                upstream.records[i].answerBody = Array(bytes[end..<min(count, bytes.count)])
                upstream.records[i].outcome = .answered
            }
        case .stallAfter(let count): cut(count, .stall)
        case .nonsense(let bytes):
            connection.send(bytes)
            upstream.records[i].outcome = .cut
            connection.whenDrained(.close)
        }
    }

    func drained(_ connection: ActorConnection) { finishIfOver() }

    /// The exchange is over when the request is whole and the network has taken the answer.
    private func finishIfOver() {
        guard let i = current, let plan, answerIsOut, let connection, connection.queuedBytes == 0, !isEcho else { return }
        upstream.records[i].outcome = .answered
        if case .untilClose = plan.framing { return connection.close() }
        if case .close = plan.ending { return connection.close() }
        if !upstream.records[i].isWhole { return }
        current = nil
        if position >= upstream.requestsMax { return connection.close() }
        if case .closeUnannounced(let afterNs) = plan.ending {
            if afterNs == 0 { return connection.close() }
            upstream.world.after(afterNs) { connection.close() }
            return
        }
        becomeIdle()
    }

    func ended(_ connection: ActorConnection) {
        if isEcho {
            if let i = current { upstream.records[i].outcome = .answered }
            connection.whenDrained(.close)
            return
        }
        giveUp(.proxyGone)
        connection.close()
    }

    func failed(_ connection: ActorConnection, error: Int32) { giveUp(.proxyGone) }

    func stopped(_ connection: ActorConnection) { giveUp(.cut) }

    func giveUp(_ outcome: UpstreamRecord.Outcome) {
        if let i = current, upstream.records[i].outcome == .waiting { upstream.records[i].outcome = outcome }
    }
}

extension [UInt8] {
    /// Where the head that follows `skipped` others ends, if that is within the first `limit` bytes.
    fileprivate func endOfHead(_ skipped: Int, limit: Int) -> Int? {
        guard limit >= 4 else { return nil }
        let places = 4...Swift.max(4, Swift.min(limit, count))
        return places.filter { Array(self[$0 - 4..<$0]) == [13, 10, 13, 10] }.dropFirst(skipped).first
    }
}
