// The value of a variable for an exchange, and the text of templates.
// Asked everywhere a directive takes variables. It reads the exchange, its connections and the clock; it changes nothing but slots.

import Bytes
import CLinux
import HTTPMessage

extension Worker {
    /// The text of a template.
    ///
    /// keep: the result lasts as long as the exchange; else until the next evaluation. Not called while a value is being made.
    func expand(_ template: Template, for x: Ref<Exchange>, keep: Bool) -> ByteView {
        if template.isLiteral { return template.literal }
        scratchText.value.reset()
        append(template, for: x, to: scratchText)
        let text = scratchText.view
        return keep ? x.value.region.copy(text, from: &buffers, limit: Limits.regionBytesMax) ?? .empty : text
    }

    /// Appends the text of a template. `w` is not the writer that values are made in.
    func append(_ template: Template, for x: Ref<Exchange>, to w: Ref<ByteWriter>) {
        for i in 0..<template.parts.count {
            let part = template.parts[i]
            w.value.append(part.literal)
            switch part.variable.kind {
            case .none: continue
            // What most requests to upstreams carry is written in place.
            case .host: w.value.append(x.host)
            case .remoteAddr: x.client.address.append(to: w)
            case .proxyAddXForwardedFor where x.head.fields.presentNames & HeaderName.xForwardedFor.bit == 0:
                x.client.address.append(to: w)
            default: if let value = value(of: part.variable, for: x) { w.value.append(value) }
            }
        }
    }

    /// Nil: the variable has no value ("-" in logs, "" elsewhere). The view lasts until the next evaluation unless it lies in the
    /// exchange's own memory.
    func value(of v: Variable, for x: Ref<Exchange>) -> ByteView? {
        switch v.kind {
        case .none: return v.name
        case .args: return x.arguments.isEmpty ? nil : x.arguments
        case .isArgs: return x.arguments.isEmpty ? ByteView.empty : ByteView("?")
        case .isRequestPort: return x.hostPort == 0 ? ByteView.empty : ByteView(":")
        case .uri, .documentURI: return x.path
        case .host: return x.host
        case .requestURI: return originTarget(x)
        case .request: return x.requestLine
        case .requestMethod:
            if x.methodReplaced, x.inner == nil { return x.method == .head ? ByteView("HEAD") : ByteView("GET") }
            return x.headBytes.isEmpty ? nil : x.bytes(x.head.methodRange)
        case .scheme: return scheme(x)
        case .https: return isSecure(x) ? ByteView("on") : ByteView.empty
        case .serverName: return x.server.name
        case .serverProtocol: return isOverHTTP2(x.client) ? ByteView("HTTP/2.0") : x.head.versionMinor == 0 ? ByteView("HTTP/1.0") : ByteView("HTTP/1.1")
        case .http2: return http2Name(x)
        case .contentLength: return requestField(.contentLength, x) ?? readLength(x)
        case .contentType: return joinedRequestFields(.contentType, x, ", ")
        case .httpHost: return requestField(.host, x)
        case .httpUserAgent: return joinedRequestFields(.userAgent, x, ", ")
        case .httpReferer: return joinedRequestFields(.referer, x, ", ")
        case .httpVia: return joinedRequestFields(.via, x, ", ")
        case .httpXForwardedFor: return joinedRequestFields(.xForwardedFor, x, ", ")
        case .httpCookie: return joinedRequestFields(.cookie, x, "; ")
        case .httpName: return namedRequestField(v.name, x)
        case .argument: return argument(v.name, x)
        case .cookie: return cookie(v.name, x)
        case .capture: return Int(v.index) < x.captures.count ? x.captures[Int(v.index)].value : nil
        case .set, .namedCapture: return slotValue(x, v.index)
        case .map: return mapValue(x, Int(v.index))
        case .splitClients: return splitValue(x, Int(v.index))
        case .dateLocal, .dateGMT: return dateValue(v, x)
        case .upstreamName: return x.proxyTarget.pool?.settings.name
        case .split: return x.proxyTarget.split < 0 ? nil : x.root.splits[Int(x.proxyTarget.split)].settings.name
        case .variant: return x.proxyTarget.variant < 0 ? nil : x.proxyTarget.pool?.settings.name
        case .revision:
            valueText.value.reset()
            valueText.value.append(decimal: x.pinned.revision)
            return valueText.view
        case .remoteAddr, .remotePort, .binaryRemoteAddr, .connection, .connectionRequests, .connectionTime, .serverAddr,
            .serverPort, .requestPort, .pipe, .pid, .nginxVersion, .hostname, .msec, .timeLocal, .timeISO8601, .proxyAddXForwardedFor:
            return connectionValue(v, x)
        case .realIPRemoteAddr, .realIPRemotePort, .proxyProtocolAddr, .proxyProtocolPort, .proxyProtocolServerAddr,
            .proxyProtocolServerPort, .proxyProtocolValue:
            return addressValue(v, x)
        case .limitReqStatus: return limitStatusValue(x.requestLimitStatus)
        case .limitConnStatus: return limitStatusValue(x.connectionLimitStatus)
        case .requestBody, .requestBodyFile, .requestFilename, .documentRoot, .realpathRoot, .requestID, .requestLength, .requestTime,
            .requestCompletion, .remoteUser, .limitRate:
            return requestValue(v, x)
        case .sslProtocol, .sslCipher, .sslCiphers, .sslCurve, .sslCurves, .sslServerName, .sslSessionID, .sslSessionReused, .sslALPNProtocol,
            .sslEarlyData, .sslClientVerify, .sslClientCert, .sslClientRawCert, .sslClientEscapedCert, .sslClientSubject, .sslClientIssuer,
            .sslClientSubjectLegacy, .sslClientIssuerLegacy, .sslClientSerial, .sslClientFingerprint, .sslClientStart, .sslClientEnd,
            .sslClientRemain:
            return tlsValue(v, x)
        default: return answerValue(v, x)
        }
    }

    /// How long a body was that came in chunks and has been read.
    private func readLength(_ x: Ref<Exchange>) -> ByteView? {
        guard x.body.isUnsized, x.body.isComplete else { return nil }
        valueText.value.reset()
        valueText.value.append(decimal: x.body.received)
        return valueText.view
    }

    /// The target as received, but for the scheme and the authority of its absolute form.
    func originTarget(_ x: Ref<Exchange>) -> ByteView {
        if x.head.authority.isEmpty { return x.target }
        if !x.head.path.isEmpty { return x.target.slice(min(x.head.path.first - x.head.target.first, x.target.count)) }
        let w = valueText
        w.value.reset()
        w.value.append("/")
        if let query = x.head.query {
            w.value.append("?")
            w.value.append(x.bytes(query))
        }
        return w.view
    }

    // MARK: The connection and the process

    private func connectionValue(_ v: Variable, _ x: Ref<Exchange>) -> ByteView? {
        let w = valueText
        w.value.reset()
        let c = x.client
        switch v.kind {
        case .remoteAddr: c.address.append(to: w)
        case .remotePort: if c.address.port > 0 { w.value.append(decimal: Int(c.address.port)) }
        case .binaryRemoteAddr:
            if c.address.family == .unix { w.value.append("unix:") }
            for i in 0..<c.address.byteCount { w.value.append(c.address.byte(i)) }
        case .connection: w.value.append(decimal: c.number)
        case .connectionRequests: w.value.append(decimal: UInt64(c.requests))
        case .connectionTime: w.value.append(milliseconds: nowMs - c.acceptedMs)
        case .serverAddr: return localAddress(x, port: false)
        case .serverPort: return localAddress(x, port: true)
        case .requestPort:
            if x.hostPort == 0 { return nil }
            w.value.append(decimal: Int(x.hostPort))
        case .pipe: w.value.append(x.isPipelined ? "p" : ".")
        case .pid: w.value.append(decimal: Int(parameters.processID))
        case .nginxVersion: w.value.append(Product.version)
        case .hostname: for byte in parameters.hostname.utf8 { w.value.append(byte) }
        case .msec:
            w.value.append(decimal: realtimeNs / 1_000_000_000)
            w.value.append(0x2E)
            w.value.append(decimal: UInt64(realtimeNs / 1_000_000 % 1000), minimumDigits: 3)
        case .timeLocal: return dates.local(realtimeNs, parameters.utcOffsetMinutes)
        case .timeISO8601: return dates.iso8601(realtimeNs, parameters.utcOffsetMinutes)
        case .proxyAddXForwardedFor:
            if let given = joinedRequestFields(.xForwardedFor, x, ", ") {
                // The joined text may lie in this writer already.
                if given.start != UnsafePointer(w.start) { w.value.append(given) }
                w.value.append(", ")
            }
            c.address.append(to: w)
        default: return nil
        }
        return w.view
    }

    /// The address the client connected to: asked of the kernel, since a listener may be a wildcard.
    func ownAddress(_ c: Ref<ClientConnection>) -> ClientAddress {
        var storage = sockaddr_storage()
        var length = UInt32(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutableBytes(of: &storage) { raw -> ClientAddress in
            guard let base = raw.baseAddress, kernel.socketName(socket(of: c), base, &length) >= 0 else { return ClientAddress() }
            return ClientAddress(sockaddr: base, length: length)
        }
    }

    private func localAddress(_ x: Ref<Exchange>, port: Bool) -> ByteView? {
        let w = valueText
        let address = ownAddress(x.client)
        w.value.reset()
        if address.family == .unix {
            if port { return ByteView.empty }
            return listeners[Int(x.client.listener)].settings?.address.text
        }
        if port { w.value.append(decimal: Int(address.port)) } else { address.append(to: w) }
        return w.view
    }

    // MARK: The request

    private func requestValue(_ v: Variable, _ x: Ref<Exchange>) -> ByteView? {
        let w = valueText
        w.value.reset()
        switch v.kind {
        case .requestBody: return x.bodySpool.isOpen || x.bodyBuffered == 0 ? nil : ByteView(x.bodyBuffer.start, x.bodyBuffered)
        case .requestBodyFile: return x.bodyFileName.isEmpty ? nil : x.bodyFileName
        case .requestFilename: return fileName(x)
        case .documentRoot, .realpathRoot:
            return copiedExpansion(x.location.root, x)
        case .requestID:
            if x.requestID == (0, 0) { x.requestID = (kernel.random(), kernel.random()) }
            w.value.append(hex: x.requestID.0, minimumDigits: 16)
            w.value.append(hex: x.requestID.1, minimumDigits: 16)
        case .requestLength: w.value.append(decimal: requestHeadBytes(x) + x.body.received)
        case .requestTime: w.value.append(milliseconds: nowMs - x.startedMs)
        case .requestCompletion: return x.answerQueued ? ByteView("OK") : ByteView.empty
        case .limitRate: w.value.append(decimal: x.paceRate)
        case .remoteUser: return remoteUser(x)
        default: return nil
        }
        return w.view
    }

    /// The user of `Authorization: Basic`.
    private func remoteUser(_ x: Ref<Exchange>) -> ByteView? {
        guard let value = requestField(.authorization, x), value.count > 6,
            value.slice(0, 6).equalsIgnoringCase(ByteView("basic "))
        else { return nil }
        let w = valueText
        w.value.reset()
        var bits: UInt32 = 0
        var count = 0
        let text = value.slice(6).trimmed
        for i in 0..<text.count {
            guard let digit = base64Digit(text[i]) else { break }
            bits = bits << 6 | UInt32(digit)
            count += 6
            if count >= 8 {
                count -= 8
                let byte = UInt8(truncatingIfNeeded: bits >> UInt32(count))
                if byte == 0x3A { return w.view }
                w.value.append(byte)
            }
        }
        return nil
    }

    // MARK: Slots

    func slotValue(_ x: Ref<Exchange>, _ index: Int32) -> ByteView? {
        guard let slot = slot(x, index), slot.isKnown, slot.isFound else { return nil }
        return slot.value.value
    }

    func setValue(_ x: Ref<Exchange>, _ index: Int32, _ value: ByteView) {
        guard let slot = slot(x, index) else { return }
        slot.value = VariableSlot(value: value, isKnown: true, isFound: true)
    }

    /// The slots are made when the first is asked for.
    func slot(_ x: Ref<Exchange>, _ index: Int32) -> Ref<VariableSlot>? {
        let count = x.root.valueSlots
        if index < 0 || Int(index) >= count { return nil }
        if x.values.isEmpty {
            let size = count * MemoryLayout<VariableSlot>.stride
            guard let memory = x.value.region.allocate(size, from: &buffers, limit: Limits.regionBytesMax) else { return nil }
            x.values = Frozen(repeating: VariableSlot(), count: count, into: memory)
        }
        return x.values[Int(index)]
    }

    func setNamedCapture(_ x: Ref<Exchange>, _ name: ByteView, _ value: ByteView) {
        if let index = x.root.captureSlots.find(name) { setValue(x, index, value) }
    }
}

private func base64Digit(_ c: UInt8) -> UInt8? {
    switch c {
    case 0x41...0x5A: c - 0x41
    case 0x61...0x7A: c - 0x61 + 26
    case 0x30...0x39: c - 0x30 + 52
    case 0x2B: 62
    case 0x2F: 63
    default: nil
    }
}

/// The proxy's own name and version.
package enum Product {
    package static let name: StaticString = "switchback"
    package static let version: StaticString = "0.1.0"
    static let serverLine: StaticString = "Server: switchback/0.1.0\r\n"
    static let serverLineWithoutVersion: StaticString = "Server: switchback\r\n"
}
