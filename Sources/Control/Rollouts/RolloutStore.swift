// What of rollouts and policies outlives the process: in `rollouts/` of the state folder, for each rollout the state of its machine and
// the lines of its record. Owned by Rollouts, used on the control thread. Without a folder nothing is kept.

import AdminAPI
import Rollout

package final class RolloutStore {
    static let folderName = "rollouts"
    private static let indexName = "index.json"
    private static let policiesName = "policies.json"
    /// Nil: nothing outlives the process.
    private let opening: (() throws(JournalFailure) -> any JournalDisk)?
    private var opened: KeptFiles?
    /// For the log: what could not be read, and where it is now.
    private var warnings: [String] = []

    /// In memory alone.
    package init() { opening = nil }

    /// - Parameter folder: of `state`. The folder for rollouts is made in it when the first is started.
    package init(folder: String) {
        opening = { () throws(JournalFailure) in try LinuxJournalDisk(folder: "\(folder)/\(Self.folderName)") }
    }

    init(opening: @escaping () throws(JournalFailure) -> any JournalDisk) { self.opening = opening }

    var keeps: Bool { opening != nil }

    private func files() throws(JournalFailure) -> KeptFiles? {
        guard let opening else { return nil }
        if opened == nil { opened = KeptFiles(try opening(), bytesMax: ControlLimits.rolloutFileBytesMax) }
        return opened
    }

    private static func stateName(_ number: UInt64) -> String { "\(number).state" }
    private static func recordName(_ number: UInt64) -> String { "\(number).record" }

    /// Nil: there is none, or it is damaged. Then it is set aside, and a warning is left.
    private func read(_ name: String) -> JSON? {
        let files: KeptFiles
        do throws(JournalFailure) {
            guard let opened = try self.files() else { return nil }
            files = opened
        } catch {
            if warnings.last != error.description { warnings.append(error.description) }
            return nil
        }
        let why: String
        switch files.find(name) {
        case .nothing: return nil
        case .bytes(let bytes): do throws(Problem) { return try JSON.parse(bytes, limits: Self.limits) } catch { why = error.detail }
        case .unreadable(let words): why = words
        }
        let place = files.setAside(name).map { "was set aside as \($0)" } ?? "could not be set aside"
        warnings.append("\"\(files.disk.folder)/\(name)\" cannot be read (\(why)) and \(place): what it had of rollouts and policies is lost")
        return nil
    }

    func takeWarnings() -> [String] {
        defer { warnings = [] }
        return warnings
    }

    private static let limits = JSONLimits(
        depthMax: 64, bytesMax: ControlLimits.rolloutFileBytesMax, valuesMax: ControlLimits.rolloutFileBytesMax)

    private func replace(_ name: String, _ json: JSON) throws(JournalFailure) {
        try files()?.replace(name, with: json.bytes(pretty: false))
    }

    // MARK: The numbers that are kept

    /// The first and the last; nil: there are none.
    func numbers() -> ClosedRange<UInt64>? {
        guard let json = read(Self.indexName), let first = json["first"]?.integer, let last = json["last"]?.integer,
            first > 0, last >= first, last - first < 100_000
        else { return nil }
        return UInt64(first)...UInt64(last)
    }

    func keep(numbers: ClosedRange<UInt64>) throws(JournalFailure) {
        try replace(
            Self.indexName,
            .members(["first": .integer(Int64(clamping: numbers.lowerBound)), "last": .integer(Int64(clamping: numbers.upperBound))]))
    }

    // MARK: Policies

    func policies() -> [String: RolloutPolicy] {
        var found: [String: RolloutPolicy] = [:]
        for member in read(Self.policiesName)?.object ?? [] {
            if let policy = try? RolloutPolicy(json: member.value), (try? policy.check()) != nil { found[member.name] = policy }
        }
        return found
    }

    func keep(policies: [String: RolloutPolicy]) throws(JournalFailure) {
        try replace(Self.policiesName, .object(policies.sorted { $0.key < $1.key }.map { .init($0.key, $0.value.json) }))
    }

    // MARK: Rollouts

    func state(_ number: UInt64) -> JSON? { read(Self.stateName(number)) }

    /// Returns when the state is durable.
    func keep(state: JSON, of number: UInt64) throws(JournalFailure) { try replace(Self.stateName(number), state) }

    /// A line that a crash cut is left out.
    func record(_ number: UInt64) -> RolloutRecord? {
        guard let files = try? files(), let bytes = files.read(Self.recordName(number)) else { return nil }
        var lines: [JSON] = []
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            guard let json = try? JSON.parse(Array(line), limits: Self.limits) else { break }
            lines.append(json)
        }
        guard let head = lines.first?["plan"] else { return nil }
        return try? RolloutRecord(json: .members(["lines": .array(Array(lines.dropFirst())), "plan": head]))
    }

    /// The whole record anew.
    func keep(record: RolloutRecord, lines: Int) throws(JournalFailure) {
        let head = JSON.members(["plan": record.plan.json])
        let bytes = ([head] + record.lines.prefix(lines).map(\.json)).flatMap { $0.bytes(pretty: false) + [UInt8(ascii: "\n")] }
        try files()?.replace(Self.recordName(record.plan.number), with: bytes)
    }

    func append(_ lines: some Sequence<RolloutRecord.Line>, to number: UInt64) throws(JournalFailure) {
        guard let files = try files() else { return }
        try files.append(Self.recordName(number), lines.flatMap { $0.json.bytes(pretty: false) + [UInt8(ascii: "\n")] })
    }

    func remove(_ number: UInt64) {
        guard let files = try? files() else { return }
        files.remove(Self.stateName(number))
        files.remove(Self.recordName(number))
    }
}
