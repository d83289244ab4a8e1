// What one location is set to: plain values without references, inherited by copying, read on the hot path through a `Ref`.
// Filled by the directives of Control; frozen in a snapshot's arena; never changed afterwards.

import Balancing
import Bytes
import HTTPMessage

/// A `name: value` line to add to a request or response.
package struct HeaderTemplate: BitwiseCopyable {
    package var name: ByteView
    /// The name, a colon and a blank.
    package var beginning: PaddedBytes
    package var value: Template
    /// `add_header ... always`: for every status, not only for the successful ones.
    package var always = false
    /// The name is "Connection".
    package var isConnection: Bool
    /// The name is "Host".
    package var isHost: Bool
    /// The name is "Content-Length" or "Transfer-Encoding".
    package var framesBody: Bool
    /// No value of its variables can hold what ends a line.
    let keepsToLine: Bool
    package init(name: ByteView, value: Template, always: Bool = false, arena: Arena) {
        self.name = name
        beginning = arena.freezePadded(Array(name.buffer) + [0x3A, 0x20])
        isConnection = name.equalsIgnoringCase(ByteView("Connection"))
        isHost = name.equalsIgnoringCase(ByteView("Host"))
        framesBody = name.equalsIgnoringCase(ByteView("Content-Length")) || name.equalsIgnoringCase(ByteView("Transfer-Encoding"))
        self.value = value
        self.always = always
        keepsToLine = (0..<value.parts.count).allSatisfy { value.parts[$0].variable.kind.keepsToLine }
    }
}

extension HeaderTemplate {
    /// The bit of a name that an answer has once at most: `add_header` takes the place of what was there.
    package var validator: UInt64 {
        if name.equalsIgnoringCase(ByteView("ETag")) { return HeaderName.etag.bit }
        return name.equalsIgnoringCase(ByteView("Last-Modified")) ? HeaderName.lastModified.bit : 0
    }
}

/// `error_page CODE... [=[RESPONSE]] URI`.
package struct ErrorPage: BitwiseCopyable {
    package var status: UInt16
    /// The status to answer with; 0: that of the answer to `uri`; -1: unchanged.
    package var answerStatus: Int32
    package var uri: Template
    package init(status: UInt16, answerStatus: Int32, uri: Template) {
        self.status = status
        self.answerStatus = answerStatus
        self.uri = uri
    }
}

/// What answers a request that reached the end of the rewrite phase.
package enum ContentHandler: UInt8, BitwiseCopyable { case files, proxy, admin, upstreamHealth }

package enum ServerTokens: UInt8, BitwiseCopyable { case on, off, build }
package enum LingeringClose: UInt8, BitwiseCopyable { case off, on, always }

/// The directives of a location (and, while they are inherited, of its server and of `http`).
package struct LocationSettings: BitwiseCopyable {
    /// The text after `location`, for logs; empty for the server itself.
    package var name = ByteView.empty
    /// Its place among the snapshot's locations: what idle connections of an implicit pool are kept apart by.
    package var tag: Int32 = 0
    /// Length of a prefix location's name: what `proxy_pass` with a URI and `alias` replace.
    package var prefixCount = 0
    package var isExact = false
    package var isRegex = false
    package var isNamed = false
    package var isInternal = false
    /// A prefix location `/x/` with a proxying handler answers `/x` with a redirect to `/x/`.
    package var redirectsToSlash = false
    package var handler = ContentHandler.files
    /// Something is to be asked or done before the content: see Routing/Gates.swift.
    package var isGated = false
    package var ssi = SSISettings()
    /// Of an answer that is kept for the request around it.
    package var innerBodyBytes = 4096
    /// `try_files` or mirrors.
    package var hasPrecontent = false
    /// Paths to which a copy of each request goes, with its body if that is to be read for it.
    package var mirrors = Frozen<ByteView>.empty
    package var mirrorsBody = true
    package var rewrite = Frozen<RewriteStep>.empty

    // MARK: The client's side
    package var clientMaxBodyBytes: Int64 = 1 << 20
    package var clientBodyBufferBytes = 16 << 10
    package var bodyInFile = BodyInFile.off
    package var clientBodyTimeoutMs: Int64 = 60_000
    package var sendTimeoutMs: Int64 = 60_000
    package var keepaliveTimeoutMs: Int64 = 75_000
    package var keepaliveHeaderSeconds: Int64 = 0
    package var keepaliveRequests: UInt32 = 1000
    package var keepaliveTimeMs: Int64 = 3_600_000
    package var keepaliveDisabledForMSIE6 = true
    package var keepaliveDisabledForSafari = false
    package var lingeringClose = LingeringClose.on
    package var lingeringTimeMs: Int64 = 30_000
    package var lingeringTimeoutMs: Int64 = 5_000
    package var resetTimedOut = false
    package var serverTokens = ServerTokens.on
    package var absoluteRedirect = true
    package var portInRedirect = true
    package var serverNameInRedirect = false
    package var logNotFound = true
    package var clientBodyTempPath = ByteView.empty
    /// Bytes a second to the client; 0: no limit. The first `limitRateAfter` bytes go free.
    package var limitRate = ByteCount.fixed(0)
    package var limitRateAfter = ByteCount.fixed(0)

    // MARK: Answers
    package var root = Template.empty
    package var isAlias = false
    package var index = Frozen<Template>.empty
    package var tryFiles = Frozen<Template>.empty
    package var mediaTypes = MediaTypes.empty
    package var defaultType = ByteView("text/plain")
    package var chunksAnswers = true
    /// The largest frame of a body (HTTP/2).
    package var http2ChunkBytes = 8192
    package var sendsETag = true
    /// Parts of a file in one answer; 0: none.
    package var maxRanges = Limits.rangesMax
    package var ifModifiedSince = IfModifiedSince.exact
    package var addHeaders = Frozen<HeaderTemplate>.empty
    /// Some of them are ETag or Last-Modified.
    package var addsValidators = false
    package var addTrailers = Frozen<HeaderTemplate>.empty
    package var expires = Expires.off
    package var errorPages = Frozen<ErrorPage>.empty
    package var recursiveErrorPages = false
    /// 103 goes on when any of these is neither empty nor "0".
    package var earlyHints = Frozen<Template>.empty
    package var accessLogs = Frozen<AccessLogSpec>.empty
    package var logSubrequest = false
    /// What bodies of answers pass; nil: nothing.
    package var filters: Ref<FilterSettings>?
    package var errorLog = ErrorLogTarget()

    // MARK: Before the content
    package var realIP = RealIPSettings()
    package var accessRules = Frozen<AccessRule>.empty
    package var limits = LimitSettings()
    /// The path of the request that decides whether another one may go on; empty: none does.
    package var authRequest = ByteView.empty
    package var authValues = Frozen<AuthValue>.empty

    package var proxy = ProxySettings()
    package var admin = AdminSettings()
    package var upstreamHealth = UpstreamHealthSettings()

    package init() {}
}

/// Where the client's address is said by the proxies in front, and which of them are believed.
package struct RealIPSettings: BitwiseCopyable {
    /// `proxy_protocol`, or a field; `forwardedFor` reads all the fields of the name, any other the first one.
    package enum Source: UInt8, BitwiseCopyable { case proxyProtocol, forwardedFor, field }
    package var trusted = Frozen<AddressRange>.empty
    package var source = Source.field
    package var fieldName = ByteView("X-Real-IP")
    package var isRecursive = false
    package init() {}
}

package enum IfModifiedSince: UInt8, BitwiseCopyable { case off, exact, before }

/// The `expires` directive.
package enum Expires: BitwiseCopyable {
    case off, epoch, max
    /// Seconds from now; negative: `no-cache`.
    case after(Int64)
    /// A variable that holds one of the above.
    case template(Template)

    var isOff: Bool { if case .off = self { true } else { false } }
}

/// Conditions of `proxy_next_upstream`, as bits.
package struct NextUpstream: OptionSet, BitwiseCopyable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    package static let error = NextUpstream(rawValue: 1)
    package static let timeout = NextUpstream(rawValue: 2)
    package static let invalidHeader = NextUpstream(rawValue: 4)
    package static let http500 = NextUpstream(rawValue: 8)
    package static let http502 = NextUpstream(rawValue: 16)
    package static let http503 = NextUpstream(rawValue: 32)
    package static let http504 = NextUpstream(rawValue: 64)
    package static let http403 = NextUpstream(rawValue: 128)
    package static let http404 = NextUpstream(rawValue: 256)
    package static let http429 = NextUpstream(rawValue: 512)
    package static let nonIdempotent = NextUpstream(rawValue: 1024)
    package static let off = NextUpstream(rawValue: 2048)
}

/// Where `proxy_pass` goes.
package enum ProxyTarget: BitwiseCopyable {
    case none
    /// A name: what it leads to is in `SnapshotRoot.targets`, which a change of upstreams or splits makes anew.
    case named(Int32)
    /// The whole address is computed for each request: `proxy_pass http://$name`.
    case computed(Template)
}

package struct ProxySettings: BitwiseCopyable {
    package var target = ProxyTarget.none
    /// The URI part of `proxy_pass`, which replaces the location's prefix; empty: the request's own URI goes on.
    package var uri = ByteView.empty
    package var hasURI = false
    /// `$proxy_host` and `$proxy_port`.
    package var hostText = ByteView.empty
    package var portText = ByteView.empty
    /// Host and port as `proxy_pass` says them: what `proxy_redirect default` looks for.
    package var authorityText = ByteView.empty
    /// `proxy_pass https://...`; a computed one says it for each request.
    package var usesTLS = false
    /// How TLS is spoken, where it may be.
    package var tls: Ref<UpstreamTLSSettings>?

    package var connectTimeoutMs: Int64 = 60_000
    package var sendTimeoutMs: Int64 = 60_000
    package var readTimeoutMs: Int64 = 60_000
    package var nextUpstream: NextUpstream = [.error, .timeout]
    package var nextUpstreamTries = 0
    package var nextUpstreamTimeoutMs: Int64 = 0
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    package var httpMinor: UInt8 = 1
    package var speaksHTTP2 = false
    /// `grpc_pass`: the fields and the addresses are gRPC's.
    package var isGRPC = false
    /// Over HTTP/2, Host is sent as a field instead of `:authority`.
    package var keepsHostField = false
    package var method = Template.empty
    /// What `proxy_set_header` says, then the defaults it did not replace.
    package var requestHeaders = Frozen<HeaderTemplate>.empty
    /// Names the client's own fields of which are replaced: a bit for each `HeaderName`, and the other names.
    package var replacedKnown: UInt64 = 0
    package var replacedOther = NameSet.empty
    package var setsHost = false
    package var passRequestHeaders = true
    package var passRequestBody = true
    package var setBody = Template.empty
    package var hasSetBody = false

    /// Response fields that stop here: a bit for each `HeaderName`, and the other names.
    package var hiddenKnown: UInt64 = 0
    package var hiddenOther = NameSet.empty
    package var passTrailers = false
    package var ignoreAccelRedirect = false
    package var ignoreAccelBuffering = false
    package var ignoreAccelLimitRate = false
    package var ignoreAccelCharset = false
    package var interceptErrors = false
    package var redirects = Frozen<RedirectRule>.empty
    /// How many of them stand before the `default` one; -1: there is none.
    package var redirectsBeforeDefault: Int32 = -1
    package var cookieDomains = Frozen<CookieRule>.empty
    package var cookiePaths = Frozen<CookieRule>.empty
    package var cookieFlags = Frozen<CookieFlagsRule>.empty

    package var buffering = true
    package var requestBuffering = true
    package var ignoreClientAbort: ClientAbort = .whenReset
    package var bufferBytes = 4 << 10
    package var buffersBytes = 32 << 10
    package var maxTempFileBytes: Int64 = 1 << 30
    package var tempPath = ByteView.empty
    /// Bytes a second taken from the upstream; 0: no limit.
    package var limitRate = ByteCount.fixed(0)
    /// The local address to connect from.
    package var bind = Template.empty
    package var socketKeepalive = false
    /// The kernel's buffers of connections to peers; 0: what it thinks best.
    package var receiveBufferBytes = 0
    package var sendBufferBytes = 0
    /// The header of the PROXY protocol goes before the first request; such a connection is the client's alone.
    package var sendsProxyHeader = ProxyHeaderVersion.none

    package init() {}
}

/// `proxy_send_proxy_protocol`.
package enum ProxyHeaderVersion: UInt8, BitwiseCopyable { case none, one, two }

/// What ends an exchange when the client goes away before its answer.
package enum ClientAbort: UInt8, BitwiseCopyable {
    /// The default: a reset, or a failed write. A client that only shut down its sending side still gets its answer.
    case whenReset
    /// `proxy_ignore_client_abort off`, said outright: nginx's behaviour, in which a half-closed client has gone too.
    case whenClosed
    /// `proxy_ignore_client_abort on`.
    case never
}

/// `proxy_redirect FROM TO`.
package struct RedirectRule: BitwiseCopyable {
    package var from: Template
    package var regex: Int32
    package var to: Template
    package init(from: Template, regex: Int32, to: Template) {
        self.from = from
        self.regex = regex
        self.to = to
    }
}

/// `proxy_cookie_domain` and `proxy_cookie_path`.
package struct CookieRule: BitwiseCopyable {
    package var from: Template
    package var regex: Int32
    package var to: Template
    package init(from: Template, regex: Int32, to: Template) {
        self.from = from
        self.regex = regex
        self.to = to
    }
}

/// `proxy_cookie_flags COOKIE FLAG...`.
package struct CookieFlagsRule: BitwiseCopyable {
    package var cookie: Template
    package var regex: Int32
    package var flags: Frozen<Template>
    package init(cookie: Template, regex: Int32, flags: Frozen<Template>) {
        self.cookie = cookie
        self.regex = regex
        self.flags = flags
    }
}
