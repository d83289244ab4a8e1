// Parts of files: `Range`, `If-Range`, one part or several in a multipart answer (RFC 9110 section 14).
// Called by StaticFile.swift for files that leave as they are.

import Bytes
import HTTPMessage

/// A part of a file in an answer of several.
struct FilePart: BitwiseCopyable {
    var span: ByteSpan
    /// Its delimiter and fields.
    var head: ByteView
}

extension Worker {
    /// Makes the answer one of the parts that were asked for, if any were. False: there is nothing at that place of the file.
    @inline(never)
    func chooseParts(_ x: Ref<Exchange>, _ answer: inout AnswerHead) -> Bool {
        guard let value = requestField(.range, x), isRangeCurrent(x, answer) else { return true }
        let length = answer.contentLength
        var spans: [ByteSpan] = []
        let isBounded = x.location.maxRanges < Limits.rangesMax
        let verdict = parseRanges(
            value, length: length, partBytes: isBounded ? 0 : 256, slackBytes: isBounded ? 0 : 4096, into: &spans,
            most: min(x.location.maxRanges, Limits.rangesMax))
        switch verdict {
        case .whole: return true
        case .unsatisfiable:
            x.keptLines = contentRange(x, nil, of: length)
            return false
        case .ranges(1):
            answer.status = 206
            answer.acceptRanges = false
            answer.contentLength = spans[0].end - spans[0].start
            x.fileOffset = spans[0].start
            x.fileEnd = spans[0].end
            x.keptLines = contentRange(x, spans[0], of: length)
            return true
        case .ranges:
            // A filter changes what stands between the parts, too.
            if x.location.filters == nil { chooseSeveral(x, spans, &answer) }
            return true
        }
    }

    /// If-Range: a part is of use to the client only if the rest of what it has is of this very file (RFC 9110 section 13.1.5).
    private func isRangeCurrent(_ x: Ref<Exchange>, _ answer: AnswerHead) -> Bool {
        guard let condition = requestField(.ifRange, x) else { return true }
        if condition.hasSuffix(ByteView("\"")) { return condition == answer.etag }
        return parseHTTPDate(condition.buffer.span) == answer.lastModified
    }

    private func contentRange(_ x: Ref<Exchange>, _ span: ByteSpan?, of length: Int64) -> ByteView {
        valueText.value.reset()
        appendContentRange(span, of: length)
        return x.value.region.copy(valueText.view, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
    }

    private func appendContentRange(_ span: ByteSpan?, of length: Int64) {
        let w = valueText
        w.value.append("Content-Range: bytes ")
        if let span {
            w.value.append(decimal: span.start)
            w.value.append("-")
            w.value.append(decimal: span.end - 1)
        } else {
            w.value.append("*")
        }
        w.value.append("/")
        w.value.append(decimal: length)
        w.value.append("\r\n")
    }

    private func chooseSeveral(_ x: Ref<Exchange>, _ spans: [ByteSpan], _ answer: inout AnswerHead) {
        let length = answer.contentLength
        var total: Int64 = 0
        // The last is the end.
        let size = (spans.count + 1) * MemoryLayout<FilePart>.stride
        guard let memory = x.value.region.allocate(size, from: &buffers, limit: Limits.regionBytesMax) else { return }
        let parts = Frozen(
            repeating: FilePart(span: ByteSpan(start: 0, end: 0), head: .empty), count: spans.count + 1, into: memory)
        for i in 0...spans.count {
            let w = valueText
            w.value.reset()
            w.value.append("\r\n--")
            appendBoundary(x)
            if i < spans.count {
                w.value.append("\r\n")
                if !answer.contentType.isEmpty { appendField(w, "Content-Type: ", answer.contentType) }
                appendContentRange(spans[i], of: length)
                w.value.append("\r\n")
            } else {
                w.value.append("--\r\n")
            }
            guard let head = x.value.region.copy(w.view, from: &buffers, limit: Limits.regionBytesMax) else { return }
            parts[i].value.head = head
            if i < spans.count { parts[i].value.span = spans[i] }
            total += Int64(head.count) + parts[i].value.span.end - parts[i].value.span.start
        }
        valueText.value.reset()
        valueText.value.append("multipart/byteranges; boundary=")
        appendBoundary(x)
        answer.contentType = x.value.region.copy(valueText.view, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
        answer.status = 206
        answer.acceptRanges = false
        answer.contentLength = total
        x.fileOffset = 0
        x.fileEnd = 0
        x.fileParts = parts
    }

    /// Of the connection and the time: the same for all parts of an answer.
    private func appendBoundary(_ x: Ref<Exchange>) {
        valueText.value.append(decimal: x.client.number % 1_000_000_000, minimumDigits: 9)
        valueText.value.append(decimal: UInt64(realtimeNs / 1000 % 100_000_000_000), minimumDigits: 11)
    }

    /// The next part begins: its delimiter and fields leave. False: it was the end, or the exchange is over.
    func beginPart(_ x: Ref<Exchange>) -> Bool {
        let part = x.fileParts[Int(x.filePart)].value
        x.filePart += 1
        x.fileOffset = part.span.start
        x.fileEnd = part.span.end
        x.bodySentToClient += Int64(part.head.count)
        if x.framing != .chunked { return emit(x, part.head) }
        ownInput(x.client)
        scratch.data.update(from: part.head.start, count: part.head.count)
        return emit(x, framed(x, ByteView(scratch.data, part.head.count), isLast: false))
    }
}
