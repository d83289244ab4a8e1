// Makes accepted changes survive kill -9 and power loss, and keeps the history of them. Owned by the controller, on one thread.
// It decides nothing about states; JournalStorage owns the file, JournalReader reads it, History holds what was read.

import AdminAPI

/// What a journal says when it is opened. The revisions themselves are in `Journal.history`.
package struct Replay: Sendable {
    /// Nil: nothing was ever accepted; the configuration makes the first revision.
    package let current: ProxyState?
    /// The pools and splits of the configuration as it was last loaded.
    package let fileState: ProxyState?
    /// For the log: what was torn or damaged and where it is now, what could not be written.
    package let warnings: [String]
}

/// One record a change. `append` returns when the change is durable; what it refuses never comes back.
package final class Journal {
    /// The revisions kept, the current one last.
    package private(set) var history: History
    /// No revision has had this number or a greater one, not even one that was lost with a damaged journal.
    package private(set) var nextNumber: UInt64 = 1
    /// Nil: changes are kept in memory alone.
    private let storage: JournalStorage?
    private let limits: ControlLimits
    /// The size after the last compaction, the records since then, and the size from which one that failed is tried again.
    private var compactedBytes = 0
    private var recordsSince = 0
    private var retryBytes = 0
    /// Damage that could not be copied yet. Nothing is appended or compacted before it is.
    private var damage: JournalReader.Damage?
    private var warnings: [String] = []
    private var lastFailure: String?

    /// A journal that keeps nothing beyond the process: without a state folder.
    package static func none(limits: ControlLimits = ControlLimits()) -> Journal { Journal(nil, History(limits: limits), limits) }

    /// The journal of the folder that `state` names, which is made (mode 0700) if it is missing.
    /// - Throws: `.folder` when the folder or the journal cannot be made, read or written; `.locked` when a running proxyd has it.
    package static func open(
        folder: String, limits: ControlLimits = ControlLimits()
    ) throws(JournalFailure) -> (journal: Journal, replay: Replay) {
        try open(JournalStorage(LinuxJournalDisk(folder: folder)), limits: limits)
    }

    /// Reads what is there. Of a damaged journal everything before the damage counts, and the rest is set aside.
    /// - Throws: `.folder` when the journal cannot be read. Nothing that is in it makes this throw.
    package static func open(
        _ storage: JournalStorage, limits: ControlLimits = ControlLimits()
    ) throws(JournalFailure) -> (journal: Journal, replay: Replay) {
        let reader = JournalReader(try storage.readAll(), limits: limits)
        let journal = Journal(storage, reader.history, limits)
        journal.nextNumber = reader.nextNumber
        journal.compactedBytes = reader.compactedBytes
        journal.recordsSince = reader.recordsSince
        journal.damage = reader.damage
        do throws(JournalFailure) {
            try journal.setAside()
            if !storage.isUsable || storage.size == 0 || storage.size - journal.compactedBytes > limits.compactionAtOpenBytes {
                try journal.compact()
            }
        } catch {
            let isInOrder = journal.damage == nil && storage.isUsable && storage.size > 0
            if !isInOrder { journal.lastFailure = error.description }
            journal.failed(error, isInOrder ? Self.staysAsItIs : "changes are refused while this lasts")
        }
        let current = journal.history.current
        return (journal, Replay(current: current?.state, fileState: current?.fileState, warnings: journal.takeWarnings()))
    }

    /// The newest state in a journal that is another's: neither locked nor written to, and a record that is being written is passed over.
    /// Nil: there is none, or none that may be read.
    package static func glance(folder: String, limits: ControlLimits = ControlLimits()) -> ProxyState? {
        guard let bytes = LinuxJournalDisk.bytes(ofFile: "\(folder)/\(JournalStorage.fileName)") else { return nil }
        return JournalReader(bytes, limits: limits).history.current?.state
    }

    private init(_ storage: JournalStorage?, _ history: History, _ limits: ControlLimits) {
        self.storage = storage
        self.history = history
        self.limits = limits
    }

    package var isOff: Bool { storage == nil }
    /// Bytes of the journal.
    package var size: Int { storage?.size ?? 0 }

    /// `on`, `off`, or why the last change could not be written: what `/status` says.
    package var condition: String {
        guard let storage else { return "off" }
        return lastFailure ?? storage.reason ?? "on"
    }

    /// For the log: what went wrong since the last call without refusing a change.
    package func takeWarnings() -> [String] {
        defer { warnings = [] }
        return warnings
    }

    /// Keeps a revision, whose number is `nextNumber` or greater, and its state. Returns when both are durable.
    /// - Parameter fileState: the pools and splits of the configuration, where it was loaded for this revision (`start`, `reload`).
    /// - Throws: `.writing`. Neither the journal nor the history has changed then, and the state must not be served.
    package func append(_ revision: Revision, state: ProxyState, fileState: ProxyState? = nil) throws(JournalFailure) {
        precondition(revision.number >= nextNumber && revision.number < .max, "the numbers of revisions grow")
        let entry = History.Entry(revision, state: state, fileState: fileState ?? history.current?.fileState)
        try write(Self.record(of: entry, after: history.current))
        history.append(entry)
        nextNumber = revision.number + 1
        compactIfDue()
    }

    /// Keeps what the configuration says, where loading it made no revision.
    /// - Throws: as `append` above.
    package func append(fileState: ProxyState) throws(JournalFailure) {
        guard let current = history.current, current.fileState != fileState else { return }
        try write(.file(StateDelta(from: current.fileState ?? current.state, to: fileState), after: current.revision.number))
        history.setFileState(fileState)
        compactIfDue()
    }

    private static func record(of entry: History.Entry, after before: History.Entry?) -> JournalRecord {
        var file: StateDelta?
        if let fileState = entry.fileState, fileState != before?.fileState {
            file = StateDelta(from: before?.fileState ?? entry.state, to: fileState)
        }
        let change = StateDelta(from: before?.state ?? ProxyState(), to: entry.state)
        return .revision(entry.revision, after: before?.revision.number ?? 0, change: change, file: file)
    }

    /// `record` is made only where there is something to write it to.
    private func write(_ record: @autoclosure () -> JournalRecord) throws(JournalFailure) {
        guard let storage else { return }
        do throws(JournalFailure) {
            try setAside()
            try storage.look()
            // What could not be taken back, or whose durability is in doubt, is replaced by what is known to be right.
            if !storage.isUsable || storage.size == 0 { try compact() }
            try storage.append(Self.line(of: record(), storage.path))
        } catch {
            lastFailure = error.description
            throw error
        }
        lastFailure = nil
        recordsSince += 1
    }

    /// A record that could not be read back would be damage at the next start, and take all after it along.
    private static func line(of record: JournalRecord, _ path: String) throws(JournalFailure) -> [UInt8] {
        let json = record.json.bytes(pretty: false)
        do throws(Problem) {
            if try JournalRecord(json[...]) == record { return JournalLine.bytes(of: json) }
        } catch {
            throw JournalFailure(.writing, "the change cannot be told in \"\(path)\": \(error.detail)")
        }
        throw JournalFailure(.writing, "the change cannot be told in \"\(path)\": it would not be read back as it is")
    }

    // MARK: Damage

    /// Copies what does not count to a file of its own, and takes it out of the journal.
    private func setAside() throws(JournalFailure) {
        guard let storage, let damage else { return }
        let bytes = storage.size - damage.offset
        let name: String
        do throws(JournalFailure) { name = try storage.copyAside(from: damage.offset) } catch {
            throw JournalFailure(.writing, "the damaged end of \"\(storage.path)\" cannot be set aside: \(error)")
        }
        self.damage = nil
        warnings.append(words(damage, bytes, name, storage.path))
        // The journal as a whole, because its header remembers which numbers were lost. Without room for that, cutting it will do.
        do throws(JournalFailure) { try compact() } catch {
            failed(error, "the journal could not be compacted and is cut")
            storage.cut(to: damage.offset)
        }
    }

    private func words(_ damage: JournalReader.Damage, _ bytes: Int, _ name: String, _ path: String) -> String {
        let current = history.current.map { "revision \($0.revision.number) is current" } ?? "no revision is left"
        if damage.isTorn { return "the last \(bytes) bytes of \"\(path)\" are torn and were set aside in \(name); \(current)" }
        let lost = damage.lost.map { ", those up to \($0) are lost" } ?? ""
        return "\"\(path)\" is damaged at byte \(damage.offset) (\(damage.reason)): "
            + "\(bytes) bytes from there on were set aside in \(name); \(current)\(lost)"
    }

    private static let staysAsItIs = "the journal could not be compacted and stays as it is"

    private func failed(_ failure: JournalFailure, _ consequence: String) {
        warnings.append("\(failure): \(consequence)")
    }

    // MARK: Compaction

    /// The journal as it would be written anew: the header, the oldest revision with its whole state, and what changed since.
    private func compacted() -> [UInt8] {
        var bytes = JournalRecord.header(next: nextNumber, kept: history.count).line()
        var before: History.Entry?
        for entry in history.entries {
            bytes += Self.record(of: entry, after: before).line()
            before = entry
        }
        return bytes
    }

    private func compact() throws(JournalFailure) {
        guard let storage else { return }
        let bytes = compacted()
        try storage.replace(with: bytes)
        compactedBytes = bytes.count
        recordsSince = 0
        retryBytes = 0
    }

    private func compactIfDue() {
        guard let storage, storage.size >= retryBytes else { return }
        let grown = min(limits.compactionFactor * compactedBytes, compactedBytes + limits.compactionGrowthBytesMax)
        if storage.size <= max(limits.compactionBytesMin, grown), recordsSince <= limits.compactionRecordsMax { return }
        do throws(JournalFailure) { try compact() } catch {
            retryBytes = storage.size + limits.compactionRetryBytes
            failed(error, Self.staysAsItIs)
        }
    }
}
