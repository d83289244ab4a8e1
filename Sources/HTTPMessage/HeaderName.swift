// The header names this proxy treats specially, and how a name in a head is recognised as one of them.
// Asked by the field parser once a field; read by the engine instead of comparing texts. It must not know values.

public enum HeaderName: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    case other = 0
    // Those the field parser looks into, up to authorization: their order and place matter to it.
    case host, connection, contentLength, transferEncoding, expect, upgrade
    case ifModifiedSince, ifUnmodifiedSince, ifMatch, ifNoneMatch, ifRange, contentRange, authorization
    case keepAlive, proxyConnection, te, trailer
    case server, date, contentType, contentDisposition, location, refresh, setCookie, lastModified, etag, cacheControl
    case expires, vary, link, acceptRanges, contentEncoding
    case userAgent, referer, origin, xForwardedFor, xForwardedProto, xForwardedHost, xRealIP, xRequestId, forwarded, cookie
    case range, accept, acceptEncoding, acceptLanguage, via
    case xAccelRedirect, xAccelBuffering, xAccelExpires, xAccelCharset, xAccelLimitRate, wwwAuthenticate, proxyAuthenticate
    case proxyAuthorization
    case age, pragma, status, retryAfter, secWebsocketKey, secWebsocketVersion, http2Settings, earlyData

    /// Its number. The raw values are those of the cases' order; `rawValue` itself is a call.
    @inlinable @inline(__always)
    var place: UInt8 { unsafe withUnsafeBytes(of: self) { unsafe $0[0] } }

    /// Its place in a mask of known names. `other` and a name beyond the 64th have none: nothing is asked of them.
    @inlinable @inline(__always)
    public var bit: UInt64 {
        let place = place
        return place &- 1 < 63 ? 1 &<< UInt64(place) : 0
    }

    /// The fields a request must not repeat, besides those that frame it or name its host.
    @inlinable
    static var singleBits: UInt64 {
        HeaderName.expect.bit | HeaderName.ifModifiedSince.bit | HeaderName.ifUnmodifiedSince.bit | HeaderName.ifMatch.bit
            | HeaderName.ifNoneMatch.bit | HeaderName.ifRange.bit | HeaderName.contentRange.bit | HeaderName.authorization.bit
    }

    /// Those of `isHopByHop`.
    @inlinable @inline(__always)
    public static var hopByHopBits: UInt64 {
        HeaderName.connection.bit | HeaderName.keepAlive.bit | HeaderName.proxyConnection.bit | HeaderName.te.bit
            | HeaderName.trailer.bit | HeaderName.transferEncoding.bit | HeaderName.upgrade.bit | HeaderName.http2Settings.bit
    }

    /// The name in lower case; empty for `.other`.
    public var lowercased: StaticString {
        switch self {
        case .other: ""
        case .host: "host"
        case .connection: "connection"
        case .contentLength: "content-length"
        case .transferEncoding: "transfer-encoding"
        case .expect: "expect"
        case .upgrade: "upgrade"
        case .keepAlive: "keep-alive"
        case .proxyConnection: "proxy-connection"
        case .te: "te"
        case .trailer: "trailer"
        case .server: "server"
        case .date: "date"
        case .contentType: "content-type"
        case .contentDisposition: "content-disposition"
        case .location: "location"
        case .refresh: "refresh"
        case .setCookie: "set-cookie"
        case .lastModified: "last-modified"
        case .etag: "etag"
        case .cacheControl: "cache-control"
        case .expires: "expires"
        case .vary: "vary"
        case .link: "link"
        case .acceptRanges: "accept-ranges"
        case .contentEncoding: "content-encoding"
        case .contentRange: "content-range"
        case .userAgent: "user-agent"
        case .referer: "referer"
        case .origin: "origin"
        case .xForwardedFor: "x-forwarded-for"
        case .xForwardedProto: "x-forwarded-proto"
        case .xForwardedHost: "x-forwarded-host"
        case .xRealIP: "x-real-ip"
        case .xRequestId: "x-request-id"
        case .forwarded: "forwarded"
        case .cookie: "cookie"
        case .authorization: "authorization"
        case .range: "range"
        case .ifModifiedSince: "if-modified-since"
        case .ifUnmodifiedSince: "if-unmodified-since"
        case .ifMatch: "if-match"
        case .ifNoneMatch: "if-none-match"
        case .ifRange: "if-range"
        case .accept: "accept"
        case .acceptEncoding: "accept-encoding"
        case .acceptLanguage: "accept-language"
        case .via: "via"
        case .xAccelRedirect: "x-accel-redirect"
        case .xAccelBuffering: "x-accel-buffering"
        case .xAccelExpires: "x-accel-expires"
        case .xAccelCharset: "x-accel-charset"
        case .xAccelLimitRate: "x-accel-limit-rate"
        case .wwwAuthenticate: "www-authenticate"
        case .proxyAuthenticate: "proxy-authenticate"
        case .proxyAuthorization: "proxy-authorization"
        case .age: "age"
        case .pragma: "pragma"
        case .status: "status"
        case .retryAfter: "retry-after"
        case .secWebsocketKey: "sec-websocket-key"
        case .secWebsocketVersion: "sec-websocket-version"
        case .http2Settings: "http2-settings"
        case .earlyData: "early-data"
        }
    }

    /// Fields that concern one connection alone and are not forwarded (RFC 9110 section 7.6.1). The names that a `Connection`
    /// field lists are hop-by-hop too: those the engine reads itself.
    @inlinable @inline(__always)
    public var isHopByHop: Bool { Self.hopByHopBits & bit != 0 }
}

/// The known name that `name` is: at most seven bytes as `word` loads them, the case bit set in each, zeros behind them.
///
/// Names are token characters (`isToken`), and setting the case bit of a token character makes no character of a known name out
/// of one that is not; so comparing words is enough, here and in the functions below.
@inline(__always)
func shortName(_ name: UInt64, _ count: Int) -> HeaderName {
    switch count {
    case 4:
        if name == packed("host") { return .host }
        if name == packed("date") { return .date }
        if name == packed("etag") { return .etag }
        if name == packed("vary") { return .vary }
        if name == packed("link") { return .link }
    case 6:
        if name == packed("accept") { return .accept }
        if name == packed("server") { return .server }
        if name == packed("cookie") { return .cookie }
        if name == packed("origin") { return .origin }
        if name == packed("pragma") { return .pragma }
        if name == packed("expect") { return .expect }
        if name == packed("status") { return .status }
    case 7:
        if name == packed("referer") { return .referer }
        if name == packed("upgrade") { return .upgrade }
        if name == packed("expires") { return .expires }
        if name == packed("trailer") { return .trailer }
        if name == packed("refresh") { return .refresh }
    case 5: if name == packed("range") { return .range }
    case 3:
        if name == packed("via") { return .via }
        if name == packed("age") { return .age }
    case 2: if name == packed("te") { return .te }
    default: break
    }
    return .other
}

/// The known name of `count` bytes, 8 to 16: `a` is the word it begins with, `z` the one it ends with, case bits set.
@inline(never)
func mediumName(_ a: UInt64, _ z: UInt64, _ count: Int) -> HeaderName {
    switch count {
    case 8:
        if a == packed("location") && z == packed("location") { return .location }
        if a == packed("if-match") && z == packed("if-match") { return .ifMatch }
        if a == packed("if-range") && z == packed("if-range") { return .ifRange }
    case 9:
        if a == packed("x-real-i") && z == packed("-real-ip") { return .xRealIP }
        if a == packed("forwarde") && z == packed("orwarded") { return .forwarded }
    case 10:
        if a == packed("connecti") && z == packed("nnection") { return .connection }
        if a == packed("keep-ali") && z == packed("ep-alive") { return .keepAlive }
        if a == packed("set-cook") && z == packed("t-cookie") { return .setCookie }
        if a == packed("user-age") && z == packed("er-agent") { return .userAgent }
        if a == packed("early-da") && z == packed("rly-data") { return .earlyData }
    case 11:
        if a == packed("retry-af") && z == packed("ry-after") { return .retryAfter }
    case 12:
        if a == packed("content-") && z == packed("ent-type") { return .contentType }
        if a == packed("x-reques") && z == packed("quest-id") { return .xRequestId }
    case 13:
        if a == packed("last-mod") && z == packed("modified") { return .lastModified }
        if a == packed("cache-co") && z == packed("-control") { return .cacheControl }
        if a == packed("accept-r") && z == packed("t-ranges") { return .acceptRanges }
        if a == packed("content-") && z == packed("nt-range") { return .contentRange }
        if a == packed("authoriz") && z == packed("rization") { return .authorization }
        if a == packed("if-none-") && z == packed("ne-match") { return .ifNoneMatch }
    case 14:
        if a == packed("content-") && z == packed("t-length") { return .contentLength }
        if a == packed("http2-se") && z == packed("settings") { return .http2Settings }
    case 15:
        if a == packed("x-forwar") && z == packed("rded-for") { return .xForwardedFor }
        if a == packed("accept-e") && z == packed("encoding") { return .acceptEncoding }
        if a == packed("accept-l") && z == packed("language") { return .acceptLanguage }
        if a == packed("x-accel-") && z == packed("-expires") { return .xAccelExpires }
        if a == packed("x-accel-") && z == packed("-charset") { return .xAccelCharset }
    case 16:
        if a == packed("proxy-co") && z == packed("nnection") { return .proxyConnection }
        if a == packed("content-") && z == packed("encoding") { return .contentEncoding }
        if a == packed("x-forwar") && z == packed("ded-host") { return .xForwardedHost }
        if a == packed("x-accel-") && z == packed("redirect") { return .xAccelRedirect }
        if a == packed("www-auth") && z == packed("enticate") { return .wwwAuthenticate }
    default: break
    }
    return .other
}

/// The known name of `count` bytes, above 16. `middle` is the word behind `a`; the words cover names up to 24 bytes.
func longName(_ a: UInt64, _ middle: UInt64, _ z: UInt64, _ count: Int) -> HeaderName {
    switch count {
    case 17:
        if a == packed("transfer") && z == packed("encoding")
            && middle == packed("-encodin")
        {
            return .transferEncoding
        }
        if a == packed("x-forwar") && z == packed("ed-proto")
            && middle == packed("ded-prot")
        {
            return .xForwardedProto
        }
        if a == packed("if-modif") && z == packed("ed-since")
            && middle == packed("ied-sinc")
        {
            return .ifModifiedSince
        }
        if a == packed("x-accel-") && z == packed("uffering")
            && middle == packed("bufferin")
        {
            return .xAccelBuffering
        }
        if a == packed("sec-webs") && z == packed("cket-key")
            && middle == packed("ocket-ke")
        {
            return .secWebsocketKey
        }
    case 18:
        if a == packed("x-accel-") && z == packed("mit-rate")
            && middle == packed("limit-ra")
        {
            return .xAccelLimitRate
        }
        if a == packed("proxy-au") && z == packed("enticate")
            && middle == packed("thentica")
        {
            return .proxyAuthenticate
        }
    case 19:
        if a == packed("content-") && z == packed("position")
            && middle == packed("disposit")
        {
            return .contentDisposition
        }
        if a == packed("if-unmod") && z == packed("ed-since")
            && middle == packed("ified-si")
        {
            return .ifUnmodifiedSince
        }
        if a == packed("proxy-au") && z == packed("rization")
            && middle == packed("thorizat")
        {
            return .proxyAuthorization
        }
    case 21:
        if a == packed("sec-webs") && z == packed("-version")
            && middle == packed("ocket-ve")
        {
            return .secWebsocketVersion
        }
    default: break
    }
    return .other
}
