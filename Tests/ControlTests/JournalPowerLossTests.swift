// Owns the promise of the journal: what was acknowledged is there after the power went at any moment, what was refused is not.
// The power goes in every step of a story with compactions, and every step fails once, or from then on.

import AdminAPI
import CLinux
import Testing

@testable import Control

@Suite("journal: power loss and failing disks")
struct JournalPowerLossTests {
    static let small: ControlLimits = {
        var limits = ControlLimits()
        limits.revisionsKept = 4
        limits.compactionBytesMin = 0
        limits.compactionFactor = 2
        limits.compactionRetryBytes = 1
        limits.compactionAtOpenBytes = 200
        return limits
    }()

    /// How a story went: chapters that were acknowledged, one behind the other; and whether the next was begun.
    struct Told {
        var acknowledged = 0
        var isRefused = false
        var condition = "off"
    }

    /// Opens and tells the rest of the story, stopping at the first refusal.
    private func tell(_ disk: MemoryDisk, from first: Int = 0, tries: Int = 1) -> Told {
        var told = Told(acknowledged: first)
        guard let journal = try? Journal.open(disk, limits: Self.small).journal else { return told }
        told.condition = journal.condition
        for chapter in Story.chapters[first...] {
            var left = tries
            told.isRefused = true
            while left > 0, told.isRefused {
                left -= 1
                if (try? journal.append(chapter)) != nil { told.isRefused = false }
            }
            told.condition = journal.condition
            if told.isRefused { return told }
            told.acknowledged += 1
            #expect(journal.history.current?.state == Story.told(told.acknowledged).state)
        }
        return told
    }

    /// A journal that is read after the story went so: `allowed` chapters may be in it; it goes on to the story's end.
    private func check(_ disk: MemoryDisk, _ allowed: ClosedRange<Int>, _ words: String) {
        guard let (journal, replay) = try? Journal.open(disk, limits: Self.small) else {
            Issue.record("\(words): not opened")
            return
        }
        let found = allowed.first { Story.told($0).state == replay.current && Story.told($0).fileState == replay.fileState }
        guard let found else {
            Issue.record("\(words): revision \(journal.history.current?.revision.number ?? 0), expected \(allowed)")
            return
        }
        let numbers = Story.chapters.prefix(found).compactMap { $0.revision?.number }
        #expect(journal.history.entries.map(\.revision.number) == numbers.suffix(journal.history.count), "\(words)")
        #expect(journal.history.count == min(numbers.count, 4), "\(words)")
        #expect(tell(disk, from: found).acknowledged == Story.chapters.count, "\(words)")
        #expect((try? Journal.open(disk, limits: Self.small))?.replay.current == Story.told(10).state, "\(words)")
    }

    /// Everything a power loss may leave, and a kill -9.
    private func leftovers(_ disk: MemoryDisk, _ each: (MemoryDisk, String) -> Void) {
        var lefts: [MemoryDisk.Left] = [.old, .new, .zeros]
        let unsynced = disk.unsyncedCount
        lefts += (unsynced < 40 ? Array(0..<unsynced) : [1, unsynced / 2, unsynced - 1]).map { .part($0) }
        for left in lefts {
            for pending in 0...disk.pendingCount { each(disk.rebooted(left, pending: pending), "\(left), \(pending) names") }
        }
    }

    @Test func thePowerGoesInEveryStep() {
        var step = 0
        var told = Told()
        repeat {
            step += 1
            let disk = MemoryDisk()
            disk.diesAt = step
            told = tell(disk)
            leftovers(disk) { rebooted, words in
                check(rebooted, told.acknowledged...(told.acknowledged + (told.isRefused ? 1 : 0)), "step \(step), \(words)")
            }
            if !disk.isDead { break }
        } while step < 1000
        #expect(told.acknowledged == Story.chapters.count)
        #expect(step > 40 && step < 1000, "\(step)")
    }

    /// A start after a start that was cut short: setting aside and compacting lose the power too.
    @Test func thePowerGoesWhileDamageIsSetAside() throws {
        let (bytes, ends) = try MemoryDisk.told()
        for step in 1...40 {
            let disk = MemoryDisk()
            var damaged = bytes
            damaged[ends[5] + 3] ^= 1
            disk.put("journal", damaged)
            disk.diesAt = step
            _ = try? Journal.open(disk)
            leftovers(disk) { rebooted, words in
                let again = try? Journal.open(rebooted)
                #expect(again?.replay.current == Story.told(5).state, "step \(step), \(words)")
                #expect(again?.journal.nextNumber == 11, "step \(step), \(words)")
                #expect(rebooted.bytes("journal.damaged-1") != nil, "step \(step), \(words)")
            }
            if !disk.isDead { return }
        }
        Issue.record("setting aside takes more steps than the test has")
    }

    @Test(arguments: [ENOSPC, EIO])
    func everyStepFailsOnce(errno: Int32) {
        for step in 1...1000 {
            let disk = MemoryDisk()
            disk.fault = { now, _ in now == step ? errno : nil }
            let told = tell(disk, tries: 2)
            // A folder in which nothing can be made is refused at the start.
            if told.condition == "off" {
                #expect(step == 1 && errno == EIO)
                continue
            }
            #expect(told.acknowledged == Story.chapters.count, "step \(step): \(told.condition)")
            leftovers(disk) { rebooted, words in check(rebooted, 10...10, "step \(step), \(words)") }
            if disk.steps < step { return }
        }
        Issue.record("the story has more steps than the test")
    }

    @Test(arguments: [ENOSPC, EIO])
    func everyStepFailsFromThenOn(errno: Int32) {
        for step in 1...1000 {
            let disk = MemoryDisk()
            disk.fault = { now, call in
                // A full disk still shortens files, renames and forgets.
                if errno == ENOSPC, !["write", "open"].contains(call) { return nil }
                return now >= step ? errno : nil
            }
            let told = tell(disk, tries: 2)
            if told.condition == "off" { #expect(told.acknowledged == 0) }
            let isInDoubt = errno == EIO && told.isRefused
            leftovers(disk) { rebooted, words in
                check(rebooted, told.acknowledged...(told.acknowledged + (isInDoubt ? 1 : 0)), "step \(step), \(words)")
            }
            if disk.steps < step { return }
        }
        Issue.record("the story has more steps than the test")
    }

    @Test func aFullDiskIsToldAndForgotten() throws {
        let disk = MemoryDisk()
        let journal = try Journal.open(disk).journal
        try journal.append(Story.chapters[0])
        let before = disk.bytes("journal")
        disk.fault = { _, call in call == "write" ? ENOSPC : nil }
        let failure = #expect(throws: JournalFailure.self) { try journal.append(Story.chapters[1]) }
        #expect(failure == JournalFailure(.writing, "write() \"state/journal\" failed (28: No space left on device)"))
        #expect(journal.condition == failure?.description)
        #expect(disk.bytes("journal") == before)
        #expect(journal.history.current?.revision.number == 1)
        disk.fault = nil
        try journal.append(Story.chapters[1])
        #expect(journal.condition == "on")
        #expect(try Journal.open(disk).replay.current == Story.told(2).state)
    }

    @Test func whatCannotBeTakenBackStopsAppendsUntilItIsReplaced() throws {
        let disk = MemoryDisk()
        let storage = try JournalStorage(disk)
        try storage.replace(with: [1])
        disk.fault = { _, call in call == "sync" || call == "truncate" ? EIO : nil }
        #expect(throws: JournalFailure.self) { try storage.append([2, 3]) }
        #expect(!storage.isUsable)
        disk.fault = nil
        let later = #expect(throws: JournalFailure.self) { try storage.append([4]) }
        #expect(later?.description == "ftruncate() \"state/journal\" failed (5: Input/output error)")
        try storage.replace(with: [1])
        try storage.append([4])
        #expect(disk.bytes("journal") == [1, 4])
    }

    @Test func aCompactionThatFailsIsAWarning() throws {
        let disk = MemoryDisk()
        let journal = try Journal.open(disk, limits: Self.small).journal
        disk.fault = { _, call in call == "rename" ? EIO : nil }
        for chapter in Story.chapters { try journal.append(chapter) }
        let warnings = journal.takeWarnings()
        #expect(
            warnings.first
                == "rename() \"state/journal.new\" failed (5: Input/output error): the journal could not be compacted and stays as it is")
        #expect(journal.takeWarnings() == [])
        #expect(journal.condition == "on")
        #expect(disk.bytes("journal.new") == nil)
        disk.fault = nil
        #expect(try Journal.open(disk, limits: Self.small).replay.current == Story.told(10).state)
    }

    @Test func aCompactionAtTheStartThatFailsIsAWarning() throws {
        let disk = MemoryDisk()
        disk.put("journal", try MemoryDisk.told().bytes)
        disk.fault = { _, call in call == "rename" ? EIO : nil }
        let (journal, replay) = try Journal.open(disk, limits: Self.small)
        #expect(replay.warnings.count == 1)
        #expect(replay.warnings.first?.hasSuffix("could not be compacted and stays as it is") == true)
        #expect(journal.condition == "on")
        try journal.append(Story.revision(11), state: ProxyState())
        #expect(try Journal.open(disk).replay.current == ProxyState())
    }

    /// Room for the copy but not for the journal anew.
    @Test func damageIsCutWhereTheJournalCannotBeReplaced() throws {
        let (bytes, ends) = try MemoryDisk.told()
        let disk = MemoryDisk()
        disk.put("journal", Array(bytes[..<(ends[4] + 9)]))
        disk.fault = { _, call in call == "rename" ? EIO : nil }
        let (journal, replay) = try Journal.open(disk)
        #expect(replay.warnings.count == 2)
        #expect(disk.bytes("journal") == Array(bytes[..<ends[4]]))
        #expect(journal.condition == "on")
        try journal.append(Story.chapters[4])
        #expect(try Journal.open(disk).replay.current == Story.told(5).state)
    }

    @Test func damageThatCannotBeSetAsideStaysAndRefusesChanges() throws {
        let (bytes, ends) = try MemoryDisk.told()
        let disk = MemoryDisk()
        disk.put("journal", Array(bytes[..<(ends[4] + 9)]))
        disk.fault = { step, call in call == "write" ? ENOSPC : nil }
        let (journal, replay) = try Journal.open(disk)
        #expect(replay.current == Story.told(4).state)
        #expect(replay.warnings.count == 1)
        #expect(journal.condition.contains("cannot be set aside: write() \"state/journal.damaged-1\" failed (28: "))
        #expect(throws: JournalFailure.self) { try journal.append(Story.chapters[4]) }
        #expect(disk.bytes("journal") == Array(bytes[..<(ends[4] + 9)]))
        disk.fault = nil
        try journal.append(Story.chapters[4])
        #expect(journal.takeWarnings().count == 1)
        #expect(disk.bytes("journal.damaged-1") == Array(bytes[ends[4]..<(ends[4] + 9)]))
        #expect(try Journal.open(disk).replay.current == Story.told(5).state)
    }
}
