// Owns the promise that the manual is whole: every directive with the blocks it may stand in and every variable is in its tables,
// and nothing else is.

import AdminAPI
import Engine
import Foundation
import Testing

@testable import Control

@Suite("the manual")
struct ManualTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Sources/Switchback/Switchback.docc")

    /// The cells of each row of a page's tables whose first header is `header`.
    private static func rows(_ page: String, header: String) throws -> [[String]] {
        let text = try String(contentsOf: folder.appending(path: page), encoding: .utf8)
        var rows: [[String]] = []
        var isInside = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            guard line.hasPrefix("|") else {
                isInside = false
                continue
            }
            let cells = line.dropFirst().dropLast().split(separator: "|", omittingEmptySubsequences: false)
                .map { $0.trimmingCharacters(in: .whitespaces) }
            if cells.first == header {
                isInside = true
            } else if isInside, cells.first != "---" {
                rows.append(cells)
            }
        }
        return rows
    }

    /// `name: where`, a line for each rule.
    private static var rules: Set<String> {
        Set(
            DirectiveTable.rules.flatMap { name, rules in
                rules.map { rule in
                    let places = rule.contexts.map(\.description).sorted().joined(separator: ", ")
                    return "\(name): \(places)"
                }
            })
    }

    @Test func everyDirectiveIsInTheManualWithItsBlocks() throws {
        let rows = try Self.rows("Configuration.md", header: "directive")
        let told = rows.map { cells in
            let places = cells[1].split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.sorted().joined(
                separator: ", ")
            return cells[0].trimmingCharacters(in: ["`"]) + ": " + places
        }
        #expect(Self.rules.subtracting(told).sorted() == [])
        #expect(Set(told).subtracting(Self.rules).sorted() == [])
        #expect(told.count == Set(told).count, "a directive is told twice")
        for cells in rows { #expect(cells.count == 5, "\(cells)") }
    }

    @Test func everyVariableIsInTheManual() throws {
        let told = try Self.rows("Variables.md", header: "variable").map { $0[0].trimmingCharacters(in: ["`", "$"]) }
        let families = told.filter { $0.hasSuffix("_NAME") }
        let names = Set(told).subtracting(families)
        #expect(Set(Variable.builtIn.keys).subtracting(names).sorted() == [])
        #expect(names.subtracting(Variable.builtIn.keys).sorted() == [])
        #expect(told.count == Set(told).count, "a variable is told twice")
        let known = [
            "http", "sent_http", "sent_trailer", "upstream_http", "upstream_trailer", "upstream_cookie", "arg", "cookie",
            "proxy_protocol_tlv",
        ]
        #expect(Set(families) == Set(known.map { $0 + "_NAME" }))
    }

    /// The numbers a reader relies on, against those the code uses.
    @Test func theFixedLimitsAreThoseOfTheCode() throws {
        let told = Dictionary(
            uniqueKeysWithValues: try Self.rows("Limits.md", header: "what").filter { $0.count == 3 }.map { ($0[0], $0[1]) })
        #expect(told["workers"] == "\(Limits.workersMax)")
        #expect(told["fields of any head"] == "\(Limits.headerFieldsMax)")
        #expect(told["request head, whatever the directives say"] == "\(Limits.headBytesMax >> 20) MiB")
        #expect(told["connections accepted from an address in one turn"] == "\(Limits.acceptsPerTurn)")
        #expect(told["groups of an expression"] == "\(Limits.capturesMax)")
        #expect(told["bytes that wait for one slow reader in memory"] == "\(Limits.pendingBytesMax >> 20) MiB")
    }

    @Test func everyMetricIsInTheManual() throws {
        let rows = try Self.rows("Metrics.md", header: "metric")
        let told = rows.map { $0[0].filter { $0 != "`" } + " " + $0[1] }
        let families = Metrics.all.map { $0.name + ($0.labels.isEmpty ? "" : "{\($0.labels.joined(separator: ", "))}") + " " + $0.kind.rawValue }
        #expect(Set(families).subtracting(told).sorted() == [])
        #expect(Set(told).subtracting(families).sorted() == [])
        #expect(told.count == Set(told).count, "a metric is told twice")
        let text = try String(contentsOf: Self.folder.appending(path: "Metrics.md"), encoding: .utf8)
        #expect(text.contains("at most \(Metrics.serversMax) servers"))
    }

    @Test func everyPageIsInTheTableOfContents() throws {
        let pages = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path).filter { $0.hasSuffix(".md") }
        let contents = try String(contentsOf: Self.folder.appending(path: "Switchback.md"), encoding: .utf8)
        for page in pages where page != "Switchback.md" { #expect(contents.contains("<doc:\(page.dropLast(3))>"), "\(page)") }
    }
}
