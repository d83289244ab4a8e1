// Owns what the tables of this target ask of a configuration: its snapshot in words, or the one line that refuses it.
// Texts are what stands inside `http { }` unless said otherwise; line 1 is the line of the text's beginning.

import AdminAPI
import Bytes
import ConfigurationFile
import Engine
import Synchronization

@testable import Control

/// A configuration that was accepted, and the questions tests ask of it.
struct Built {
    let result: BuiltConfiguration
    let snapshot: Snapshot
    let system: PlayedSystem

    var root: Ref<SnapshotRoot> { snapshot.root }
    var warnings: [String] { result.warnings.map(\.description) }

    /// The settings of the location with this name; of the first server itself when it is empty.
    func location(_ name: String) -> LocationSettings {
        if name.isEmpty { return root.servers[0].settings.value }
        // An `if` bears the name of its location and stands before it.
        for i in (0..<root.locations.count).reversed() where root.locations[i].name.string == name {
            return root.locations[i].value
        }
        preconditionFailure("the configuration has no location \(name)")
    }

    /// The settings an `if` of the location or server makes: those its condition enters.
    func inside(_ location: LocationSettings, _ n: Int = 0) -> LocationSettings {
        var left = n
        for i in 0..<location.rewrite.count {
            guard case .enter(let index) = location.rewrite[i].value else { continue }
            if left == 0 { return root.locations[Int(index)].value }
            left -= 1
        }
        preconditionFailure("the location has no such if")
    }

    func upstream(_ name: String) -> (settings: UpstreamSettings, peers: UpstreamDefinition) {
        for definition in snapshot.upstreams where definition.settings.name.string == name { return (definition.settings.value, definition) }
        preconditionFailure("the configuration has no upstream \(name)")
    }

    var listens: [String] { (0..<root.listens.count).map { root.listens[$0].address.text.string } }
}

/// Builds `text` as a whole configuration.
func build(whole text: String, on system: PlayedSystem = PlayedSystem()) throws(Diagnostic) -> Built {
    let options = ServerOptions(source: .text(text), prefix: "/prefix/")
    let logs = LogFiles(system: system, prefix: options.prefix, defaultErrorLog: options.errorLog)
    let parsed = try options.parse(with: system)
    let counters = PeerCounterRegistry()
    let builder = SnapshotBuilder(system: system, logs: logs, counters: counters)
    let result = try builder.build(parsed.directives)
    do throws(Problem) {
        let snapshot = try PoolBuilder(system: system, counters: counters).build(
            result.state, over: result.routes, PoolBuilder.Publication(revision: 1, serial: 1))
        kept.withLock { $0.append(snapshot) }
        return Built(result: result, snapshot: snapshot, system: system)
    } catch {
        throw Diagnostic(at: Position(file: "configuration"), error.detail, found: "", expected: "")
    }
}

/// A test reads through references into a snapshot's arena, often after its last use of the snapshot itself: all live to the end.
private let kept = Mutex<[Snapshot]>([])

/// Builds what stands inside `http { }`.
func build(_ http: String, on system: PlayedSystem = PlayedSystem()) throws(Diagnostic) -> Built {
    try build(whole: "events { } http { " + http + "\n}", on: system)
}

/// Builds what stands inside one `server { }`.
func build(server: String, http: String = "") throws(Diagnostic) -> Built { try build("\(http) server { \(server)\n} ") }

/// The line that refuses a whole configuration, without the name of its file; "accepted" when nothing does.
func refusal(whole text: String, on system: PlayedSystem = PlayedSystem()) -> String {
    do throws(Diagnostic) {
        _ = try build(whole: text, on: system)
        return "accepted"
    } catch {
        return error.description.replacing("configuration:", with: "")
    }
}

/// The refusal of what stands inside `http {` from the second line on.
func refusal(_ http: String, on system: PlayedSystem = PlayedSystem()) -> String {
    refusal(whole: "events { } http {\n" + http + "\n}", on: system)
}

/// The refusal of what stands inside `server {` from the second line on.
func refusal(server: String) -> String { refusal(whole: "events { } http { server {\n" + server + "\n} }") }

// MARK: Words

/// A template as text: literals, and `$` with the kind of each variable.
func text(_ template: Template) -> String {
    (0..<template.parts.count).map { i in
        let part = template.parts[i].value
        let literal = part.literal.view.string
        switch part.variable.kind {
        case .none: return literal
        case .capture: return literal + "$\(part.variable.index)"
        default: return literal + "$\(part.variable.kind)" + (part.variable.name.isEmpty ? "" : ":" + part.variable.name.string)
        }
    }.joined()
}

/// `Name: value` of each line; `!` behind those that are sent always.
func lines(_ list: Frozen<HeaderTemplate>) -> [String] {
    (0..<list.count).map { "\(list[$0].name.string): \(text(list[$0].value.value))" + (list[$0].always ? "!" : "") }
}

/// `status answer uri` of each page.
func pages(_ list: Frozen<ErrorPage>) -> [String] {
    (0..<list.count).map { "\(list[$0].status) \(list[$0].answerStatus) \(text(list[$0].uri))" }
}

/// The rewrite steps, one word each, with what matters to order.
func steps(_ list: Frozen<RewriteStep>) -> [String] {
    (0..<list.count).map { i in
        switch list[i].value {
        case .set(_, let value): "set \(text(value))"
        case .setArguments(let value): "set $args \(text(value))"
        case .setRate(let value): "set $limit_rate \(text(value))"
        case .unless(_, let target): "unless>\(target)"
        case .enter: "enter"
        case .rewrite(_, let replacement, let flags): "rewrite \(text(replacement)) \(flags.after)"
        case .stop: "break"
        case .answer(let status, let body): "return \(status) \(text(body))"
        }
    }
}
