// How much a client may send that asks for nothing: frames that only cost work, and requests that it takes back.
// Asked by the session's callbacks for each frame. A client that goes beyond is told to calm down, and the connection closes.

import Bytes
import CNghttp2

/// So many at once, and so many more each second.
struct FrameBudget: BitwiseCopyable {
    private(set) var left: Int32
    private var filledMs: Int64
    private let most: Int32
    private let perSecond: Int64

    init(most: Int32, perSecond: Int64, nowMs: Int64) {
        left = most
        filledMs = nowMs
        self.most = most
        self.perSecond = perSecond
    }

    /// False: there is none left.
    mutating func spend(nowMs: Int64) -> Bool {
        if left == 0 {
            let grown = (nowMs - filledMs) * perSecond / 1000
            if grown <= 0 { return false }
            filledMs = nowMs
            left = Int32(truncatingIfNeeded: min(grown, Int64(most)))
        }
        left -= 1
        return true
    }

    /// What was done for the client allows it to answer.
    mutating func earn(_ count: Int32) { left = min(most, left + count) }
}

extension Worker {
    /// A frame begins: what it costs. Frames that carry requests and bodies cost nothing here; they are bounded by streams and windows.
    func frameBegins(_ s: Ref<ClientSession>, _ header: nghttp2_frame_hd) {
        let flags = UInt32(header.flags)
        switch UInt32(header.type) {
        case NGHTTP2_HEADERS.rawValue:
            s.fieldBlockBytes = Int64(header.length)
            s.fieldBlockFrames = 1
            return checkOrder(s, header.stream_id)
        case NGHTTP2_CONTINUATION.rawValue:
            s.fieldBlockBytes += Int64(header.length)
            s.fieldBlockFrames += 1
            // A section of so many pieces is no request (CVE-2024-27316 and its like).
            if s.fieldBlockFrames > Limits.http2FieldFramesMax { flood(s, "CONTINUATION frames") }
            return
        case NGHTTP2_DATA.rawValue:
            // Empty but for padding, and not the end.
            let overhead: Int = flags & NGHTTP2_FLAG_PADDED.rawValue != 0 ? 256 : 0
            if header.length > overhead || flags & NGHTTP2_FLAG_END_STREAM.rawValue != 0 { return }
        case NGHTTP2_PUSH_PROMISE.rawValue:
            // A server's (section 8.4); the library would wait for the rest of it.
            s.faultCode = NGHTTP2_PROTOCOL_ERROR.rawValue
        case NGHTTP2_GOAWAY.rawValue:
            // The library keeps all of it until it is whole.
            if header.length > Limits.http2GoawayBytes { return flood(s, "bytes in GOAWAY") }
        default: break
        }
        if !s.value.frames.spend(nowMs: nowMs) { flood(s, "frames") }
    }

    /// Streams are opened in order (section 5.1.1). Fields for one that is over are an error, unless it was us who ended it early.
    private func checkOrder(_ s: Ref<ClientSession>, _ id: Int32) {
        if id > s.lastID {
            if id & 1 == 1 { s.lastID = id }
            return
        }
        if Worker.stream(s.library, id) != nil { return }
        for i in 0..<min(s.cutCount, s.cut.count) where s.cut[i] == id { return }
        s.faultCode = NGHTTP2_PROTOCOL_ERROR.rawValue
    }

    /// The client has taken back a request that was not answered, or has sent one that it may not (CVE-2023-44487).
    func countReset(_ s: Ref<ClientSession>) {
        if !s.value.resets.spend(nowMs: nowMs) { flood(s, "resets") }
    }

    private func flood(_ s: Ref<ClientSession>, _ what: StaticString) {
        if s.faultCode != 0 || s.hasFlooded { return }
        s.hasFlooded = true
        s.faultCode = NGHTTP2_ENHANCE_YOUR_CALM.rawValue
        counts.http2Floods += 1
        logClient(.info, "http2 flood detected: too many", s.connection, detail: ByteView(what))
    }
}
