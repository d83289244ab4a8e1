// Keeps the pairs that were put at run time, by the digest of their chain: in memory, and where there is a state folder in
// `certificates/DIGEST.pem`, mode 0600. Owned by PoolBuilder; filled by the controller before a change is written to the journal.

import CLinux
import Engine

package final class CertificateStore {
    static let folderName = "certificates"
    /// Nil: nothing outlives the process.
    private let opening: (() throws(JournalFailure) -> any JournalDisk)?
    private var disk: (any JournalDisk)?
    private var pairs: [String: CertificatePair] = [:]
    private var kept: Set<String> = []

    /// In memory alone.
    package init() { opening = nil }

    /// - Parameter folder: of `state`. The folder for pairs is made in it when the first is put.
    package init(folder: String) {
        opening = { () throws(JournalFailure) in try LinuxJournalDisk(folder: "\(folder)/\(Self.folderName)") }
    }

    init(opening: @escaping () throws(JournalFailure) -> any JournalDisk) { self.opening = opening }

    private static func fileName(_ digest: String) -> String { digest + ".pem" }

    private func opened() throws(JournalFailure) -> (any JournalDisk)? {
        guard let opening else { return nil }
        if disk == nil { disk = try opening() }
        return disk
    }

    // MARK: Keeping

    /// Lets a pair be used that is not kept yet. Whether it was not there before.
    @discardableResult
    func offer(_ pair: CertificatePair) -> Bool { pairs.updateValue(pair, forKey: pair.chain.digest) == nil }

    /// Takes an offer back.
    func withdraw(_ digest: String) { if !kept.contains(digest) { pairs[digest] = nil } }

    /// Returns when the pair that was offered is durable.
    func keep(_ digest: String) throws(JournalFailure) {
        guard let pair = pairs[digest], !kept.contains(digest) else { return }
        if let disk = try opened() { try KeptFiles(disk).replace(Self.fileName(digest), with: pair.chain.pem + pair.key) }
        kept.insert(digest)
    }

    // MARK: Finding

    /// Nil: it is not kept, or what is kept is damaged.
    func pair(_ digest: String) -> CertificatePair? {
        if let pair = pairs[digest] { return pair }
        guard let disk = try? opened(), let bytes = KeptFiles(disk).read(Self.fileName(digest)),
            let pair = try? CertificatePair(certificate: bytes, key: bytes), pair.chain.digest == digest
        else { return nil }
        pairs[digest] = pair
        kept.insert(digest)
        return pair
    }

    /// Lets go of what no revision that is kept has.
    /// - Parameters:
    ///   - digests: what the history has.
    ///   - running: what runs; of the rest, files are enough.
    func forget(except digests: Set<String>, running: Set<String>) {
        for digest in kept.subtracting(digests) {
            if let disk { _ = disk.remove(Self.fileName(digest)) }
            kept.remove(digest)
            pairs[digest] = nil
        }
        if disk != nil { pairs = pairs.filter { running.contains($0.key) } }
    }

    /// Removes files of an earlier process that no revision has: what a crash between the file and the journal left behind.
    /// - Parameter names: of the files that are there, without their folder.
    func sweep(_ names: [String], except digests: Set<String>) {
        guard !names.isEmpty, let disk = try? opened() else { return }
        for name in names where name.hasSuffix(".pem") {
            let digest = String(name.dropLast(4))
            if digests.contains(digest) { kept.insert(digest) } else { _ = disk.remove(name) }
        }
    }
}
