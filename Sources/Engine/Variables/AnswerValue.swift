// Variables about the answer and the upstream: status, bytes, sent and received fields, the `$upstream_*` lists.
// Asked by Evaluate.swift. Lists have an element for each try, "," between peers and ":" between groups, as nginx's.

import Bytes
import HTTPMessage

extension Worker {
    func answerValue(_ v: Variable, _ x: Ref<Exchange>) -> ByteView? {
        let w = valueText
        switch v.kind {
        case .sentHTTPName: return sentField(v.name, x)
        case .sentTrailerName: return sentTrailer(v.name, x)
        case .upstreamHTTPName: return upstreamField(v.name, x)
        case .upstreamTrailerName: return x.keptTrailers.isEmpty ? nil : joinedLines(x.keptTrailers, from: 0, v.name)
        case .upstreamCookieName: return upstreamCookie(v.name, x)
        case .upstreamAddr, .upstreamStatus, .upstreamConnectTime, .upstreamHeaderTime, .upstreamResponseTime, .upstreamResponseLength,
            .upstreamBytesReceived, .upstreamBytesSent:
            return triesList(v.kind, x)
        case .proxyHost: return x.location.handler == .proxy ? proxyHost(x) : nil
        case .proxyPort: return x.location.handler == .proxy ? proxyPort(x) : nil
        default: break
        }
        w.value.reset()
        switch v.kind {
        case .status:
            // On the way to an error page, what that is for.
            w.value.append(decimal: UInt64(x.errorStatus != 0 ? x.errorStatus : x.status), minimumDigits: 3)
        case .bodyBytesSent: w.value.append(decimal: x.bodySentToClient)
        case .bytesSent: w.value.append(decimal: x.bytesSentToClient)
        case .gzipRatio:
            guard let f = x.filter, f.bytesOut > 0, f.bytesIn > 0 else { return nil }
            // Hundredths, rounded to the nearest.
            let ratio = (f.bytesIn * 1000 / f.bytesOut + 5) / 10
            w.value.append(decimal: ratio / 100)
            w.value.append(0x2E)
            w.value.append(decimal: UInt64(ratio % 100), minimumDigits: 2)
        case .proxyInternalBodyLength: w.value.append(decimal: x.body.received)
        default: return nil
        }
        return w.view
    }

    private func proxyHost(_ x: Ref<Exchange>) -> ByteView {
        x.proxyTarget.hostText.isEmpty ? x.location.proxy.hostText : x.proxyTarget.hostText
    }

    private func proxyPort(_ x: Ref<Exchange>) -> ByteView {
        x.proxyTarget.portText.isEmpty ? x.location.proxy.portText : x.proxyTarget.portText
    }

    // MARK: Fields

    private func sentField(_ name: ByteView, _ x: Ref<Exchange>) -> ByteView? {
        let head = x.isComposing ? out.view : x.keptSentHead
        return joinedLines(head, from: (head.firstIndex(of: 0x0A) ?? head.count) + 1, name)
    }

    private func sentTrailer(_ name: ByteView, _ x: Ref<Exchange>) -> ByteView? {
        if x.trailerMark < 0 { return nil }
        return joinedLines(trailerText.view, from: x.trailerMark, name)
    }

    /// The values of the lines called `name`, joined by ", ". Looks at whole lines only: one may be half written.
    private func joinedLines(_ text: ByteView, from: Int, _ name: ByteView) -> ByteView? {
        var first: ByteView?
        var isJoined = false
        var from = from
        while from < text.count, let end = text.firstIndex(of: 0x0A, from: from) {
            let line = text.slice(from, end - from)
            from = end + 1
            guard line.count > name.count, line[name.count] == 0x3A, fieldName(line.slice(0, name.count), is: name) else { continue }
            let end = line[line.count - 1] == 0x0D ? line.count - 1 : line.count
            let value = line.slice(name.count + 1, end - name.count - 1).trimmed
            guard let only = first else {
                first = value
                continue
            }
            if !isJoined {
                valueText.value.reset()
                valueText.value.append(only)
                isJoined = true
            }
            valueText.value.append(", ")
            valueText.value.append(value)
        }
        return isJoined ? valueText.view : first
    }

    private func upstreamField(_ name: ByteView, _ x: Ref<Exchange>) -> ByteView? {
        let head = x.keptUpstreamHead
        if head.isEmpty { return nil }
        return joinedLines(head, from: (head.firstIndex(of: 0x0A) ?? head.count) + 1, name)
    }

    private func upstreamCookie(_ name: ByteView, _ x: Ref<Exchange>) -> ByteView? {
        for i in 0..<x.keptUpstreamFields.count where x.keptUpstreamFields[i].known == .setCookie {
            let text = x.keptUpstreamHead.slice(x.keptUpstreamFields[i].value.value)
            let pair = text.slice(0, text.firstIndex(of: 0x3B) ?? text.count)
            if let equals = pair.firstIndex(of: 0x3D), pair.slice(0, equals).trimmed.equalsIgnoringCase(name) {
                return pair.slice(equals + 1).trimmed
            }
        }
        return nil
    }

    // MARK: Tries

    private func triesList(_ kind: VariableKind, _ x: Ref<Exchange>) -> ByteView? {
        guard var record = x.tries else { return nil }
        let w = valueText
        w.value.reset()
        while true {
            append(kind, of: record, to: w)
            guard let next = record.next else { break }
            w.value.append(next.startsGroup ? " : " : ", ")
            record = next
        }
        return w.view
    }

    private func append(_ kind: VariableKind, of record: Ref<UpstreamTry>, to w: Ref<ByteWriter>) {
        func time(_ ms: Int64) { if ms < 0 { w.value.append("-") } else { w.value.append(milliseconds: ms) } }
        switch kind {
        case .upstreamAddr: w.value.append(record.address)
        case .upstreamStatus: if record.status == 0 { w.value.append("-") } else { w.value.append(decimal: UInt64(record.status)) }
        case .upstreamConnectTime: time(record.connectMs)
        case .upstreamHeaderTime: time(record.headerMs)
        case .upstreamResponseTime: time(record.responseMs)
        case .upstreamResponseLength: w.value.append(decimal: record.responseBytes)
        case .upstreamBytesReceived: w.value.append(decimal: record.bytesReceived)
        default: w.value.append(decimal: record.bytesSent)
        }
    }
}
