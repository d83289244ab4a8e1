// Requests of `admin` locations: handed whole to the control side, answered when it has an answer, perhaps piece by piece.
// Called by routing, by the body reader and by the mailbox. It knows nothing of what is asked or answered.

import Bytes
import CLinux
import HTTPMessage
import Synchronization

/// Who answers the requests of `admin` locations. Called in workers' threads: it must not wait.
package protocol AdminGateway: AnyObject, Sendable {
    func receive(_ request: AdminRequest)
    /// A part of an answer found no exchange: its client is gone.
    func gone(_ reply: AdminReply)
}

/// A request for an `admin` location, with everything that is needed to answer it.
package struct AdminRequest: Sendable {
    package enum Client: Sendable, Equatable {
        /// The user at the other end of a unix socket; -1: the kernel does not say.
        case unix(user: Int32)
        /// The client's address.
        case address(String)
    }
    package var reply: AdminReply
    package var method = ""
    /// The path as received, percent-encoding and all, behind the location's own prefix; begins with "/".
    package var path = ""
    package var query = ""
    package var fields: [(name: String, value: String)] = []
    package var body: [UInt8] = []
    package var client: Client
    /// The Host field names a `server_name` of the server.
    package var isHostNamed = false
    package var settings: AdminSettings

    /// The value of a field; fields given several times are joined (RFC 9110 5.3).
    package func field(_ name: String) -> String? {
        let values = fields.filter { $0.name == name }.map(\.value)
        return values.isEmpty ? nil : values.joined(separator: ", ")
    }

    package init(reply: AdminReply, client: Client, settings: AdminSettings) {
        self.reply = reply
        self.client = client
        self.settings = settings
    }
}

/// `admin` of a location.
package struct AdminSettings: BitwiseCopyable, Sendable {
    package var writes = false
    /// Place of the location's token file among those of the routes; -1: none.
    package var tokens: Int32 = -1
    package init() {}
}

/// Where the answer to a handed-over request goes: to its exchange, in its worker, if it is still there. From any thread.
package struct AdminReply: Sendable, Equatable {
    let mailbox: Mailbox
    let handle: Handle

    /// A whole answer, or the beginning of one that `data` continues.
    package func answer(_ answer: AdminAnswer) { mailbox.post(.admin(handle, .answer(answer))) }
    package func data(_ bytes: [UInt8]) { mailbox.post(.admin(handle, .data(bytes))) }
    package func end() { mailbox.post(.admin(handle, .end)) }

    /// Whether the exchange is in the loop that has this mailbox.
    package func isIn(_ mailbox: Mailbox) -> Bool { self.mailbox === mailbox }

    package static func == (a: AdminReply, b: AdminReply) -> Bool { a.mailbox === b.mailbox && a.handle == b.handle }
}

package struct AdminAnswer: Sendable {
    package var status: UInt16
    package var contentType: String
    /// Whole lines of the head, without the line's end.
    package var lines: [String]
    package var body: [UInt8]
    /// More comes as `data`; the answer ends with `end`.
    package var isOpen: Bool
    package init(status: UInt16, contentType: String = "application/json", lines: [String] = [], body: [UInt8] = [], isOpen: Bool = false) {
        self.status = status
        self.contentType = contentType
        self.lines = lines
        self.body = body
        self.isOpen = isOpen
    }
}

package enum AdminPart: Sendable {
    case answer(AdminAnswer)
    case data([UInt8])
    case end
}

extension Worker {
    /// The location is an `admin` one: its body is read whole, then it goes to the control side.
    func beginHandover(_ x: Ref<Exchange>) {
        // Nobody asks for it but a page, or whoever wrote into one.
        if x.inner != nil { return answerError(x, 404) }
        if beginBodyRead(x) { handOver(x) }
    }

    func handOver(_ x: Ref<Exchange>) {
        guard let gateway = parameters.admin else {
            logExchange(.error, "nobody answers the admin API in this process", x)
            return answerError(x, 503)
        }
        guard let body = wholeBody(x) else {
            logExchange(.crit, Fault.spoolFailed.words, x)
            return answerFault(x, .spoolFailed)
        }
        let c = x.client
        let isUnix = c.address.family == .unix
        scratchText.value.reset()
        c.address.append(to: scratchText)
        var request = AdminRequest(
            reply: AdminReply(mailbox: mailbox, handle: x.handle),
            client: isUnix ? .unix(user: kernel.peerUser(socket(of: c))) : .address(scratchText.view.string), settings: x.location.admin)
        request.method = x.bytes(x.head.methodRange).string
        let target = originTarget(x)
        let path = (target.firstIndex(of: 0x3F).map { target.slice(0, $0) } ?? target).string
        request.path = path.hasPrefix(x.location.name.string) ? "/" + path.dropFirst(x.location.name.count).drop { $0 == "/" } : path
        request.query = x.arguments.string
        for i in 0..<x.fields.count {
            let field = x.fields[i].value
            request.fields.append((x.bytes(field.name).string.lowercased(), x.bytes(field.value).string))
        }
        request.body = body
        request.isHostNamed = listeners[Int(c.listener)].settings?.names.find(x.host) != nil
        x.phase = .handedOver
        timers.cancel(c.timer)
        gateway.receive(request)
    }

    /// What a client of the admin API is told where the request never came to it. The words are those of its problems. False: nothing.
    func appendAdminProblem(_ w: Ref<ByteWriter>, _ status: UInt16) -> Bool {
        let words: (detail: StaticString, title: StaticString, type: StaticString)
        switch status {
        case 400: words = ("the head of the request cannot be read as HTTP/1.1, or is too large", "Bad header field", "bad-header")
        case 404: words = ("there is nothing here", "Not found", "not-found")
        case 405: words = ("the admin API knows no such method", "Method not allowed", "method-not-allowed")
        case 413: words = ("the body is larger than the admin API takes", "The body is too large", "too-large")
        case 414: words = ("the first line of the request is too long", "Bad header field", "bad-header")
        case 431: words = ("the request has too many header fields", "Bad header field", "bad-header")
        case 501: words = ("the body is coded in a way that is not known here", "Bad header field", "bad-header")
        case 505: words = ("the request is of a version of HTTP that is not known here", "Bad header field", "bad-header")
        case 503: words = ("nobody answers the admin API here", "Busy", "busy")
        default: return false
        }
        w.value.append("{\n  \"detail\": \"")
        w.value.append(words.detail)
        w.value.append("\",\n  \"status\": ")
        w.value.append(decimal: UInt64(status))
        w.value.append(",\n  \"title\": \"")
        w.value.append(words.title)
        w.value.append("\",\n  \"type\": \"/problems/")
        w.value.append(words.type)
        w.value.append("\"\n}\n")
        return true
    }

    private func wholeBody(_ x: Ref<Exchange>) -> [UInt8]? {
        if !x.bodySpool.isOpen { return Array(ByteView(x.bodyBuffer.start, x.bodyBuffered).buffer) }
        var body: [UInt8] = []
        while !x.bodySpool.isEmpty {
            guard let n = unspool(&x.value.bodySpool, into: scratch.data, Limits.readBytesWhileSlow), n > 0 else { return nil }
            body += ByteView(scratch.data, n).buffer
        }
        return body
    }

    /// A part of an answer has come. The exchange may have ended long ago.
    func takeAdminPart(_ handle: Handle, _ part: AdminPart) {
        guard let x = exchanges.find(handle), x.phase == .handedOver else {
            parameters.admin?.gone(AdminReply(mailbox: mailbox, handle: handle))
            return
        }
        switch part {
        case .answer(let made):
            if x.answerBegun { return }
            answerFromAdmin(x, made)
        case .data(let bytes):
            if x.answerBegun { sendAdminData(x, bytes) }
        case .end:
            if !x.answerBegun { return }
            if x.framing == .chunked, !x.headOnly, !emit(x, ByteView("0\r\n\r\n")) { return }
            answerDone(x)
        }
    }

    private func answerFromAdmin(_ x: Ref<Exchange>, _ made: AdminAnswer) {
        var head = AnswerHead(status: made.status)
        func keep(_ bytes: some Collection<UInt8>) -> ByteView {
            guard let memory = x.value.region.allocate(bytes.count, from: &buffers, limit: Limits.regionBytesMax) else { return .empty }
            _ = UnsafeMutableBufferPointer(start: memory, count: bytes.count).initialize(from: bytes)
            return ByteView(memory, bytes.count)
        }
        head.contentType = keep(made.contentType.utf8)
        x.keptLines = keep(made.lines.map { $0 + "\r\n" }.joined().utf8)
        if made.isOpen {
            composeHead(x, head)
            beginBody(x)
            guard emit(x, out.view) else { return }
            return sendAdminData(x, made.body)
        }
        made.body.withUnsafeBufferPointer { bytes in
            guard let start = bytes.baseAddress else { return answer(x, head, text: .empty) }
            answer(x, head, text: ByteView(start, bytes.count))
        }
    }

    private func sendAdminData(_ x: Ref<Exchange>, _ bytes: [UInt8]) {
        if x.headOnly || bytes.isEmpty { return }
        if x.client.stream.pendingCount + bytes.count > Limits.pendingBytesMax {
            // A reader of events that does not read them comes back and takes up where it was.
            logExchange(.info, Fault.sendTimeout.words, x)
            return finish(x, .abortedByClient(.sendTimeout))
        }
        bytes.withUnsafeBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return }
            if x.framing == .chunked {
                scratchText.value.reset()
                scratchText.value.append(hex: UInt64(bytes.count))
                scratchText.value.append("\r\n")
                guard emit(x, scratchText.view), emit(x, ByteView(start, bytes.count)), emit(x, ByteView("\r\n")) else { return }
            } else {
                _ = emit(x, ByteView(start, bytes.count))
            }
            x.bodySentToClient += Int64(bytes.count)
        }
    }
}
