// Reads the bytes of a journal back into a history: record by record, up to the first that is not whole.
// Called by Journal when it opens; it touches no file.

import AdminAPI

/// The part of a journal that counts, and what is wrong with the rest.
struct JournalReader {
    struct Damage: Equatable {
        /// Everything from there on does not count.
        var offset: Int
        var reason: String
        /// The file ends within a record: nothing that was acknowledged is lost.
        var isTorn: Bool
        /// The newest revision that can still be read behind the damage. Its number is not given again.
        var lost: UInt64?
    }

    private(set) var history: History
    private(set) var nextNumber: UInt64 = 1
    private(set) var damage: Damage?
    /// The size of the journal after the last compaction.
    private(set) var compactedBytes = 0
    /// Records since then.
    private(set) var recordsSince = 0
    private var keptLeft = 0
    private var hasHeader = false
    private let limits: ControlLimits

    init(_ bytes: [UInt8], limits: ControlLimits) {
        self.limits = limits
        history = History(limits: limits)
        var at = 0
        while at < bytes.count {
            switch JournalLine.next(in: bytes, at: at, bytesMax: limits.recordBytesMax) {
            case .torn: damage = Damage(offset: at, reason: "torn", isTorn: true)
            case .bad(let reason): damage = Damage(offset: at, reason: reason, isTorn: false)
            case .record(let json, let end):
                if let reason = take(bytes, json, end: end) {
                    damage = Damage(offset: at, reason: reason, isTorn: false)
                } else {
                    at = end
                }
            }
            if damage != nil { break }
        }
        if let offset = damage?.offset, let lost = newest(in: bytes, from: offset), lost >= nextNumber {
            damage?.lost = lost
            nextNumber = lost + 1
        }
    }

    /// Why the record does not count; nil: it does.
    private mutating func take(_ bytes: [UInt8], _ json: Range<Int>, end: Int) -> String? {
        do throws(Problem) {
            if let reason = take(try JournalRecord(bytes[json])) { return reason }
        } catch {
            return error.detail
        }
        if keptLeft == 0, compactedBytes == 0 { compactedBytes = end } else if keptLeft == 0 { recordsSince += 1 }
        return nil
    }

    private mutating func take(_ record: JournalRecord) -> String? {
        switch record {
        case .header(let next, let kept):
            if hasHeader { return "a second header" }
            hasHeader = true
            nextNumber = max(1, next)
            keptLeft = kept
        case .revision(let revision, let after, let change, let file):
            if !hasHeader { return "no header" }
            let before = history.current
            if after != before?.revision.number ?? 0 { return "a revision after \(after), which is not the one before" }
            if revision.number <= after || revision.number == .max { return "a revision number that does not grow" }
            guard let state = change.applied(to: before?.state ?? ProxyState()) else { return "a change of what is not there" }
            var fileState = before?.fileState
            if let file {
                guard let applied = file.applied(to: fileState ?? state) else { return "a change of what is not in the file" }
                fileState = applied
            }
            history.append(History.Entry(revision, state: state, fileState: fileState))
            nextNumber = max(nextNumber, revision.number + 1)
            keptLeft = max(0, keptLeft - 1)
        case .file(let file, let after):
            guard let current = history.current, current.revision.number == after else { return "a file without its revision" }
            guard let applied = file.applied(to: current.fileState ?? current.state) else { return "a change of what is not in the file" }
            history.setFileState(applied)
        }
        return nil
    }

    /// The greatest number of a revision in the whole records behind `offset`, wherever they begin.
    private func newest(in bytes: [UInt8], from offset: Int) -> UInt64? {
        var newest: UInt64?
        var at = offset
        while at < bytes.count {
            guard case .record(let json, let end) = JournalLine.line(in: bytes, at: at, bytesMax: limits.recordBytesMax) else {
                at += 1
                continue
            }
            at = end
            if case .revision(let revision, _, _, _)? = try? JournalRecord(bytes[json]), revision.number < .max {
                newest = max(newest ?? 0, revision.number)
            }
        }
        return newest
    }
}
