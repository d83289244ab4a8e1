// Owns the folder of the state on the real file system: made, locked, refused with a reason, read again after a torn end.

import AdminAPI
import CLinux
import Glibc
import Testing

@testable import Control

@Suite("journal: folder")
final class JournalFolderTests {
    private let base: String

    init() throws {
        var template = Array("/tmp/switchback-journal-XXXXXX".utf8CString)
        let made = try #require(mkdtemp(&template))
        base = String(cString: made)
    }

    deinit { remove(base) }

    private func remove(_ folder: String) {
        for path in LinuxSystemFiles().glob("\(folder)/*") {
            if unlink(path) != 0 { remove(path) }
        }
        rmdir(folder)
    }

    private func read(_ path: String) throws -> [UInt8] { try LinuxSystemFiles().read(path) }

    @Test func theFolderIsMadeAndTheStoryComesBack() throws {
        let folder = "\(base)/state"
        do {
            let (journal, replay) = try Journal.open(folder: folder)
            #expect(replay.current == nil)
            #expect(replay.warnings == [])
            for chapter in Story.chapters { try journal.append(chapter) }
        }
        var facts = stat()
        #expect(stat(folder, &facts) == 0)
        #expect(facts.st_mode & 0o777 == 0o700)
        #expect(stat("\(folder)/journal", &facts) == 0)
        #expect(facts.st_mode & 0o777 == 0o600)
        let (journal, replay) = try Journal.open(folder: folder)
        #expect(replay.current == Story.told(10).state)
        #expect(replay.fileState == Story.told(10).fileState)
        #expect(replay.warnings == [])
        #expect(journal.nextNumber == 11)
        #expect(LinuxSystemFiles().glob("\(folder)/*") == ["\(folder)/journal", "\(folder)/lock"])
    }

    /// As by whoever tidies up: what is acknowledged afterwards must be there after the next start.
    @Test func aJournalThatIsTakenAwayIsMadeAnew() throws {
        let (folder, path) = ("\(base)/gone", "\(base)/gone/journal")
        do {
            let (journal, _) = try Journal.open(folder: folder)
            try journal.append(Story.chapters[0])
            unlink(path)
            try journal.append(Story.chapters[1])
            #expect(rename(folder, folder + "-away") == 0)
            #expect(throws: JournalFailure.self) { try journal.append(Story.chapters[2]) }
            #expect(journal.condition.contains("No such file or directory"), "\(journal.condition)")
            #expect(rename(folder + "-away", folder) == 0)
            try journal.append(Story.chapters[2])
            #expect(journal.condition == "on")
        }
        #expect(try Journal.open(folder: folder).replay.current == Story.told(3).state)
    }

    /// As by a restore under a process that runs.
    @Test func aJournalThatLiesInItsPlaceIsNotWrittenOver() throws {
        let (folder, path) = ("\(base)/other", "\(base)/other/journal")
        let (journal, _) = try Journal.open(folder: folder)
        try journal.append(Story.chapters[0])
        unlink(path)
        #expect(symlink("/dev/null", path) == 0)
        #expect(throws: JournalFailure.self) { try journal.append(Story.chapters[1]) }
        #expect(journal.condition.contains("is another file than this process writes"), "\(journal.condition)")
        #expect(unlink(path) == 0)
        try journal.append(Story.chapters[1])
        #expect(journal.condition == "on" && journal.history.count == 2)
    }

    @Test func aTornEndAndACompaction() throws {
        let folder = "\(base)/torn"
        var limits = ControlLimits()
        limits.revisionsKept = 3
        do {
            let journal = try Journal.open(folder: folder).journal
            for chapter in Story.chapters { try journal.append(chapter) }
        }
        let path = "\(folder)/journal"
        let whole = try read(path)
        let file = clinux_open(path, O_WRONLY | O_APPEND, 0)
        let torn = Array("abc".utf8)
        #expect(clinux_write(file, torn, 3) == 3)
        #expect(clinux_close(file) == 0)
        try LinuxSystemFiles().put("\(folder)/journal.new", [1, 2])
        do {
            let (journal, replay) = try Journal.open(folder: folder, limits: limits)
            #expect(
                replay.warnings == ["the last 3 bytes of \"\(path)\" are torn and were set aside in journal.damaged-1; revision 10 is current"])
            #expect(journal.history.newestFirst().map(\.number) == [10, 8, 7])
        }
        #expect(try read("\(folder)/journal.damaged-1") == torn)
        #expect(try read(path).count < whole.count)
        #expect(LinuxSystemFiles().glob("\(folder)/journal.new") == [])
        let (journal, replay) = try Journal.open(folder: folder)
        #expect(journal.history.newestFirst().map(\.number) == [10, 8, 7])
        #expect(replay.current == Story.told(10).state)
        #expect(replay.warnings == [])
    }

    @Test func theSecondIsRefused() throws {
        let folder = "\(base)/locked"
        var first: Journal? = try Journal.open(folder: folder).journal
        let failure = #expect(throws: JournalFailure.self) { try Journal.open(folder: folder) }
        #expect(
            failure
                == JournalFailure(
                    .locked,
                    "the state folder \"\(folder)\" is in use by another proxyd (process \(getpid())): stop that one first, "
                        + "or name another folder with \"state\""))
        try first?.append(Story.chapters[0])
        first = nil
        #expect(try Journal.open(folder: folder).replay.current == Story.told(1).state)
    }

    @Test func aFolderThatCannotServeIsRefused() throws {
        func refusal(_ folder: String) -> String {
            do throws(JournalFailure) {
                _ = try Journal.open(folder: folder)
                return "opened"
            } catch {
                #expect(error.kind == .folder)
                return error.description
            }
        }
        #expect(
            refusal("\(base)/no/such") == "mkdir() \"\(base)/no/such\" failed (2: No such file or directory): the folder of \"state\" cannot be made")
        try LinuxSystemFiles().put("\(base)/file", [])
        #expect(
            refusal("\(base)/file")
                == "open() \"\(base)/file\" failed (20: Not a directory): \"state\" must name a folder that can be read and written")
        mkdir("\(base)/a", 0o700)
        mkdir("\(base)/a/journal", 0o700)
        #expect(
            refusal("\(base)/a") == "open() \"\(base)/a/journal\" failed (21: Is a directory): the journal must be readable and writable")
        mkdir("\(base)/b", 0o700)
        mkdir("\(base)/b/lock", 0o700)
        #expect(refusal("\(base)/b") == "open() \"\(base)/b/lock\" failed (21: Is a directory): the folder of \"state\" must be writable")
        // Root writes everywhere.
        if geteuid() != 0 {
            mkdir("\(base)/c", 0o500)
            #expect(refusal("\(base)/c") == "open() \"\(base)/c/lock\" failed (13: Permission denied): the folder of \"state\" must be writable")
        }
    }
}

extension LinuxSystemFiles {
    fileprivate func put(_ path: String, _ bytes: [UInt8]) throws {
        let file = clinux_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        defer { _ = clinux_close(file) }
        try #require(clinux_write(file, bytes, bytes.count) == bytes.count)
    }
}
