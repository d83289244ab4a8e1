// OCSP as the engine sees it: questions about certificates, who answers them, and answers that are kept for a while.
// Questions go to a desk of the control side, which waits for responders; answers come back through the worker's mailbox.

import Bytes
import COpenSSL
import Synchronization

/// What a responder says of a certificate.
package enum ResponderVerdict: UInt8, BitwiseCopyable, Sendable {
    case notAsked, asked, good, revoked, unknown
    /// No answer, or none that can be believed.
    case failed

    init(_ code: Int32) {
        switch Int(code) {
        case TLS_STATUS_GOOD: self = .good
        case TLS_STATUS_REVOKED: self = .revoked
        case TLS_STATUS_UNKNOWN: self = .unknown
        default: self = .failed
        }
    }

    /// What is wrong with it, nil when nothing is.
    var words: ByteView? {
        switch self {
        case .notAsked, .asked, .good: nil
        case .revoked: ByteView("certificate revoked")
        case .unknown: ByteView("certificate status unknown")
        case .failed: ByteView("certificate status request failed")
        }
    }
}

/// Where a question goes: `http://HOST/PATH`, at one of the addresses.
package struct StatusResponder: Sendable, Hashable {
    package var host: String
    package var path: String
    /// Address and port in digits, as `127.0.0.1:80`; none: the host is to be looked at.
    package var addresses: [String]

    package init(host: String, path: String, addresses: [String]) {
        self.host = host
        self.path = path
        self.addresses = addresses
    }

    /// As it is kept in settings, line by line.
    package var text: String { ([host, path] + addresses).joined(separator: "\n") }

    package init?(text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.count < 2 { return nil }
        self.init(host: lines[0], path: lines[1], addresses: Array(lines[2...]))
    }
}

/// Whom the answer is for.
private enum StatusSubject {
    /// A question about a client's certificate.
    case client(OpaquePointer)
    /// An answer that a server shows.
    case staple(OpaquePointer)
}

/// One question and what becomes of it.
package final class StatusJob: @unchecked Sendable {
    private let subject: StatusSubject
    private let mailbox: Mailbox?
    private let handle: Handle
    /// Nil: as the certificate says, in `url`.
    package let responder: StatusResponder?

    fileprivate init(about question: OpaquePointer, _ responder: StatusResponder?, _ mailbox: Mailbox, _ handle: Handle) {
        subject = .client(question)
        self.responder = responder
        self.mailbox = mailbox
        self.handle = handle
    }

    fileprivate init(staple: OpaquePointer, _ responder: StatusResponder?) {
        tls_staple_retain(staple)
        subject = .staple(staple)
        self.responder = responder
        mailbox = nil
        handle = .none
    }

    deinit {
        switch subject {
        case .client(let question): tls_question_free(question)
        case .staple(let staple): tls_staple_release(staple)
        }
    }

    private var question: OpaquePointer? {
        switch subject {
        case .client(let question): question
        case .staple(let staple): tls_staple_question(staple)
        }
    }

    /// The request in DER; empty: it cannot be made.
    package var request: [UInt8] {
        guard let question else { return [] }
        return [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
            count = buffer.baseAddress.map { tls_question_bytes(question, $0, 4096) } ?? 0
        }
    }

    /// The responder that the certificate names; nil: none.
    package var url: String? { responderURL(question) }

    /// The answer in DER; nil: there is none. Called once, from any thread. Returns what is wrong with it, for the log.
    package func answered(_ der: [UInt8]?) -> String? {
        let bytes = der ?? []
        let code: Int32
        var until: Int64 = 0
        switch subject {
        case .staple(let staple): code = tls_staple_answered(staple, bytes, bytes.count)
        case .client(let question): code = bytes.isEmpty ? Int32(TLS_STATUS_FAILED) : tls_question_answered(question, bytes, bytes.count, &until)
        }
        let status = ResponderVerdict(code)
        mailbox?.post(.certificateStatus(handle, status, untilSeconds: until))
        if der == nil { return nil }
        return status == .failed ? TLSFailure().reason : status.words?.string
    }
}

/// What is shown about one certificate of a context, to which it belongs.
package struct TLSStaple {
    fileprivate let pointer: OpaquePointer

    /// The responder that the certificate names.
    package var url: String? { responderURL(tls_staple_question(pointer)) }

    /// From now on handshakes ask for it.
    package func enable(_ responder: StatusResponder) {
        let text = Array(responder.text.utf8)
        _ = tls_staple_enable(pointer, text, text.count)
    }
}

package enum TLSStapleMaking {
    case made(TLSStaple)
    /// There is no certificate at this place.
    case noCertificate
    /// Nobody knows who has signed it.
    case noIssuer
}

extension TLSContext {
    /// Handshakes show the answers that there are.
    package func staple() { tls_staple(pointer) }

    /// The name of the certificate that was asked about last.
    package var currentSubject: String {
        let bytes = [UInt8](unsafeUninitializedCapacity: 1024) { buffer, count in
            count = buffer.withMemoryRebound(to: CChar.self) { $0.baseAddress.map { tls_current_subject(pointer, $0, 1024) } ?? 0 }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// An answer, in DER, for all certificates.
    package func addStaple(_ der: [UInt8]) throws(TLSFailure) { try check(tls_staple_given(pointer, der, der.count)) }

    /// About the certificate at this place. verifies: answers are verified before they are shown.
    package func staple(about place: Int, verifies: Bool) -> TLSStapleMaking {
        var hasIssuer: Int32 = 0
        if let made = tls_staple_about(pointer, Int32(clamping: place), verifies ? 1 : 0, &hasIssuer) {
            return .made(TLSStaple(pointer: made))
        }
        return hasIssuer == 0 ? .noIssuer : .noCertificate
    }
}

private func responderURL(_ question: OpaquePointer?) -> String? {
    guard let question else { return nil }
    let bytes = [UInt8](unsafeUninitializedCapacity: 2048) { buffer, count in
        count = buffer.withMemoryRebound(to: CChar.self) { $0.baseAddress.map { tls_question_responder(question, $0, 2048) } ?? 0 }
    }
    return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
}

/// Waits for responders on behalf of all workers.
package protocol StatusDesk: AnyObject, Sendable {
    func ask(_ job: StatusJob)
}

/// `ssl_ocsp_cache`: what responders said, until it is past; shared by workers and servers.
package final class StatusCache: Sendable {
    /// What an entry takes, about.
    private static let entryBytes = 128
    private let countMax: Int
    /// How many are looked at for the one that makes way.
    private static let looksMax = 8
    private struct Answers {
        var byDigest: [[UInt8]: (status: ResponderVerdict, until: Int64)] = [:]
        /// Each digest once, and where the next look for one that makes way begins.
        var ring: [[UInt8]] = []
        var hand = 0
    }
    private let answers = Mutex(Answers())

    package init(bytes: Int) { countMax = max(bytes / Self.entryBytes, 1) }

    func find(_ digest: [UInt8], now: Int64) -> ResponderVerdict? {
        answers.withLock { answers in answers.byDigest[digest].flatMap { $0.until > now ? $0.status : nil } }
    }

    func keep(_ digest: [UInt8], _ status: ResponderVerdict, until: Int64, now: Int64) {
        answers.withLock { answers in
            if answers.byDigest.updateValue((status, until), forKey: digest) != nil { return }
            if answers.ring.count < countMax { return answers.ring.append(digest) }
            // One that is past, or else the one that is so first, of a few: handshakes wait for this lock.
            var (place, first) = (answers.hand, Int64.max)
            for _ in 0..<min(Self.looksMax, answers.ring.count) {
                let untilHere = answers.byDigest[answers.ring[answers.hand]]?.until ?? 0
                if untilHere < first { (place, first) = (answers.hand, untilHere) }
                answers.hand = answers.hand + 1 == answers.ring.count ? 0 : answers.hand + 1
                if first <= now { break }
            }
            answers.byDigest[answers.ring[place]] = nil
            answers.ring[place] = digest
        }
    }
}

/// `ssl_ocsp` and what belongs to it.
package struct StatusSettings: BitwiseCopyable {
    /// How many certificates of a client's chain are asked about; 0: none.
    package var depth = 0
    /// The text of a `StatusResponder`; empty: each certificate's own.
    package var responder = ByteView.empty
    /// The snapshot keeps it alive.
    package var cache: Unmanaged<StatusCache>?
    package init() {}
}

extension Worker {
    /// Asks for the answer that a server shows; what became of it is seen by the next handshakes.
    func askForStaple(_ staple: OpaquePointer) {
        var count = 0
        let text = tls_staple_responder(staple, &count).map { ByteView($0, count).string } ?? ""
        let job = StatusJob(staple: staple, StatusResponder(text: text))
        if let desk = parameters.statuses { desk.ask(job) } else { _ = job.answered(nil) }
    }

    /// Goes on with the questions about a client's certificates. False: none is left, and `status` says what came of them.
    func asksForStatus(_ c: Ref<ClientConnection>, _ t: Ref<TLSConnection>, _ settings: StatusSettings) -> Bool {
        while t.status == .notAsked || t.status == .good, Int(t.statusPlace) < settings.depth {
            var code: Int32 = 0
            guard let question = tls_question_about_peer(t.ssl, Int32(t.statusPlace), &code) else {
                t.status = ResponderVerdict(code)
                ERR_clear_error()
                return false
            }
            if let known = settings.cache?._withUnsafeGuaranteedRef({ cache in digest(question).flatMap { cache.find($0, now: nowSeconds) } }) {
                tls_question_free(question)
                t.status = known
                t.statusPlace += 1
                continue
            }
            guard let desk = parameters.statuses else {
                tls_question_free(question)
                t.status = .failed
                return false
            }
            t.status = .asked
            desk.ask(StatusJob(about: question, StatusResponder(text: settings.responder.string), mailbox, c.handle))
            return true
        }
        return false
    }

    /// The answer to the question that was asked last.
    func tookStatus(_ t: Ref<TLSConnection>, _ status: ResponderVerdict, untilSeconds: Int64, _ settings: StatusSettings) {
        if status != .failed, let cache = settings.cache {
            var code: Int32 = 0
            if let question = tls_question_about_peer(t.ssl, Int32(t.statusPlace), &code) {
                if let digest = digest(question) {
                    cache._withUnsafeGuaranteedRef { $0.keep(digest, status, until: untilSeconds, now: nowSeconds) }
                }
                tls_question_free(question)
            }
        }
        t.status = status
        t.statusPlace += 1
    }

    private var nowSeconds: Int64 { realtimeNs / 1_000_000_000 }

    private func digest(_ question: OpaquePointer) -> [UInt8]? {
        var isMade = false
        let digest = [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
            isMade = buffer.baseAddress.map { tls_question_digest(question, $0) == 1 } ?? false
            count = isMade ? 32 : 0
        }
        return isMade ? digest : nil
    }
}
