// Tests what is read of the folder of deploys, and what is made of a journal that cannot be.

import Deploy
import Foundation
import Testing

@testable import proxyctl

@Suite("folder of deploys")
struct DeployFolderTests {
    @Test func anOldJournalThatIsDamagedIsPassedOverTheNewestIsNot() throws {
        let path = NSTemporaryDirectory() + "deploys-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: path) }
        let folder = DeployFolder(path)
        try folder.make()
        for number in 1...3 { _ = try DeployJournal(new: DeployRecord(number: number), in: folder) }
        #expect(try folder.machines().map(\.record.number) == [1, 2, 3])
        try TextFile.write(Array("{\"number\": tw\n".utf8), to: folder.folder(2) + "/journal")
        #expect(try folder.machines().map(\.record.number) == [1, 3])
        try TextFile.write(Array("{}\n".utf8), to: folder.folder(3) + "/journal")
        #expect(throws: Failure.self) { try folder.machines() }
    }
}
