// Certificates and keys that are named by variables: read when a handshake asks for them, and kept for the next ones.
// Made by Control for a server or a location; asked by the handshakes of either side.

import Bytes
import CLinux
import COpenSSL
import Synchronization

/// `ssl_certificate` and `ssl_certificate_key` where one of them has variables.
package struct TLSPairTemplates: BitwiseCopyable {
    package var certificate: Template
    package var key: Template
    package init(certificate: Template, key: Template) {
        self.certificate = certificate
        self.key = key
    }
}

/// A certificate with its chain, or a key, as OpenSSL has it.
final class TLSPairObject: @unchecked Sendable {
    enum Kind: UInt8 { case chain, key }

    fileprivate let kind: Kind
    fileprivate let pointer: OpaquePointer

    fileprivate init?(_ kind: Kind, _ pem: ByteView, passwords: [String]) {
        let made: OpaquePointer?
        switch kind {
        case .chain: made = tls_chain_parse(pem.start, pem.count)
        case .key:
            var parsed: OpaquePointer?
            _ = withStrings(passwords) {
                parsed = tls_key_parse(pem.start, pem.count, passwords.isEmpty ? nil : $0)
                return 0
            }
            made = parsed
        }
        guard let made else { return nil }
        self.kind = kind
        pointer = made
    }

    deinit {
        switch kind {
        case .chain: tls_chain_free(pointer)
        case .key: tls_key_free(pointer)
        }
    }
}

/// What was read lately, shared by all workers. The one that was not used for the longest time makes room.
package final class TLSPairStore: Sendable {
    /// `ssl_certificate_cache`: certificates and keys count one each; 0: nothing is kept.
    package struct Limits: Sendable {
        package var countMax = 0
        package var idleMsMax: Int64 = 10_000
        package var ageMsMax: Int64 = 60_000
        package init() {}
    }

    private struct Entry {
        var object: TLSPairObject
        var readMs: Int64
        var usedMs: Int64
    }

    /// Where relative names begin; ends in "/".
    fileprivate let folder: [UInt8]
    fileprivate let passwords: [String]
    private let limits: Limits
    private let entries = Mutex<[[UInt8]: Entry]>([:])

    package init(folder: String, passwords: [String], limits: Limits) {
        self.folder = Array(folder.utf8)
        self.passwords = passwords
        self.limits = limits
    }

    private func key(_ kind: TLSPairObject.Kind, _ path: ByteView) -> [UInt8] { [kind.rawValue] + path.buffer }

    fileprivate func find(_ kind: TLSPairObject.Kind, _ path: ByteView, nowMs: Int64) -> TLSPairObject? {
        if limits.countMax == 0 { return nil }
        let key = key(kind, path)
        return entries.withLock { entries in
            guard let entry = entries[key] else { return nil }
            if isPast(entry, nowMs) {
                entries[key] = nil
                return nil
            }
            entries[key]?.usedMs = nowMs
            return entry.object
        }
    }

    private func isPast(_ entry: Entry, _ nowMs: Int64) -> Bool {
        nowMs - entry.readMs > limits.ageMsMax || nowMs - entry.usedMs > limits.idleMsMax
    }

    fileprivate func keep(_ object: TLSPairObject, _ path: ByteView, nowMs: Int64) {
        if limits.countMax == 0 { return }
        let key = key(object.kind, path)
        entries.withLock { entries in
            if entries[key] == nil, entries.count >= limits.countMax, let oldest = entries.min(by: { $0.value.usedMs < $1.value.usedMs })?.key {
                entries[oldest] = nil
            }
            entries[key] = Entry(object: object, readMs: nowMs, usedMs: nowMs)
        }
    }

    fileprivate func drop(_ kind: TLSPairObject.Kind, _ path: ByteView) {
        let key = key(kind, path)
        entries.withLock { $0[key] = nil }
    }
}

/// Why there is no pair, for the log.
enum PairFailure {
    case certificate(ByteView, errno: Int32)
    case key(ByteView, errno: Int32)
    /// One does not belong to the other, or OpenSSL does not like it.
    case pair(ByteView)
}

extension Worker {
    /// Gives the connection the certificates and keys that the templates name. Nil: done. Where errno is 0, `tlsErrors` says why.
    func presentPairs(
        _ t: Ref<TLSConnection>, _ templates: Frozen<TLSPairTemplates>, _ store: TLSPairStore, for x: Ref<Exchange>
    ) -> PairFailure? {
        for i in 0..<templates.count {
            let certificate = expand(templates[i].certificate, for: x, keep: true)
            let key = expand(templates[i].key, for: x, keep: true)
            // Read at different times, they may have become strangers.
            for isLast in [false, true] {
                guard let chain = pairObject(.chain, certificate, store) else { return .certificate(certificate, errno: lastOpenErrno) }
                guard let ownKey = pairObject(.key, key, store) else { return .key(key, errno: lastOpenErrno) }
                let r = tls_present(t.ssl, chain.pointer, ownKey.pointer)
                if r == 1 { break }
                if isLast || r == 0 { return .pair(certificate) }
                store.drop(.chain, certificate)
                store.drop(.key, key)
            }
        }
        return nil
    }

    private func pairObject(_ kind: TLSPairObject.Kind, _ name: ByteView, _ store: TLSPairStore) -> TLSPairObject? {
        lastOpenErrno = 0
        if name.hasPrefix(ByteView("data:")) { return TLSPairObject(kind, name.slice(5), passwords: store.passwords) }
        if let known = store.find(kind, name, nowMs: nowMs) { return known }
        guard let object = readPairObject(kind, name, store) else { return nil }
        store.keep(object, name, nowMs: nowMs)
        return object
    }

    private func readPairObject(_ kind: TLSPairObject.Kind, _ name: ByteView, _ store: TLSPairStore) -> TLSPairObject? {
        // Names come from clients: none of them leads out of the folder that it is meant for.
        if leadsUpwards(name) {
            lastOpenErrno = EACCES
            return nil
        }
        scratchText.value.reset()
        if !name.hasPrefix(ByteView("/")) { for byte in store.folder { scratchText.value.append(byte) } }
        scratchText.value.append(name)
        guard let (file, facts) = openFile(scratchText.view) else { return nil }
        defer { kernel.close(file) }
        let count = Int(facts.size)
        if count > Limits.pemBytesMax {
            lastOpenErrno = EFBIG
            return nil
        }
        let buffer = buffers.take(max(count, 1))
        defer { buffers.give(buffer) }
        let n = kernel.readAt(file, buffer.start, count, offset: 0)
        if n < 0 {
            lastOpenErrno = Int32(-n)
            return nil
        }
        return TLSPairObject(kind, ByteView(buffer.start, n), passwords: store.passwords)
    }

    private func leadsUpwards(_ name: ByteView) -> Bool {
        var rest = name
        while true {
            let end = rest.firstIndex(of: 0x2F) ?? rest.count
            if rest.slice(0, end) == ByteView("..") { return true }
            if end == rest.count { return false }
            rest = rest.slice(end + 1)
        }
    }
}
