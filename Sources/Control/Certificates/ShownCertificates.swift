// The servers of a snapshot in which certificates were replaced at run time: those of the routes, with contexts of their own where needed.
// Made by PoolBuilder, shared by snapshots in which nothing of it differs. Connections keep the context they began with.

import AdminAPI
import Bytes
import Engine

final class ShownCertificates: @unchecked Sendable {
    let servers: Frozen<ServerSettings>
    private let routes: Routes
    private let replaced: [String: CertificateState]
    /// By server: what its context was made of, and the context.
    private let contexts: [Int: (pairs: [Int: String], context: ServerContext)]
    private let arena: Arena

    /// - Parameter before: whose contexts are taken over where they are the same.
    init(_ replaced: [String: CertificateState], _ routes: Routes, _ store: CertificateStore, after before: ShownCertificates?) throws(Problem) {
        var wanted: [Int: [Int: String]] = [:]
        for entry in routes.certificates.entries {
            guard let one = replaced[entry.name] else { continue }
            for use in entry.uses { wanted[use.server, default: [:]][use.place] = one.chain }
        }
        var contexts: [Int: (pairs: [Int: String], context: ServerContext)] = [:]
        var settings = (0..<routes.root.servers.count).map { routes.root.servers[$0].value }
        for (server, digests) in wanted {
            if let known = before?.contexts[server], known.pairs == digests, before?.routes === routes {
                contexts[server] = known
            } else {
                var pairs: [Int: CertificatePair] = [:]
                for (place, digest) in digests {
                    guard let pair = store.pair(digest) else {
                        throw Problem(.badCertificate, "the pair of a certificate that was put at run time cannot be read", pointer: "/certificate")
                    }
                    pairs[place] = pair
                }
                contexts[server] = (digests, try routes.certificates.context(of: server, replacing: pairs))
            }
            settings[server].tls.context = contexts[server]?.context.pointer ?? settings[server].tls.context
        }
        let arena = Arena(blockBytes: 1024)
        self.arena = arena
        self.contexts = contexts
        self.routes = routes
        self.replaced = replaced
        servers = arena.freeze(settings)
    }

    func fits(_ replaced: [String: CertificateState], _ routes: Routes) -> Bool { self.routes === routes && self.replaced == replaced }
}
