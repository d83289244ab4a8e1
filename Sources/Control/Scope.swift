// What the directives of a block set, while the configuration is read: a draft that children inherit by copying.
// Made and walked by `SnapshotBuilder`; filled by the setters in Directives/.

import AdminAPI
import Bytes
import ConfigurationFile
import Engine

/// A location's settings with the lists that are frozen when the block ends.
struct LocationDraft {
    var settings = LocationSettings()
    var addHeaders: [HeaderTemplate] = []
    var addTrailers: [HeaderTemplate] = []
    var errorPages: [ErrorPage] = []
    var accessLogs: [AccessLogSpec]?
    var index: [Template]?
    var requestHeaders: [HeaderTemplate] = []
    var hideHeaders: [String] = []
    var passHeaders: [String] = []
    var redirects: [RedirectRule] = []
    var redirectsSaid = false
    var cookieDomains: [CookieRule] = []
    var cookiePaths: [CookieRule] = []
    var cookieFlags: [CookieFlagsRule] = []
    var mediaTypes: [(fileExtension: String, type: String)]?
    var trustedProxies: [AddressRange] = []
    var accessRules: [AccessRule] = []
    var requestLimits: [RequestLimit] = []
    var connectionLimits: [ConnectionLimit] = []
    var mirrors: [ByteView] = []
    var authValues: [AuthValue] = []
    var ssiTypes = ["text/html"]
    var errorLogs: [(file: LogFile, level: LogLevel)] = []
    var proxyTLS = UpstreamTLSDraft()
    var grpc = GRPCDraft()
    var filters = FilterDraft()
    /// `grpc_pass` handles the requests, not `proxy_pass`.
    var passesGRPC = false
    /// `proxy_pass` says https, or may come to it.
    var mayUseTLS = false
    /// Lists that a directive of this very block has begun: the first one replaces what was inherited.
    var begun: Set<String> = []
    var steps: [RewriteStep] = []
    var healthChecks: [(check: HealthCheck, position: Position)] = []

    /// Empties an inherited list at the first directive of this block that adds to it.
    mutating func begin(_ name: String, _ list: WritableKeyPath<LocationDraft, [some Any]>) {
        if begun.insert(name).inserted { self[keyPath: list].removeAll() }
    }
}

/// What `server {}` says beyond its location part, while it is read.
struct ServerDraft {
    var settings: ServerSettings
    var names: [(word: Word, text: String)] = []
    var listens: [ListenDraft] = []
    var locations: [LocationEntryDraft] = []
    /// One of them, or one within, serves the admin API.
    var hasAdmin = false
    /// Where its own settings are among the snapshot's locations.
    var settingsIndex: Int32 = 0
    var tls = TLSDraft()
}

/// One location with what is nested in it.
struct LocationEntryDraft {
    enum Kind { case exact, prefix, prefixBeforeRegexes, regex(Int32), named }
    var kind: Kind
    var name: [UInt8]
    var index: Int32
    var nested: [LocationEntryDraft]
    var position: Position
}

struct ListenDraft {
    var address: ListenAddress
    var isDefault = false
    var options = ListenOptions()
    var flags = ListenFlags()
    var position: Position
}

/// What is spoken on an address: said by one server, it holds for all servers of the address.
struct ListenFlags {
    var isTLS = false
    var speaksHTTP2 = false
    var acceptsProxyProtocol = false

    mutating func formUnion(_ other: ListenFlags) {
        isTLS = isTLS || other.isTLS
        speaksHTTP2 = speaksHTTP2 || other.speaksHTTP2
        acceptsProxyProtocol = acceptsProxyProtocol || other.acceptsProxyProtocol
    }
}

/// The socket options of `listen`.
package struct ListenOptions: Hashable, Sendable {
    package var backlog: Int32 = 511
    package var receiveBufferBytes: Int32?
    package var sendBufferBytes: Int32?
    package var ipv6Only = true
    package var isReusePort = false
    package var deferSeconds: Int32?
    package var fastOpen: Int32?
    package var keepalive: Bool?
    /// Permissions of a unix socket; nil: 0666, and 0600 where the admin API is served.
    package var unixMode: UInt32?
}

/// Where a block is, and what it may set.
package final class Scope {
    let builder: SnapshotBuilder
    let context: Context
    var location: LocationDraft
    var server: ServerDraft
    var upstream: UpstreamDraft?
    /// Names of directives this block has, for those that may stand once.
    var seen: [String: Position] = [:]
    /// Locations of this block.
    var children: [LocationEntryDraft] = []

    init(_ builder: SnapshotBuilder, _ context: Context, location: LocationDraft, server: ServerDraft) {
        self.builder = builder
        self.context = context
        self.location = location
        self.server = server
    }

    /// A block inside this one: it inherits everything but what belongs to one block alone.
    func child(_ context: Context) -> Scope {
        var draft = location
        draft.begun = []
        draft.steps = []
        return Scope(builder, context, location: draft, server: server)
    }
}
