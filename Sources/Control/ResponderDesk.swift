// Asks responders of OCSP, in threads of its own, so that no worker ever waits for one.
// Owned by the supervisor; workers bring their questions, and answers go back through their mailboxes.

import CLinux
import ConfigurationFile
import Engine
import Synchronization

final class ResponderDesk: StatusDesk, @unchecked Sendable {
    private struct Work {
        var waiting: [StatusJob] = []
        var threads = 0
    }

    private let work = Mutex(Work())
    private let tell: @Sendable (LogLevel, String) -> Void

    /// tell: a line for the error log.
    init(tell: @escaping @Sendable (LogLevel, String) -> Void) { self.tell = tell }

    func ask(_ job: StatusJob) {
        let (isTaken, needsThread) = work.withLock { work -> (Bool, Bool) in
            if work.waiting.count >= ControlLimits.responderJobsMax { return (false, false) }
            work.waiting.append(job)
            let needsThread = work.threads < ControlLimits.responderThreadsMax
            if needsThread { work.threads += 1 }
            return (true, needsThread)
        }
        if !isTaken {
            tell(.error, "too many requests for certificate status")
            _ = job.answered(nil)
        }
        if needsThread { startThread() }
    }

    private func startThread() {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let r = pthread_create(&thread, nil, { context in
            if let context { Unmanaged<ResponderDesk>.fromOpaque(context).takeRetainedValue().run() }
            return nil
        }, context)
        if r == 0 {
            pthread_detach(thread)
            return
        }
        // Those that run take what waits; without any there is nobody.
        Unmanaged<ResponderDesk>.fromOpaque(context).release()
        let lost = work.withLock { work -> [StatusJob] in
            work.threads -= 1
            if work.threads > 0 { return [] }
            let all = work.waiting
            work.waiting = []
            return all
        }
        for job in lost { _ = job.answered(nil) }
    }

    private func run() {
        while let job = work.withLock({ work -> StatusJob? in
            if !work.waiting.isEmpty { return work.waiting.removeFirst() }
            work.threads -= 1
            return nil
        }) {
            serve(job)
        }
    }

    private func serve(_ job: StatusJob) {
        let request = job.request
        guard let responder = responder(for: job), !request.isEmpty else {
            _ = job.answered(nil)
            return
        }
        var reason = "no address"
        for address in responder.addresses {
            guard let bytes = Self.socketAddress(address) else { continue }
            switch Self.fetch(responder, from: bytes, request) {
            case .answer(let der):
                if let problem = job.answered(der) { tell(.error, "\(problem) while requesting certificate status, responder: \(responder.host)") }
                return
            case .failed(let why): reason = why
            }
        }
        tell(.error, "\(reason) while requesting certificate status, responder: \(responder.host)")
        _ = job.answered(nil)
    }

    /// The one of the settings, or the one that the certificate names, if its address is in digits.
    private func responder(for job: StatusJob) -> StatusResponder? {
        if let given = job.responder { return given }
        guard let url = job.url else {
            tell(.error, "no OCSP responder URL in certificate")
            return nil
        }
        guard let parts = ResponderURL(url) else {
            tell(.error, "invalid OCSP responder \"\(printable(url.utf8))\" in certificate")
            return nil
        }
        guard numericAddress(parts.bareHost, port: parts.port) != nil else {
            tell(.error, "no resolver defined to resolve \(printable(parts.host.utf8)) in OCSP responder of certificate")
            return nil
        }
        return StatusResponder(host: parts.host, path: parts.path, addresses: ["\(parts.host):\(parts.port)"])
    }

    private static func socketAddress(_ text: String) -> [UInt8]? {
        guard let parts = ResponderURL("http://" + text) else { return nil }
        return numericAddress(parts.bareHost, port: parts.port)
    }

    // MARK: One request

    private enum Fetched {
        case answer([UInt8])
        case failed(String)
    }

    /// RFC 6960 appendix A.1: the question in the URL of a GET.
    private static func fetch(_ responder: StatusResponder, from address: [UInt8], _ request: [UInt8]) -> Fetched {
        let slash = responder.path.hasSuffix("/") ? "" : "/"
        let text = "GET \(responder.path)\(slash)\(base64ForURL(request)) HTTP/1.0\r\nHost: \(responder.host)\r\n\r\n"
        let fd = clinux_socket(Int32(address[0]), Int32(SOCK_STREAM.rawValue))
        if fd < 0 { return .failed("socket() failed (\(errnoWords(-fd)))") }
        let epoll = clinux_epoll_create()
        defer {
            _ = clinux_close(fd)
            if epoll >= 0 { _ = clinux_close(epoll) }
        }
        let deadline = ControlClock.system.monotonicNs() + ControlLimits.responderTimeoutNs
        let interest = Readiness.readable | Readiness.writable | Readiness.edgeTriggered
        if epoll < 0 || clinux_epoll_add(epoll, fd, interest, 0) < 0 { return .failed("cannot wait for the responder") }
        var r = clinux_connect(fd, address, UInt32(address.count))
        while r == -EINPROGRESS || r == -EALREADY {
            if !wait(epoll, deadline) { return .failed("OCSP responder timed out") }
            r = clinux_connect(fd, address, UInt32(address.count))
        }
        if r < 0, r != -EISCONN { return .failed("connect() failed (\(errnoWords(-r)))") }
        if let problem = send(Array(text.utf8), fd, epoll, deadline) { return .failed(problem) }
        return receive(fd, epoll, deadline)
    }

    /// False: the time is up.
    private static func wait(_ epoll: Int32, _ deadline: UInt64) -> Bool {
        let now = ControlClock.system.monotonicNs()
        if now >= deadline { return false }
        var event = epoll_event()
        return clinux_epoll_wait(epoll, &event, 1, Int32(clamping: (deadline - now) / 1_000_000 + 1)) > 0
    }

    private static func send(_ bytes: [UInt8], _ fd: Int32, _ epoll: Int32, _ deadline: UInt64) -> String? {
        var sent = 0
        while sent < bytes.count {
            let n = bytes.withUnsafeBytes { $0.baseAddress.map { clinux_send(fd, $0 + sent, bytes.count - sent, 0) } ?? 0 }
            if n >= 0 {
                sent += n
            } else if n != -Int(EAGAIN), n != -Int(EINTR) {
                return "send() failed (\(errnoWords(Int32(-n))))"
            } else if !wait(epoll, deadline) {
                return "OCSP responder timed out"
            }
        }
        return nil
    }

    private static func receive(_ fd: Int32, _ epoll: Int32, _ deadline: UInt64) -> Fetched {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let n = clinux_recv(fd, &chunk, chunk.count, 0)
            if n > 0 {
                all += chunk[..<n]
                if all.count > ControlLimits.responderBytesMax { return .failed("OCSP responder sent too much") }
            } else if n == 0 {
                return body(of: all)
            } else if n != -Int(EAGAIN), n != -Int(EINTR) {
                return .failed("recv() failed (\(errnoWords(Int32(-n))))")
            } else if !wait(epoll, deadline) {
                return .failed("OCSP responder timed out")
            }
        }
    }

    private static func body(of answer: [UInt8]) -> Fetched {
        var lines: [String] = []
        var from = 0
        while let end = answer[from...].firstIndex(of: 0x0A) {
            let line = answer[from..<(end > from && answer[end - 1] == 0x0D ? end - 1 : end)]
            from = end + 1
            if line.isEmpty {
                guard let status = lines.first, status.hasPrefix("HTTP/1."), status.split(separator: " ").dropFirst().first == "200" else {
                    return .failed("OCSP responder sent invalid response")
                }
                for field in lines.dropFirst() where field.lowercased().hasPrefix("content-type:") {
                    let type = field.dropFirst("content-type:".count).drop { $0 == " " }.lowercased()
                    if type != "application/ocsp-response" {
                        return .failed("OCSP responder sent invalid \"Content-Type\" header: \"\(printable(type.utf8))\"")
                    }
                }
                return .answer(Array(answer[from...]))
            }
            lines.append(String(decoding: line, as: UTF8.self))
        }
        return .failed("OCSP responder prematurely closed connection")
    }

    /// Base64 (RFC 4648 section 4), with `%XX` for what has another meaning in a URL.
    static func base64ForURL(_ bytes: [UInt8]) -> String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        func add(_ n: UInt32) {
            switch n {
            case 62: text += Array("%2B".utf8)
            case 63: text += Array("%2F".utf8)
            default: text.append(digits[Int(n)])
            }
        }
        for i in stride(from: 0, to: bytes.count, by: 3) {
            let rest = bytes.count - i
            let bits = UInt32(bytes[i]) << 16 | (rest > 1 ? UInt32(bytes[i + 1]) << 8 : 0) | (rest > 2 ? UInt32(bytes[i + 2]) : 0)
            add(bits >> 18)
            add(bits >> 12 & 63)
            if rest > 1 { add(bits >> 6 & 63) } else { text += Array("%3D".utf8) }
            if rest > 2 { add(bits & 63) } else { text += Array("%3D".utf8) }
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// `http://HOST[:PORT][/PATH]`.
struct ResponderURL {
    /// As it stands: an IPv6 address has its brackets.
    let host: String
    let port: UInt16
    let path: String

    var bareHost: String { host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host }

    init?(_ text: String) {
        guard text.lowercased().hasPrefix("http://"), text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        let rest = text.dropFirst(7)
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        let authority = rest[..<slash]
        path = slash == rest.endIndex ? "/" : String(rest[slash...])
        let hostEnd = authority.hasPrefix("[") ? authority.firstIndex(of: "]").map { authority.index(after: $0) } : authority.firstIndex(of: ":")
        let end = hostEnd ?? authority.endIndex
        host = String(authority[..<end])
        if end == authority.endIndex {
            port = 80
        } else {
            guard authority[end] == ":", let number = UInt16(authority[authority.index(after: end)...]), number > 0 else { return nil }
            port = number
        }
        if host.isEmpty || host.hasPrefix("[") && !host.hasSuffix("]") { return nil }
    }
}
