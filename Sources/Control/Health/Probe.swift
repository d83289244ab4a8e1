// One check under way: connects, shakes hands, asks, reads as much as it needs, and judges. A state machine that never waits.
// Made and driven by `Prober`. It knows nothing of other checks, of upstreams or of what follows from its verdict.

import AdminAPI
import Bytes
import CLinux
import Engine
import HTTPMessage
import Health

/// What the checks of a prober share: memory that each uses only while it is driven.
struct ProbeMemory: ~Copyable {
    let matcher = Matcher()
    let input = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 32 << 10)
    var fields = [HeaderField](repeating: HeaderField(), count: 128)

    deinit { input.deallocate() }
}

final class Probe {
    enum Outcome {
        case waits
        case passed
        case failed(String)
        /// The proxy itself lacks what it takes.
        case impossible(String)
    }

    private enum Phase { case connecting, shaking, asking }

    let job: CheckJob
    let deadlineMs: Int64
    private(set) var stream: ProbeStream?
    private var phase = Phase.connecting
    private var input: [UInt8] = []
    private var body = ProbeBody()
    private var isHeadGood = false
    /// Bytes that have come.
    private var heard = 0
    private var call: ProbeCall?

    private var check: HealthCheck { job.gate.check }
    private var rules: MatchRules { job.gate.rules }

    init(_ job: CheckJob, nowMs: Int64) {
        self.job = job
        deadlineMs = nowMs + job.gate.check.effectiveTimeoutMs
    }

    /// Opens the connection. The socket is to be watched if it waits.
    func begin(_ tls: ProbeTLS?) -> Outcome? {
        if check.kind.usesTLS, tls == nil { return .impossible("no memory for TLS") }
        let (stream, errno) = ProbeStream.open(
            check.port.map { Self.address(job.address, port: $0) } ?? job.address, tls: check.kind.usesTLS ? tls : nil, as: job.gate.tls?.context)
        guard let stream else { return .impossible("socket() failed (\(errnoWords(errno)))") }
        self.stream = stream
        return nil
    }

    /// Why a check that has come to its deadline has failed.
    var overdue: String {
        let at = switch phase {
        case .connecting: "connecting"
        case .shaking: "the SSL handshake"
        case .asking: "waiting for the answer"
        }
        return "timed out after \(NginxTime.text(ms: check.effectiveTimeoutMs)) while \(at)"
    }

    /// As far as it goes now.
    func advance(_ memory: inout ProbeMemory) -> Outcome {
        guard let stream else { return .impossible("no connection") }
        if phase == .connecting {
            switch stream.connect() {
            case .waits: return .waits
            case .failed(let reason): return .failed(reason)
            case .done: phase = .shaking
            }
        }
        if phase == .shaking {
            switch stream.shakeHands(name: serverName, protocols: check.kind.isGRPC ? "\u{2}h2" : "", verifiedName: verifiedName) {
            case .waits: return .waits
            case .failed(let reason): return .failed(reason)
            case .done: phase = .asking
            }
            if let outcome = ask(stream) { return outcome }
        }
        if case .failed(let reason) = stream.flush() { return .failed(reason) }
        return listen(stream, &memory)
    }

    // MARK: The question

    /// Nil: an answer is to come.
    private func ask(_ stream: ProbeStream) -> Outcome? {
        let bytes: [UInt8]
        switch check.kind {
        case .http, .https: bytes = Array(requestHead.utf8)
        case .tcp:
            bytes = rules.send
            if rules.expect == nil, bytes.isEmpty { return .passed }
        case .grpc, .grpcs:
            let fields = [
                (":method", "POST"), (":scheme", check.kind.usesTLS ? "https" : "http"), (":path", GRPCHealth.path), (":authority", host),
                ("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", Self.agent),
            ]
            guard let call = ProbeCall(fields, body: GRPCHealth.question(check.grpcService ?? "")) else { return .impossible("no memory") }
            self.call = call
            bytes = call.output()
        }
        if case .failed(let reason) = stream.send(bytes) { return .failed(reason) }
        return check.kind == .tcp && rules.expect == nil ? .passed : nil
    }

    private static let agent = "\(Product.name)/\(Product.version) (health check)"

    private var requestHead: String {
        "GET \(check.uri) HTTP/1.1\r\nHost: \(host)\r\nUser-Agent: \(Self.agent)\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    }

    /// As the server is named, with the port that is asked.
    private var host: String {
        if let host = check.host { return host }
        if job.name.hasPrefix("unix:") { return "localhost" }
        guard let port = check.port else { return job.name }
        return "\(CheckTLS.withoutPort(job.name)):\(port)"
    }

    /// The name for TLS; an address is none (RFC 6066 section 3).
    private var serverName: String? {
        if !check.kind.usesTLS { return nil }
        var asked = host
        if check.host == nil {
            if let tls = job.gate.tls {
                guard tls.asksForName, let name = tls.name else { return nil }
                asked = name
            } else if job.name.hasPrefix("unix:") {
                return nil
            }
        }
        let name = CheckTLS.withoutPort(asked)
        return name.isEmpty || name.hasPrefix("[") || numericAddress(name, port: 1) != nil ? nil : name
    }

    /// What the server's certificate must be for, where requests to it are as careful: the name the check asks by, else that of the requests.
    private var verifiedName: ProbeStream.VerifiedName {
        guard let tls = job.gate.tls, tls.verifies else { return .notVerified }
        return (check.host.map(CheckTLS.withoutPort) ?? tls.name).map { .name($0) } ?? .any
    }

    /// A `sockaddr` with another port; that of a unix socket has none.
    private static func address(_ bytes: [UInt8], port: Int) -> [UInt8] {
        guard bytes.count >= 8, let family = bytes.first, Int32(family) == AF_INET || Int32(family) == AF_INET6 else { return bytes }
        var changed = bytes
        (changed[2], changed[3]) = (UInt8(port >> 8 & 255), UInt8(port & 255))
        return changed
    }

    // MARK: The answer

    private func listen(_ stream: ProbeStream, _ memory: inout ProbeMemory) -> Outcome {
        while true {
            let count: Int
            switch stream.receive(into: memory.input) {
            case .waits: return .waits
            case .failed(let reason): return .failed(reason)
            case .ended: return hearEnd(&memory)
            case .bytes(let n): count = n
            }
            // Who never stops talking would keep the thread from all other checks.
            heard += count
            if heard > ControlLimits.healthAnswerBytesMax { return .failed("the answer does not end within \(ControlLimits.healthAnswerBytesMax >> 20) MiB") }
            let outcome: Outcome
            switch check.kind {
            case .http, .https: outcome = hearHTTP(count, &memory)
            case .tcp:
                input += memory.input[..<count]
                outcome = hearGreeting(isWhole: input.count >= ControlLimits.healthBodyBytesMax, memory.matcher)
            case .grpc, .grpcs: outcome = hearCall(count, stream, memory)
            }
            if case .waits = outcome { continue }
            return outcome
        }
    }

    private func hearEnd(_ memory: inout ProbeMemory) -> Outcome {
        switch check.kind {
        case .http, .https:
            if isHeadGood, body.isEndedByClose { return judgeBody(memory.matcher) }
            return .failed(input.isEmpty ? "the server closed the connection without an answer" : "the server closed the connection in the midst of its answer")
        case .tcp: return hearGreeting(isWhole: true, memory.matcher)
        case .grpc, .grpcs:
            call?.end()
            return judgeCall()
        }
    }

    private func hearGreeting(isWhole: Bool, _ matcher: borrowing Matcher) -> Outcome {
        let greeting = withMatching(matcher) { rules.greeting(input[...], isWhole: isWhole, $0) }
        switch greeting {
        case .needMore: return .waits
        case .good: return .passed
        case .bad(let reason): return .failed(reason)
        }
    }

    private func hearCall(_ count: Int, _ stream: ProbeStream, _ memory: borrowing ProbeMemory) -> Outcome {
        guard let call else { return .impossible("no call") }
        call.take(UnsafeBufferPointer(rebasing: memory.input[..<count]))
        if call.answer.isWhole || call.answer.failure != nil { return judgeCall() }
        if case .failed(let reason) = stream.send(call.output()) { return .failed(reason) }
        return .waits
    }

    private func judgeCall() -> Outcome {
        guard let answer = call?.answer else { return .impossible("no call") }
        if let failure = answer.failure { return .failed(failure) }
        let objection = GRPCHealth.objection(
            httpStatus: answer.status, status: answer.grpcStatus, message: answer.message, expected: check.grpcStatus)
        return objection.map { .failed($0) } ?? .passed
    }

    private func hearHTTP(_ count: Int, _ memory: inout ProbeMemory) -> Outcome {
        if isHeadGood {
            return hearBody(UnsafeBufferPointer(rebasing: memory.input[..<count]), memory.matcher)
        }
        input += memory.input[..<count]
        while true {
            var head = ResponseHead()
            var fields = memory.fields.mutableSpan
            let bytes = input
            switch parseResponseHead(bytes.span, seen: 0, fields: &fields, head: &head) {
            case .needMore:
                return input.count > ControlLimits.healthHeadBytesMax ? .failed("the head of the answer is too large") : .waits
            case .bad(let reason): return .failed("expected an answer of HTTP/1, found something else (\(reason.word))")
            case .head: break
            }
            // What comes before the answer itself (RFC 9110 section 15.2).
            if head.status < 200, head.status != 101 {
                input.removeFirst(head.headBytes)
                if input.isEmpty { return .waits }
                continue
            }
            return judgeHead(head, &memory)
        }
    }

    private func judgeHead(_ head: ResponseHead, _ memory: inout ProbeMemory) -> Outcome {
        let count = head.fields.fieldCount
        let answer = CheckAnswer(
            status: Int(head.status),
            fields: rules.fields.isEmpty ? [] : memory.fields[..<count].map { field in
                (String(decoding: input[field.name.first..<field.name.end], as: UTF8.self).lowercased(), input[field.value.first..<field.value.end])
            })
        if let objection = withMatching(memory.matcher, { rules.objectionToHead(answer, $0) }) { return .failed(objection) }
        if !rules.needsBody { return .passed }
        isHeadGood = true
        let bytes = input
        if let bad = body.begin(head, memory.fields.span, bytes.span) { return .failed("the body of the answer: \(bad)") }
        let rest = Array(input[head.headBytes...])
        return rest.withUnsafeBufferPointer { hearBody($0, memory.matcher) }
    }

    private func hearBody(_ bytes: UnsafeBufferPointer<UInt8>, _ matcher: borrowing Matcher) -> Outcome {
        if let bad = body.take(bytes) { return .failed("the body of the answer: \(bad)") }
        return body.isWhole ? judgeBody(matcher) : .waits
    }

    private func judgeBody(_ matcher: borrowing Matcher) -> Outcome {
        withMatching(matcher) { rules.objectionToBody(body.content[...], $0) }.map { .failed($0) } ?? .passed
    }

    private func withMatching<T>(_ matcher: borrowing Matcher, _ judge: (MatchRules.Matching) -> T) -> T {
        judge { number, bytes in job.gate.match?.matches(number, bytes, matcher) ?? false }
    }
}

/// The body of an answer, as far as it is looked at.
struct ProbeBody {
    private(set) var content: [UInt8] = []
    private(set) var isWhole = false
    private var framing = BodyFraming.untilClose
    private var chunks = ChunkedDecoder()

    /// The end of the connection is that of the body.
    var isEndedByClose: Bool { framing == .untilClose }

    /// Nil: all is well.
    mutating func begin(_ head: ResponseHead, _ fields: Span<HeaderField>, _ bytes: Span<UInt8>) -> String? {
        framing = responseFraming(head, fields, bytes, requestMethod: .get)
        switch framing {
        case .none, .length(0): isWhole = true
        case .bad(let reason): return "\(reason.word)"
        case .length, .chunked, .untilClose: break
        }
        return nil
    }

    mutating func take(_ bytes: UnsafeBufferPointer<UInt8>) -> String? {
        switch framing {
        case .length(let length):
            add(bytes[...])
            if Int64(content.count) >= length { isWhole = true }
        case .chunked:
            var offset = 0
            while true {
                switch chunks.step(bytes.span, at: &offset) {
                case .needMore: return nil
                case .data(let start, let count): add(bytes[start..<start + count])
                case .lastChunk:
                    isWhole = true
                    return nil
                case .bad(let reason): return "\(reason.word)"
                }
                if isWhole { return nil }
            }
        case .untilClose: add(bytes[...])
        case .none, .bad: break
        }
        return nil
    }

    /// What stands behind the part that is looked at makes no difference.
    private mutating func add(_ bytes: Slice<UnsafeBufferPointer<UInt8>>) {
        content += bytes.prefix(ControlLimits.healthBodyBytesMax - content.count)
        if content.count >= ControlLimits.healthBodyBytesMax { isWhole = true }
    }
}
