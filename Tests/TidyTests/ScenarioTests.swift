// Owns the table of scenarios: each row has tests, and each test that it names is there.

import Foundation
import Testing

@Suite("scenarios")
struct ScenarioTests {
    static let rows = [
        "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "C1", "C2", "D1", "D2", "D3", "D4", "E checks", "E after", "E errors",
        "E latency", "E throughput", "E dependency", "F", "H1",
    ]

    @Test func eachHasTestsThatAreThere() throws {
        let tests = SourceFile.all(in: "Tests/EndToEndTests")
        let table = try #require(SourceFile.all(in: "Tests/EndToEndTests", endings: [".md"]).first { $0.path.hasSuffix("SCENARIOS.md") })
        var found: [String] = []
        for line in table.lines where line.hasPrefix("| ") && !line.hasPrefix("| row") && !line.hasPrefix("| ---") {
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            found.append(cells[0])
            let names = cells[2].split(separator: " ").map { $0.filter { $0 != "`" }.split(separator: ".") }
            #expect(!names.isEmpty, "\(cells[0])")
            for name in names {
                let file = tests.first { $0.path.hasSuffix("/\(name[0]).swift") }
                #expect(file?.lines.contains { $0.contains("func \(name.last ?? "")(") } == true, "\(cells[0]): \(name.joined(separator: "."))")
            }
        }
        #expect(found == Self.rows)
    }
}
