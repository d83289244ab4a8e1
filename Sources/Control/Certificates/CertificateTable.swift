// The certificates that the configuration names: what each is called, what stands in it, which servers show it, and how a server's
// context is made anew with another pair. Made by SnapshotBuilder, part of `Routes`: it lasts until the next reload.

import AdminAPI
import ConfigurationFile
import Engine

final class CertificateTable: @unchecked Sendable {
    /// A file of `ssl_certificate`, however many servers show it.
    struct Entry {
        var name: String
        /// As it is opened; `data:` for one whose text stands in the configuration.
        let path: String
        /// As it was read with the configuration.
        let chain: TLSCertificateChain
        /// Servers, and the place among their certificates.
        var uses: [(server: Int, place: Int)] = []
        var servers: [CertificateInfo.Server] = []
        /// Host names that clients are to find it good for.
        var hosts: [String] = []
    }
    /// Sorted by name.
    let entries: [Entry]
    private let drafts: [Int: TLSDraft]
    private let files: RememberedFiles
    private let logs: LogFiles
    private let tls: TLSRegistry

    /// For a configuration that has been read to its end.
    init(_ builder: SnapshotBuilder) {
        var entries: [String: Entry] = [:]
        var drafts: [Int: TLSDraft] = [:]
        let spoken = Set(builder.servers.flatMap(\.listens).filter(\.flags.isTLS).map(\.address))
        for (i, server) in builder.servers.enumerated() where server.settings.tls.context != nil {
            for (place, word) in server.tls.certificates.enumerated() {
                let isText = word.text.hasPrefix("data:")
                let path = isText ? word.text : builder.logs.besideConfiguration(word.text)
                if entries[path] == nil {
                    let pem = isText ? Array(word.bytes.dropFirst(5)) : builder.tlsFiles[path] ?? []
                    guard let chain = try? TLSCertificateChain(pem) else { continue }
                    let shown = isText ? "data:" : path
                    let name = isText ? "data-" + chain.digest.prefix(12) : Self.shortName(path)
                    entries[path] = Entry(name: name, path: shown, chain: chain)
                }
                entries[path]?.add(server, at: (i, place), spoken)
                drafts[i] = server.tls
            }
        }
        self.drafts = drafts
        let byName = Dictionary(grouping: entries.values, by: \.name)
        self.entries = entries.values.map { entry in
            var entry = entry
            // Two of one name cannot be told apart by it.
            if byName[entry.name, default: []].count > 1, entry.path != "data:" { entry.name = entry.path }
            return entry
        }.sorted { $0.name < $1.name }
        files = RememberedFiles(builder.tlsFiles, builder.system)
        logs = builder.logs
        tls = builder.tls
    }

    /// The file's name without its ending; the folder's where the file's says nothing, as `live/example.com/fullchain.pem`.
    static func shortName(_ path: String) -> String {
        let parts = path.split(separator: "/").map(String.init)
        guard var base = parts.last else { return path }
        for ending in [".pem", ".crt", ".cer", ".cert"] where base.lowercased().hasSuffix(ending) && base.count > ending.count {
            base = String(base.dropLast(ending.count))
            break
        }
        let isCommon = ["fullchain", "chain", "cert", "certificate", "tls", "ssl", "server", "bundle", "public"].contains(base.lowercased())
        return isCommon && parts.count > 1 ? parts[parts.count - 2] : base
    }

    /// By its name, or by its path.
    func entry(named name: String) -> Entry? { entries.first { $0.name == name } ?? entries.first { $0.path == name && $0.path.hasPrefix("/") } }

    /// - Throws: `not-found`, and what there is.
    func expect(_ name: String) throws(Problem) -> Entry {
        if let entry = entry(named: name) { return entry }
        let names = entries.prefix(20).map { "\"\($0.name)\"" }.joined(separator: ", ")
        throw Problem(
            .notFound, "no server shows a certificate named \(AdminText.shown(name))",
            hint: names.isEmpty ? "the configuration has no ssl_certificate" : "there is " + names + (entries.count > 20 ? " ..." : ""))
    }

    /// The context of a server with pairs in the place of some of its own. Files are not read again: they are as the last reload found them.
    func context(of server: Int, replacing pairs: [Int: CertificatePair]) throws(Problem) -> ServerContext {
        guard var draft = drafts[server] else { return ServerContext() }
        for (place, pair) in pairs where draft.certificates.indices.contains(place) && draft.keys.indices.contains(place) {
            draft.certificates[place] = Word(Self.text(pair.chain.pem), position: draft.certificates[place].position)
            draft.keys[place] = Word(Self.text(pair.key), position: draft.keys[place].position)
        }
        let builder = SnapshotBuilder(system: files, logs: logs, counters: PeerCounterRegistry(), tls: tls)
        do throws(Diagnostic) {
            let settings = try builder.buildTLS(draft)
            return ServerContext(pointer: settings.context, owner: builder)
        } catch {
            throw Problem(.badCertificate, error.message, pointer: "/certificate")
        }
    }

    private static func text(_ pem: [UInt8]) -> String { "data:" + String(decoding: pem, as: UTF8.self) }
}

/// An SSL_CTX, and what it lives by.
struct ServerContext {
    var pointer: OpaquePointer?
    var owner: AnyObject?
}

extension CertificateTable.Entry {
    fileprivate mutating func add(_ server: ServerDraft, at use: (server: Int, place: Int), _ spoken: Set<ListenAddress>) {
        uses.append(use)
        let listens = server.listens.filter { spoken.contains($0.address) }
        // One that inherits the certificate and speaks no TLS shows it to nobody.
        if listens.isEmpty { return }
        let names = server.names.map(\.text)
        servers.append(CertificateInfo.Server(names: names.filter { !$0.isEmpty }, listen: listens.map(\.address.text)))
        for name in names where !name.isEmpty && name != "_" && !name.hasPrefix("~") && !name.hasSuffix(".*") {
            for host in name.hasPrefix(".") ? [String(name.dropFirst()), "*" + name] : [name] where !hosts.contains(host) { hosts.append(host) }
        }
    }

    /// What is odd about a chain that is shown for this one. What clients refuse for certain is refused before.
    func remarks(on chain: TLSCertificateChain, nowMs: Int64) -> [String] {
        var remarks: [String] = []
        let uncovered = hosts.filter { !chain.first.covers($0) }
        if !uncovered.isEmpty {
            let shown = uncovered.prefix(5).joined(separator: ", ") + (uncovered.count > 5 ? " and \(uncovered.count - 5) more" : "")
            remarks.append("it does not name \(shown), which servers that show it are called")
        }
        if chain.first.notAfterMs <= nowMs { remarks.append("it has expired") } else if chain.first.notBeforeMs > nowMs { remarks.append("it is not valid yet") }
        for (i, one) in chain.certificates.enumerated().dropFirst() where one.notAfterMs <= nowMs {
            remarks.append("certificate \(i + 1) of its chain (\(one.subject)) has expired")
        }
        if let place = chain.breakAt { remarks.append("certificate \(place + 1) of its chain is not signed by the one behind it") }
        return remarks
    }
}

/// Files as they were read, and the rest of the machine.
private final class RememberedFiles: SystemFiles {
    private let remembered: [String: [UInt8]]
    private let system: any SystemFiles

    init(_ remembered: [String: [UInt8]], _ system: any SystemFiles) {
        self.remembered = remembered
        self.system = system
    }

    var isRoot: Bool { system.isRoot }
    var hostname: String { system.hostname }
    func makeFolder(_ path: String) { system.makeFolder(path) }
    func read(_ path: String) throws(ReadFailure) -> [UInt8] {
        if let bytes = remembered[path] { return bytes }
        return try system.read(path)
    }
    func glob(_ pattern: String) -> [String] { system.glob(pattern) }
    func resolve(_ host: String, port: UInt16) -> [(bytes: [UInt8], text: String)] { system.resolve(host, port: port) }
    func openLog(_ path: String) -> Int32 { system.openLog(path) }
}
