// Asks responders of OCSP, in threads of its own, so that no worker ever waits for one.
// Owned by the supervisor; workers bring their questions, and answers go back through their mailboxes.

import CLinux
import ConfigurationFile
import Engine

final class ResponderDesk: StatusDesk, Sendable {
    private let threads = ErrandThreads(threadsMax: ControlLimits.responderThreadsMax, jobsMax: ControlLimits.responderJobsMax)
    private let tell: @Sendable (LogLevel, String) -> Void

    /// tell: a line for the error log.
    init(tell: @escaping @Sendable (LogLevel, String) -> Void) { self.tell = tell }

    func ask(_ job: StatusJob) {
        if threads.run({ [self] in serve(job) }) { return }
        tell(.error, "too many requests for certificate status")
        _ = job.answered(nil)
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
        let url = ErrandURL(server: responder.host, path: "\(responder.path)\(slash)\(base64ForURL(request))")
        var errand = HTTPErrand(url, timeoutNs: ControlLimits.responderTimeoutNs, bytesMax: ControlLimits.responderBytesMax)
        errand.addresses = [address]
        errand.isHTTP10 = true
        do throws(HTTPErrand.Failure) { return body(of: try errand.run()) } catch {
            switch error {
            case .timedOut: return .failed("OCSP responder timed out")
            case .tooMuch: return .failed("OCSP responder sent too much")
            case .closedEarly: return .failed("OCSP responder prematurely closed connection")
            case .invalid, .noAddress: return .failed("OCSP responder sent invalid response")
            case .call(let words): return .failed(words)
            }
        }
    }

    private static func body(of answer: HTTPErrand.Answer) -> Fetched {
        if answer.status != 200 { return .failed("OCSP responder sent invalid response") }
        if let type = answer.field("content-type")?.lowercased(), type != "application/ocsp-response" {
            return .failed("OCSP responder sent invalid \"Content-Type\" header: \"\(printable(type.utf8))\"")
        }
        return .answer(answer.body)
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
