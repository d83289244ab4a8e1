// Owns the file of the journal as bytes: appended durably or not at all, replaced as a whole, its damage set aside.
// Called by Journal, on one thread. It knows nothing of records.

import CLinux

/// The file `journal` in a folder. What it cannot promise any more (`isUsable` is false) it refuses, until a `replace` succeeds.
package final class JournalStorage {
    package static let fileName = "journal"
    static let temporaryName = "journal.new"
    static let damagedNamesMax = 1000

    private let disk: any JournalDisk
    /// -1: there is none yet.
    private var file: Int32 = -1
    /// What a write may have left behind, or a power loss take back: nothing can be appended before the file is replaced.
    private var broken: String?
    /// Bytes that count. Everything behind them is to be taken away before the next append.
    package private(set) var size = 0

    /// The path of the journal, for messages.
    package var path: String { "\(disk.folder)/\(Self.fileName)" }
    /// Appending is possible.
    package var isUsable: Bool { file >= 0 && broken == nil }
    /// Why it is not; nil: it is.
    package var reason: String? { broken ?? (file < 0 ? "\"\(path)\" does not exist" : nil) }

    /// Opens the journal if it is there. Refuses a folder in which files cannot be read or made.
    package init(_ disk: any JournalDisk) throws(JournalFailure) {
        self.disk = disk
        // What a compaction left behind that did not come to its end; and whether the folder can be written at all.
        let probe = disk.open(Self.temporaryName, .empty)
        if probe < 0, probe != -ENOSPC, probe != -EDQUOT {
            throw Self.cannot("open()", "\(disk.folder)/\(Self.temporaryName)", probe, "the folder of \"state\" must be writable")
        }
        if probe >= 0 { disk.close(probe) }
        _ = disk.remove(Self.temporaryName)

        let found = disk.open(Self.fileName, .existing)
        if found == -ENOENT { return }
        if found < 0 { throw Self.cannot("open()", path, found, "the journal must be readable and writable") }
        file = found
        let bytes = disk.size(found)
        if bytes < 0 { throw Self.cannot("fstat()", path, Int32(bytes), "the journal cannot be read") }
        size = bytes
        // A process that was killed may have left bytes that are read now and gone after a power loss.
        let synced = disk.sync(found)
        if synced < 0 { broken = "fdatasync() \"\(path)\" failed (\(errnoWords(-synced)))" }
        syncFolder()
    }

    deinit { if file >= 0 { disk.close(file) } }

    private static func cannot(_ call: String, _ path: String, _ result: Int32, _ hint: String) -> JournalFailure {
        JournalFailure(.folder, "\(call) \"\(path)\" failed (\(errnoWords(-result))): \(hint)")
    }

    private func failure(_ call: String, _ name: String, _ result: Int) -> JournalFailure {
        JournalFailure(.writing, "\(call) \"\(disk.folder)/\(name)\" failed (\(errnoWords(Int32(-result))))")
    }

    private func syncFolder() {
        let r = disk.syncFolder()
        if r < 0 { broken = "fsync() \"\(disk.folder)\" failed (\(errnoWords(-r)))" }
    }

    /// Whoever has taken the file or its folder away has taken all with it that is appended from then on: it is made anew, if that can be.
    /// - Throws: when another file lies in its place, as one from a backup. That one is not ours to write over.
    package func look() throws(JournalFailure) {
        if file < 0 { return }
        switch disk.leads(Self.fileName, to: file) {
        case -ENOENT, -ENOTDIR: broken = "\"\(path)\" was removed"
        case 0:
            throw JournalFailure(
                .writing, "\"\(path)\" is another file than this process writes: to begin with that one kill the process and start it again; else remove it")
        default: break
        }
    }

    /// All bytes, or why they cannot be read.
    package func readAll() throws(JournalFailure) -> [UInt8] {
        try read(from: 0, kind: .folder)
    }

    private func read(from offset: Int, kind: JournalFailure.Kind) throws(JournalFailure) -> [UInt8] {
        if file < 0 { return [] }
        var result = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: max(0, size - offset)) { buffer, count in
            while count < buffer.count {
                result = disk.read(file, at: offset + count, into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[count...]))
                if result <= 0 { return }
                count += result
            }
        }
        if result < 0 { throw JournalFailure(kind, "read() \"\(path)\" failed (\(errnoWords(Int32(-result))))") }
        return bytes
    }

    /// Writes all of `bytes` at `offset`. 0 or -errno.
    private func writeAll(_ file: Int32, at offset: Int, _ bytes: [UInt8]) -> Int {
        bytes.withUnsafeBytes { all in
            var done = 0
            while done < all.count {
                let n = disk.write(file, at: offset + done, UnsafeRawBufferPointer(rebasing: all[done...]))
                if n < 0 { return n }
                // A file system that takes nothing and says nothing would be asked for ever.
                if n == 0 { return -Int(EIO) }
                done += n
            }
            return 0
        }
    }

    /// Returns when `bytes` are durable at the end of the file; throws when they are not there, now and after a power loss.
    package func append(_ bytes: [UInt8]) throws(JournalFailure) {
        if let reason { throw JournalFailure(.writing, reason) }
        let written = writeAll(file, at: size, bytes)
        let synced = written < 0 ? 0 : Int(disk.sync(file))
        if written == 0, synced == 0 {
            size += bytes.count
            return
        }
        cut(to: size)
        throw written < 0 ? failure("write()", Self.fileName, written) : failure("fdatasync()", Self.fileName, synced)
    }

    /// Forgets everything behind the first `bytes` bytes, durably. When that fails, `isUsable` is false.
    package func cut(to bytes: Int) {
        size = bytes
        let cut = disk.truncate(file, to: bytes)
        let synced = cut < 0 ? 0 : disk.sync(file)
        if cut < 0 { broken = "ftruncate() \"\(path)\" failed (\(errnoWords(-cut)))" }
        if synced < 0 { broken = "fdatasync() \"\(path)\" failed (\(errnoWords(-synced)))" }
    }

    /// Puts `bytes` in place of the whole journal: after a power loss there is either all of the old or all of the new. When this
    /// throws, the old one stays; `isUsable` is false if it is not known which of the two a power loss would leave.
    package func replace(with bytes: [UInt8]) throws(JournalFailure) {
        let name = Self.temporaryName
        let fresh = disk.open(name, .empty)
        if fresh < 0 { throw failure("open()", name, Int(fresh)) }
        let written = writeAll(fresh, at: 0, bytes)
        let synced = written < 0 ? 0 : Int(disk.sync(fresh))
        let renamed = written < 0 || synced < 0 ? 0 : Int(disk.rename(name, to: Self.fileName))
        if written < 0 || synced < 0 || renamed < 0 {
            disk.close(fresh)
            _ = disk.remove(name)
            throw written < 0 ? failure("write()", name, written) : failure(synced < 0 ? "fdatasync()" : "rename()", name, min(synced, renamed))
        }
        if file >= 0 { disk.close(file) }
        file = fresh
        size = bytes.count
        broken = nil
        syncFolder()
        if let broken { throw JournalFailure(.writing, broken) }
    }

    /// Copies everything from `offset` on, durably, to a new file beside the journal and returns its name. The journal stays as it
    /// is: `replace` or `cut` it then.
    package func copyAside(from offset: Int) throws(JournalFailure) -> String {
        let bytes = try read(from: offset, kind: .writing)
        var name = ""
        var copy = -EEXIST
        var n = 0
        while copy == -EEXIST, n < Self.damagedNamesMax {
            n += 1
            name = "\(Self.fileName).damaged-\(n)"
            copy = disk.open(name, .fresh)
        }
        if copy < 0 { throw failure("open()", name, Int(copy)) }
        defer { disk.close(copy) }
        let written = writeAll(copy, at: 0, bytes)
        let synced = written < 0 ? 0 : Int(disk.sync(copy))
        let listed = written < 0 || synced < 0 ? 0 : Int(disk.syncFolder())
        if written < 0 || synced < 0 || listed < 0 {
            _ = disk.remove(name)
            throw failure(written < 0 ? "write()" : "fsync()", name, min(written, synced, listed))
        }
        return name
    }
}
