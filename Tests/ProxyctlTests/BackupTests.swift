// Tests the archive of a backup: its checksum, that it is read back as it was written, and that no change of it goes unseen.

import AdminAPI
import Testing

@testable import proxyctl

@Suite("backup")
struct BackupTests {
    @Test(
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
            (String(repeating: "a", count: 1_000), "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3"),
        ])
    func checksumsAreThoseOfTheStandard(text: String, digest: String) { #expect(SHA256.digest(Array(text.utf8)) == digest) }

    private func archive() -> Archive {
        var archive = Archive()
        archive.files = [
            Archive.File(name: "state.json", bytes: Array(repeating: 7, count: 700)), Archive.File(name: "empty", bytes: []),
            Archive.File(name: "folder/journal", bytes: Array("line\n".utf8)),
        ]
        archive.facts = [JSON.Member("made", "2026-11-21T20:35:58.833Z")]
        return archive
    }

    @Test func isReadBackAsItWasWritten() throws {
        let archive = archive()
        #expect(archive.bytes.count % 512 == 0)
        #expect(try Archive(reading: archive.bytes).files == archive.files)
    }

    /// Whatever byte is changed, and wherever it is cut: refused, or nothing that counts was changed.
    @Test func noChangeGoesUnseen() {
        let archive = archive()
        let bytes = archive.bytes
        for i in bytes.indices {
            var changed = bytes
            changed[i] ^= 0x11
            if let read = try? Archive(reading: changed) { #expect(read.files == archive.files && read.facts == archive.facts, "byte \(i)") }
        }
        for count in stride(from: 0, to: bytes.count - 512, by: 100) {
            #expect(throws: Failure.self) { try Archive(reading: Array(bytes[..<count])) }
        }
    }
}
