// Certificates and keys whose names are computed: read when a connection needs them, and kept as a directive says.
// Used by TLSClient.swift. What was read of a sealed key is never kept.

import Bytes
import CLinux
import COpenSSL

enum CertificatePart: UInt8 { case chain, key }

/// One cache of one worker.
final class CertificateCache {
    struct Entry {
        /// Of OpenSSL; counted.
        var value: OpaquePointer
        var facts = FileFacts()
        /// When the file was looked at last, and when the entry was asked for.
        var checkedMs: Int64
        var usedMs: Int64
    }

    private let settings: CertificateCacheSettings
    private var entries: [[UInt8]: Entry] = [:]

    init(_ settings: CertificateCacheSettings) { self.settings = settings }

    deinit { for (key, entry) in entries { Self.free(entry.value, key) } }

    var count: Int { entries.count }
    var number: UInt64 { settings.number }

    /// The kind of thing, and its name.
    static func key(_ part: CertificatePart, _ name: ByteView) -> [UInt8] { [part.rawValue] + Array(name.buffer) }

    private static func free(_ value: OpaquePointer, _ key: [UInt8]) {
        if key[0] == CertificatePart.chain.rawValue { tls_free_chain(value) } else { EVP_PKEY_free(value) }
    }

    /// Nil: not there. `isFresh`: it may be used without a look at its file.
    func find(_ key: [UInt8], nowMs: Int64) -> (entry: Entry, isFresh: Bool)? {
        guard var entry = entries[key] else { return nil }
        entry.usedMs = nowMs
        entries[key] = entry
        return (entry, nowMs - entry.checkedMs <= settings.validMs)
    }

    /// The file is the one that was read.
    func confirm(_ key: [UInt8], nowMs: Int64) { entries[key]?.checkedMs = nowMs }

    func remove(_ key: [UInt8]) { if let old = entries.removeValue(forKey: key) { Self.free(old.value, key) } }

    /// Takes the value over.
    func keep(_ value: OpaquePointer, _ key: [UInt8], _ facts: FileFacts, nowMs: Int64) {
        if entries[key] == nil { makeRoom(nowMs: nowMs) }
        remove(key)
        entries[key] = Entry(value: value, facts: facts, checkedMs: nowMs, usedMs: nowMs)
    }

    /// Reading a certificate costs more than looking through them all.
    private func makeRoom(nowMs: Int64) {
        for (key, entry) in entries where nowMs - entry.usedMs > settings.inactiveMs { remove(key) }
        while entries.count >= settings.entriesMax, let eldest = entries.min(by: { $0.value.usedMs < $1.value.usedMs })?.key { remove(eldest) }
    }
}

/// Why a connection has not got its certificate.
enum CertificateFailure: Error {
    /// `part` of this name cannot be read: an errno, or 0 when OpenSSL has the reason.
    case unread(CertificatePart, Int32)
    /// OpenSSL does not take the two together, and says why.
    case unfit
}

extension Worker {
    /// Gives a connection its certificate and key. Nil: it has them.
    func useCertificate(_ ssl: OpaquePointer, _ certificate: ByteView, _ key: ByteView, _ files: CertificateFiles, _ x: Ref<Exchange>) -> CertificateFailure? {
        let cache = certificateCache(files.cache, x)
        var isSecond = false
        while true {
            switch load(.chain, certificate, files, cache, anew: isSecond) {
            case .failure(let why): return why
            case .success(let loaded):
                // The key may take its place in the cache.
                guard let chain = loaded.isOwn ? loaded.value : tls_share_chain(loaded.value) else { return .unread(.chain, ENOMEM) }
                defer { tls_free_chain(chain) }
                switch load(.key, key, files, cache, anew: isSecond) {
                case .failure(let why): return why
                case .success(let pair):
                    defer { if pair.isOwn { EVP_PKEY_free(pair.value) } }
                    switch tls_use_pair(ssl, chain, pair.value) {
                    case 1: return nil
                    // One of the files was replaced, and only the other one read since.
                    case -1 where !isSecond: isSecond = true
                    default: return .unfit
                    }
                }
            }
        }
    }

    /// Made when the first connection asks for it; those of snapshots that are gone go with them.
    private func certificateCache(_ place: Int32, _ x: Ref<Exchange>) -> CertificateCache? {
        if place < 0 { return nil }
        let settings = x.root.certificateCaches[Int(place)].value
        if let known = certificateCaches.first(where: { $0.number == settings.number }) { return known }
        let made = CertificateCache(settings)
        certificateCaches.append(made)
        return made
    }

    /// Lets go caches that no snapshot names any more.
    func dropUnusedCertificateCaches() {
        if certificateCaches.isEmpty { return }
        certificateCaches.removeAll { cache in
            !adopted.contains { snapshot in
                let named = snapshot.pinned.root.certificateCaches
                return (0..<named.count).contains { named[$0].number == cache.number }
            }
        }
    }

    /// What was loaded, and whether it is the caller's to free.
    private struct Loaded {
        var value: OpaquePointer
        var isOwn: Bool
    }

    private func load(
        _ part: CertificatePart, _ name: ByteView, _ files: CertificateFiles, _ cache: CertificateCache?, anew: Bool
    ) -> Result<Loaded, CertificateFailure> {
        let isData = name.hasPrefix(ByteView("data:"))
        let key = cache == nil ? [] : CertificateCache.key(part, name)
        let known = cache?.find(key, nowMs: nowMs)
        if let known, isData || (known.isFresh && !anew) { return .success(Loaded(value: known.entry.value, isOwn: false)) }
        var facts = FileFacts()
        var text = name.slice(5)
        var buffer = Buffer.none
        defer { buffers.give(buffer) }
        if !isData {
            switch open(name, files) {
            case .failure(let why):
                cache?.remove(key)
                return .failure(.unread(part, why.errno))
            case .success(let (descriptor, found)):
                defer { kernel.close(descriptor) }
                facts = found
                if let known, !anew, isSame(known.entry.facts, facts) {
                    cache?.confirm(key, nowMs: nowMs)
                    return .success(Loaded(value: known.entry.value, isOwn: false))
                }
                if facts.size > Int64(Limits.certificateFileBytesMax) { return .failure(.unread(part, EFBIG)) }
                buffer = buffers.take(Int(facts.size))
                text = contents(descriptor, facts, buffer)
            }
        }
        guard let (value, isSealed) = parse(part, text, files) else {
            cache?.remove(key)
            return .failure(.unread(part, 0))
        }
        guard let cache, !isSealed else {
            cache?.remove(key)
            return .success(Loaded(value: value, isOwn: true))
        }
        cache.keep(value, key, facts, nowMs: nowMs)
        return .success(Loaded(value: value, isOwn: false))
    }

    private func isSame(_ a: FileFacts, _ b: FileFacts) -> Bool {
        a.inode == b.inode && a.modifiedSeconds == b.modifiedSeconds && a.modifiedNs == b.modifiedNs && a.size == b.size
    }

    private struct OpenFailure: Error { var errno: Int32 }

    private func open(_ name: ByteView, _ files: CertificateFiles) -> Result<(descriptor: Int32, facts: FileFacts), OpenFailure> {
        var path = name
        if !name.hasPrefix(ByteView("/")) {
            scratchText.value.reset()
            scratchText.value.append(files.folder)
            scratchText.value.append(name)
            path = scratchText.view
        }
        guard let (descriptor, facts) = openFile(path) else { return .failure(OpenFailure(errno: lastOpenErrno)) }
        if facts.mode & UInt32(S_IFMT) == UInt32(S_IFREG) { return .success((descriptor, facts)) }
        kernel.close(descriptor)
        return .failure(OpenFailure(errno: EISDIR))
    }

    private func contents(_ descriptor: Int32, _ facts: FileFacts, _ buffer: Buffer) -> ByteView {
        var count = 0
        while count < Int(facts.size) {
            let n = kernel.readAt(descriptor, buffer.start + count, Int(facts.size) - count, offset: Int64(count))
            if n <= 0 { break }
            count += n
        }
        return ByteView(buffer.start, count)
    }

    private func parse(_ part: CertificatePart, _ text: ByteView, _ files: CertificateFiles) -> (value: OpaquePointer, isSealed: Bool)? {
        if part == .chain { return tls_read_chain(text.start, text.count).map { ($0, false) } }
        var isSealed: Int32 = 0
        let count = files.passwords.count
        let value = withUnsafeTemporaryAllocation(of: UnsafePointer<CChar>?.self, capacity: count + 1) { list -> OpaquePointer? in
            for i in 0..<count { list[i] = UnsafeRawPointer(files.passwords[i].start).assumingMemoryBound(to: CChar.self) }
            list[count] = nil
            return tls_read_key(text.start, text.count, count == 0 ? nil : list.baseAddress, &isSealed)
        }
        return value.map { ($0, isSealed != 0) }
    }
}
