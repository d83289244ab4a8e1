// Owns what a journal says when it is read again: whole, cut at every byte, with each byte flipped, written by others.

import AdminAPI
import Testing

@testable import Control

@Suite("journal: replay")
struct JournalReplayTests {
    @Test func theWholeStoryComesBack() throws {
        let disk = MemoryDisk()
        let told = try Journal.open(disk).journal
        for chapter in Story.chapters { try told.append(chapter) }
        let (journal, replay) = try Journal.open(disk)
        #expect(replay.current == Story.told(10).state)
        #expect(replay.fileState == Story.told(10).fileState)
        #expect(replay.warnings == [])
        #expect(journal.history.entries == told.history.entries)
        #expect(journal.nextNumber == 10 + 1)
        #expect(journal.condition == "on")
        #expect(!journal.isOff)
        for chapter in Story.chapters {
            guard let revision = chapter.revision else { continue }
            #expect(journal.history.revision(revision.number) == revision)
            #expect(journal.history.state(of: revision.number) == chapter.state)
        }
        #expect(journal.history.revision(9) == nil)
        #expect(journal.history.newestFirst(limit: 2).map(\.number) == [10, 8])
    }

    @Test func aLineCanBeReadByAPerson() throws {
        let lines = String(decoding: try MemoryDisk.told().bytes, as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 11)
        #expect(lines[0].hasSuffix(#" 31 {"journal":1,"kept":0,"next":1}"#))
        #expect(lines[0].prefix { $0 != " " }.count == 8)
        #expect(lines[2].contains(#""change":{"splits":{"app":{"#))
        #expect(!lines[2].contains("upstreams"))
        #expect(!lines[3].contains("a:1"), "a server that did not change is not written")
    }

    @Test func castagnoli() {
        #expect(CRC32C.of(Array("123456789".utf8), 0..<9) == 0xE306_9283)
        #expect(CRC32C.of([UInt8](repeating: 0, count: 32), 0..<32) == 0x8A91_36AA)
        #expect(CRC32C.of([UInt8](0..<32), 0..<32) == 0x46DD_794E)
        #expect(CRC32C.of([1, 2] + Array("123456789".utf8) + [3], 2..<11) == 0xE306_9283)
        #expect(CRC32C.of([], 0..<0) == 0)
    }

    @Test func cutAtEveryByte() throws {
        let (bytes, ends) = try MemoryDisk.told()
        for cut in 0...bytes.count {
            let disk = MemoryDisk()
            disk.put("journal", Array(bytes[..<cut]))
            let whole = ends.lastIndex { $0 <= cut } ?? -1
            let (journal, replay) = try Journal.open(disk)
            let told = Story.told(max(0, whole))
            #expect(replay.current == told.state, "cut at \(cut)")
            #expect(replay.fileState == told.fileState, "cut at \(cut)")
            let torn = Array(bytes[(whole < 0 ? 0 : ends[whole])..<cut])
            #expect(disk.bytes("journal.damaged-1") == (torn.isEmpty ? nil : torn), "cut at \(cut)")
            #expect(replay.warnings.count == (torn.isEmpty ? 0 : 1), "cut at \(cut)")
            if let warning = replay.warnings.first {
                let current = journal.history.current.map { "revision \($0.revision.number) is current" } ?? "no revision is left"
                #expect(
                    warning == "the last \(torn.count) bytes of \"state/journal\" are torn and were set aside in journal.damaged-1; \(current)")
            }
        }
    }

    @Test func afterACutItGoesOn() throws {
        let (bytes, ends) = try MemoryDisk.told()
        for cut in stride(from: 0, through: bytes.count, by: 13) {
            let disk = MemoryDisk()
            disk.put("journal", Array(bytes[..<cut]))
            let whole = max(0, ends.lastIndex { $0 <= cut } ?? 0)
            let journal = try Journal.open(disk).journal
            for chapter in Story.chapters[whole...] { try journal.append(chapter) }
            let (again, replay) = try Journal.open(disk)
            #expect(replay.warnings == [], "cut at \(cut)")
            #expect(again.history.entries == journal.history.entries, "cut at \(cut)")
            #expect(replay.current == Story.told(10).state, "cut at \(cut)")
        }
    }

    @Test func eachByteFlipped() throws {
        let (bytes, ends) = try MemoryDisk.told()
        for i in bytes.indices {
            var flipped = bytes
            flipped[i] ^= 1 << UInt8(i % 8)
            let disk = MemoryDisk()
            disk.put("journal", flipped)
            let whole = ends.lastIndex { $0 <= i } ?? -1
            let (journal, replay) = try Journal.open(disk)
            let told = Story.told(max(0, whole))
            #expect(replay.current == told.state, "byte \(i)")
            #expect(replay.fileState == told.fileState, "byte \(i)")
            #expect(replay.warnings.count == 1, "byte \(i)")
            #expect(disk.bytes("journal.damaged-1") == Array(flipped[(whole < 0 ? 0 : ends[whole])...]), "byte \(i)")
            // A revision that was acknowledged and is lost does not give its number to another.
            if i < ends[9] { #expect(journal.nextNumber == 11, "byte \(i)") }
            #expect(try Journal.open(disk).journal.nextNumber == journal.nextNumber, "byte \(i)")
        }
    }

    @Test func damageIsToldWithPlaceAndLoss() throws {
        let (bytes, ends) = try MemoryDisk.told()
        var flipped = bytes
        flipped[ends[3] + 30] ^= 4
        let disk = MemoryDisk()
        disk.put("journal", flipped)
        disk.put("journal.damaged-1", [1])
        let (journal, replay) = try Journal.open(disk)
        #expect(
            replay.warnings == [
                "\"state/journal\" is damaged at byte \(ends[3]) (a wrong checksum): \(bytes.count - ends[3]) bytes from there on were set aside "
                    + "in journal.damaged-2; revision 3 is current, those up to 10 are lost"
            ])
        #expect(disk.bytes("journal.damaged-1") == [1])
        #expect(journal.history.current?.state == Story.told(3).state)
    }

    @Test(
        "records that are none",
        arguments: [
            #"{"something":1}"#, #"{"after":10,"something":1}"#, "[]", "{", "", "null", #"{"journal":1,"kept":0,"next":1}"#,
            #"{"journal":2,"kept":0,"next":1}"#, #"{"after":9,"change":{},"revision":REV}"#, #"{"after":10,"change":{},"revision":OLD}"#,
            #"{"after":10,"change":{"removed_upstreams":["none"]},"revision":REV}"#,
            #"{"after":10,"change":{"patches":{"none":{}}},"revision":REV}"#,
            #"{"after":10,"change":{"patches":{"blue":{"gone":[77]}}},"revision":REV}"#,
            #"{"after":10,"change":{"more":{}},"revision":REV}"#, #"{"after":10,"revision":REV}"#, #"{"after":-1,"file":{}}"#,
            #"{"after":7,"file":{}}"#,
        ])
    func notARecord(json: String) throws {
        let (bytes, _) = try MemoryDisk.told()
        let text = json.replacing("REV", with: Story.revision(11).json.text(pretty: false))
            .replacing("OLD", with: Story.revision(10).json.text(pretty: false))
        let line = JournalLine.bytes(of: Array(text.utf8))
        let disk = MemoryDisk()
        disk.put("journal", bytes + line)
        let (journal, replay) = try Journal.open(disk)
        #expect(replay.warnings.count == 1)
        #expect(replay.warnings.first?.contains("is damaged at byte \(bytes.count) (") == true)
        #expect(disk.bytes("journal.damaged-1") == line)
        #expect(journal.history.current?.revision.number == 10)
        #expect(journal.history.current?.state == Story.told(10).state)
    }

    @Test func rubbishIsSetAsideWhole() throws {
        for rubbish in [[0], [10], [10, 10], Array("hello\n".utf8), [UInt8](repeating: 0, count: 5000), Array("00000000 99999999999 {}\n".utf8)] {
            let disk = MemoryDisk()
            disk.put("journal", rubbish)
            let (journal, replay) = try Journal.open(disk)
            #expect(replay.current == nil)
            #expect(replay.warnings.count == 1)
            #expect(disk.bytes("journal.damaged-1") == rubbish)
            try journal.append(Story.chapters[0])
            #expect(try Journal.open(disk).replay.current == Story.told(1).state)
        }
    }

    @Test func withoutAFolderThereIsAHistoryAlone() throws {
        let journal = Journal.none()
        #expect(journal.isOff)
        #expect(journal.condition == "off")
        for chapter in Story.chapters { try journal.append(chapter) }
        #expect(journal.history.count == 9)
        #expect(journal.history.current?.fileState == Story.told(10).fileState)
        #expect(journal.nextNumber == 11)
    }

    /// Every field of every type that the story leaves at its default.
    @Test func everyFieldComesBack() throws {
        var pool = UpstreamState(servers: [ServerState(server: "x:1")])
        pool.balance = "random two least_conn"
        pool.keepalive = 16
        pool.keepaliveIsLocal = true
        pool.keepaliveRequests = 7
        pool.keepaliveTimeMs = 1
        pool.keepaliveTimeoutMs = 0
        pool.sticky = "cookie sid expires=1h"
        pool.nextServerID = 70
        pool.servers[0].id = 69
        pool.servers[0].weight = 1_000_000
        pool.servers[0].maxConns = 3
        pool.servers[0].maxFails = 0
        pool.servers[0].failTimeoutMs = 90_000
        pool.servers[0].backup = true
        pool.servers[0].down = true
        pool.servers[0].drain = true
        let split = SplitState(weights: ["p": 1], key: ["$a", "\u{0}\u{7F}\u{1F600}"], force: "", assign: AssignState(cookie: "c", maxAgeSeconds: 61))
        let state = ProxyState(upstreams: ["p": pool], splits: ["s": split])
        let disk = MemoryDisk()
        try Journal.open(disk).journal.append(Story.revision(1), state: state, fileState: ProxyState())
        let replay = try Journal.open(disk).replay
        #expect(replay.current == state)
        #expect(replay.fileState == ProxyState())
    }

    /// What the codec cannot tell is refused at once, not found as damage at the next start.
    @Test func whatWouldNotComeBackIsRefused() throws {
        let disk = MemoryDisk()
        let journal = try Journal.open(disk).journal
        try journal.append(Story.chapters[0])
        var state = Story.chapters[0].state
        state.upstreams["green"]?.servers[0].weight = -5
        let failure = #expect(throws: JournalFailure.self) { try journal.append(Story.revision(2), state: state) }
        #expect(failure?.description.hasPrefix("the change cannot be told in \"state/journal\": ") == true)
        #expect(journal.history.count == 1)
        #expect(journal.condition == failure?.description)
        try journal.append(Story.chapters[1])
        #expect(journal.condition == "on")
        #expect(try Journal.open(disk).replay.current == Story.told(2).state)
    }
}
