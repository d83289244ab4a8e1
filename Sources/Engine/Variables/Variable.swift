// What a `$name` of the configuration means to the engine, decided once when the configuration is read.
// Made by Control through `Variable.named`; evaluated by Evaluate.swift.

import Bytes

package enum VariableKind: UInt8, BitwiseCopyable {
    case none
    // The request
    case args, isArgs, contentLength, contentType, documentURI, uri, host, hostname, httpHost, httpUserAgent, httpReferer, httpVia
    case httpXForwardedFor, httpCookie
    case request, requestBody, requestBodyFile, requestFilename, requestID, requestLength, requestMethod, requestTime, requestURI
    case requestCompletion, requestPort, isRequestPort, http2
    case scheme, https, serverAddr, serverName, serverPort, serverProtocol, remoteUser, documentRoot, realpathRoot, limitRate
    case httpName, argument, cookie
    // The connection and the process
    case binaryRemoteAddr, remoteAddr, remotePort, connection, connectionRequests, connectionTime, pipe, pid, nginxVersion, msec
    case timeLocal, timeISO8601
    // TLS towards the client
    case sslProtocol, sslCipher, sslCiphers, sslCurve, sslCurves, sslServerName, sslSessionID, sslSessionReused, sslALPNProtocol
    case sslEarlyData, sslClientVerify, sslClientCert, sslClientRawCert, sslClientEscapedCert, sslClientSubject, sslClientIssuer, sslClientSubjectLegacy
    case sslClientIssuerLegacy, sslClientSerial, sslClientFingerprint, sslClientStart, sslClientEnd, sslClientRemain
    case realIPRemoteAddr, realIPRemotePort, proxyProtocolAddr, proxyProtocolPort, proxyProtocolServerAddr, proxyProtocolServerPort
    case proxyProtocolValue, limitReqStatus, limitConnStatus
    // The response
    case status, bodyBytesSent, bytesSent, gzipRatio, sentHTTPName, sentTrailerName
    case sentHTTPContentType, sentHTTPContentLength, sentHTTPConnection, sentHTTPLocation, sentHTTPTransferEncoding
    // The upstream
    case upstreamAddr, upstreamStatus, upstreamConnectTime, upstreamHeaderTime, upstreamResponseTime, upstreamResponseLength
    case upstreamBytesReceived, upstreamBytesSent, upstreamHTTPName, upstreamTrailerName, upstreamCookieName, upstreamCacheStatus
    case proxyHost, proxyPort, proxyAddXForwardedFor, proxyInternalBodyLength
    // What the configuration defines
    case capture, namedCapture, set, map, splitClients
    case dateLocal, dateGMT
    // Ours
    case upstreamName, split, variant, revision
}

extension VariableKind {
    /// Its values are ours, or have passed a parser of fields, hosts or addresses, none of which lets through what ends a line. Only
    /// what is asked for often is listed; of others each value is looked at.
    var keepsToLine: Bool {
        switch self {
        case .none, .host, .httpHost, .proxyAddXForwardedFor, .remoteAddr, .remotePort, .scheme, .serverPort, .serverProtocol, .requestID: true
        default: false
        }
    }
}

/// One variable: its kind, and for the kinds that need it a name or a place in the snapshot's tables.
package struct Variable: BitwiseCopyable {
    package var kind: VariableKind
    /// capture: its number; set, map: its place in `Snapshot.root`.
    package var index: Int32 = 0
    /// httpName, argument, cookie ...: the rest of the name, in lower case, `_` for `-`.
    package var name = ByteView.empty

    package init(_ kind: VariableKind, index: Int32 = 0, name: ByteView = .empty) {
        self.kind = kind
        self.index = index
        self.name = name
    }

    /// Names that end in a name: `http_x_real_ip` asks for a header.
    private static let prefixes: [(String, VariableKind)] = [
        ("http_", .httpName), ("sent_http_", .sentHTTPName), ("sent_trailer_", .sentTrailerName), ("upstream_http_", .upstreamHTTPName),
        ("upstream_trailer_", .upstreamTrailerName), ("upstream_cookie_", .upstreamCookieName), ("arg_", .argument), ("cookie_", .cookie),
        ("proxy_protocol_tlv_", .proxyProtocolValue),
    ]

    /// Every built-in name. The manual's table of variables is held against it by a test.
    package static let builtIn: [String: VariableKind] = [
        "args": .args, "query_string": .args, "is_args": .isArgs, "content_length": .contentLength, "content_type": .contentType,
        "document_uri": .documentURI, "uri": .uri, "host": .host, "hostname": .hostname, "http_host": .httpHost,
        "http_user_agent": .httpUserAgent, "http_referer": .httpReferer, "request": .request,
        "request_body": .requestBody, "request_body_file": .requestBodyFile, "request_filename": .requestFilename,
        "request_id": .requestID, "request_length": .requestLength, "request_method": .requestMethod, "request_time": .requestTime,
        "request_uri": .requestURI, "request_completion": .requestCompletion, "request_port": .requestPort,
        "is_request_port": .isRequestPort, "scheme": .scheme, "http2": .http2,
        "https": .https, "server_addr": .serverAddr, "server_name": .serverName, "server_port": .serverPort,
        "server_protocol": .serverProtocol, "remote_user": .remoteUser, "document_root": .documentRoot, "realpath_root": .realpathRoot,
        "limit_rate": .limitRate, "binary_remote_addr": .binaryRemoteAddr, "remote_addr": .remoteAddr, "remote_port": .remotePort,
        "connection": .connection, "connection_requests": .connectionRequests, "connection_time": .connectionTime, "pipe": .pipe,
        "pid": .pid, "nginx_version": .nginxVersion, "msec": .msec, "time_local": .timeLocal, "time_iso8601": .timeISO8601,
        "status": .status, "body_bytes_sent": .bodyBytesSent, "bytes_sent": .bytesSent, "gzip_ratio": .gzipRatio, "upstream_addr": .upstreamAddr,
        "upstream_status": .upstreamStatus, "upstream_connect_time": .upstreamConnectTime, "upstream_header_time": .upstreamHeaderTime,
        "upstream_response_time": .upstreamResponseTime, "upstream_response_length": .upstreamResponseLength,
        "upstream_bytes_received": .upstreamBytesReceived, "upstream_bytes_sent": .upstreamBytesSent,
        "upstream_cache_status": .upstreamCacheStatus, "proxy_host": .proxyHost, "proxy_port": .proxyPort,
        "proxy_add_x_forwarded_for": .proxyAddXForwardedFor, "proxy_internal_body_length": .proxyInternalBodyLength,
        "ssl_protocol": .sslProtocol, "ssl_cipher": .sslCipher, "ssl_ciphers": .sslCiphers, "ssl_curve": .sslCurve, "ssl_curves": .sslCurves,
        "ssl_server_name": .sslServerName, "ssl_session_id": .sslSessionID, "ssl_session_reused": .sslSessionReused,
        "ssl_alpn_protocol": .sslALPNProtocol, "ssl_early_data": .sslEarlyData, "ssl_client_verify": .sslClientVerify, "ssl_client_cert": .sslClientCert,
        "ssl_client_raw_cert": .sslClientRawCert, "ssl_client_escaped_cert": .sslClientEscapedCert, "ssl_client_s_dn": .sslClientSubject,
        "ssl_client_i_dn": .sslClientIssuer, "ssl_client_s_dn_legacy": .sslClientSubjectLegacy,
        "ssl_client_i_dn_legacy": .sslClientIssuerLegacy, "ssl_client_serial": .sslClientSerial,
        "ssl_client_fingerprint": .sslClientFingerprint, "ssl_client_v_start": .sslClientStart, "ssl_client_v_end": .sslClientEnd,
        "ssl_client_v_remain": .sslClientRemain,
        "realip_remote_addr": .realIPRemoteAddr, "realip_remote_port": .realIPRemotePort, "proxy_protocol_addr": .proxyProtocolAddr,
        "proxy_protocol_port": .proxyProtocolPort, "proxy_protocol_server_addr": .proxyProtocolServerAddr,
        "proxy_protocol_server_port": .proxyProtocolServerPort, "limit_req_status": .limitReqStatus, "limit_conn_status": .limitConnStatus,
        "date_local": .dateLocal, "date_gmt": .dateGMT,
        "upstream_name": .upstreamName, "split": .split, "variant": .variant, "revision": .revision,
    ]

    /// The same for a name that is not known before a request; the variable lasts as long as the name.
    static func named(_ name: ByteView) -> Variable? {
        if let kind = builtIn[name.string.lowercased()] { return Variable(kind) }
        for (prefix, kind) in prefixes where name.count > prefix.utf8.count && name.buffer.starts(with: prefix.utf8) {
            return Variable(kind, name: name.slice(prefix.utf8.count))
        }
        return nil
    }

    /// As a number, and of one.
    package var code: Int32 { index << 8 | Int32(kind.rawValue) }
    init?(code: Int32) {
        guard let kind = VariableKind(rawValue: UInt8(truncatingIfNeeded: code)) else { return nil }
        self.init(kind, index: code >> 8)
    }

    /// The built-in variable called `name` (without `$`), or nil when there is none. Names are frozen into `arena`.
    package static func named(_ name: String, arena: Arena) -> Variable? {
        let lower = name.lowercased()
        if let kind = builtIn[lower] { return Variable(kind) }
        for (prefix, kind) in prefixes where lower.hasPrefix(prefix) {
            // Cookie and argument names keep their letters: nginx compares cookies without case and arguments too.
            return Variable(kind, name: arena.freeze(String(lower.dropFirst(prefix.count))))
        }
        return nil
    }
}

/// Text with variables in it, such as the value of `proxy_set_header`.
package struct Template: BitwiseCopyable {
    package var parts: Frozen<TemplatePart>
    package init(parts: Frozen<TemplatePart>) { self.parts = parts }

    package static var empty: Template { Template(parts: .empty) }

    /// A template of one literal.
    package init(literal: ByteView, arena: Arena) {
        let part = TemplatePart(literal: arena.freezePadded(literal.buffer), variable: Variable(.none))
        parts = literal.isEmpty ? .empty : arena.freeze([part])
    }

    package var isEmpty: Bool { parts.isEmpty }
    package var isLiteral: Bool { parts.isEmpty || (parts.count == 1 && parts[0].variable.kind == .none) }
    /// The text of a template without variables.
    package var literal: ByteView { parts.isEmpty ? .empty : parts[0].literal.view }
}

/// A literal, possibly empty, and behind it a variable, when its kind is not `.none`.
package struct TemplatePart: BitwiseCopyable {
    package var literal: PaddedBytes
    package var variable: Variable
    package init(literal: PaddedBytes, variable: Variable) {
        self.literal = literal
        self.variable = variable
    }
}

/// How a log format escapes the values of variables.
package enum Escaping: UInt8, BitwiseCopyable { case none, log, json }
