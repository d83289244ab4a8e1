// One unary call over HTTP/2, as bytes in and bytes out: what a health check of gRPC says and hears.
// Made and driven by Control's prober. It has no connection and no clock; libnghttp2 keeps the protocol.

import CNghttp2

package final class ProbeCall {
    /// What has come of the answer.
    package struct Answer {
        package var status = 0
        /// Of the head or the trailers.
        package var grpcStatus: Int?
        package var message: [UInt8] = []
        /// The stream has ended.
        package var isWhole = false
        /// Why there will be none; nil: nothing went wrong.
        package var failure: String?
    }

    package private(set) var answer = Answer()
    private var session: OpaquePointer?
    private var body: [UInt8]
    private var sent = 0
    private var stream: Int32 = -1
    private static let messageBytesMax = 64 << 10

    /// - Parameters:
    ///   - fields: the pseudo-fields first.
    ///   - body: of the request.
    package init?(_ fields: [(String, String)], body: [UInt8]) {
        self.body = body
        var callbacks: OpaquePointer?
        guard nghttp2_session_callbacks_new(&callbacks) == 0 else { return nil }
        defer { nghttp2_session_callbacks_del(callbacks) }
        Self.install(callbacks)
        let me = Unmanaged.passUnretained(self).toOpaque()
        guard nghttp2_session_client_new(&session, callbacks, me) == 0, let session else { return nil }
        let none = UInt8(NGHTTP2_FLAG_NONE.rawValue)
        var settings = nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0)
        guard nghttp2_submit_settings(session, none, &settings, 1) == 0 else { return nil }
        stream = Self.submit(fields, session)
        if stream < 0 { return nil }
    }

    deinit { nghttp2_session_del(session) }

    private static func submit(_ fields: [(String, String)], _ session: OpaquePointer) -> Int32 {
        // One text with all names and values, which the library copies.
        var bytes = fields.flatMap { Array($0.0.utf8) + Array($0.1.utf8) }
        bytes.append(0)
        return bytes.withUnsafeMutableBufferPointer { buffer -> Int32 in
            guard var next = buffer.baseAddress else { return -1 }
            let list = fields.map { name, value -> nghttp2_nv in
                let pair = nghttp2_nv(
                    name: next, value: next + name.utf8.count, namelen: name.utf8.count, valuelen: value.utf8.count,
                    flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue))
                next += name.utf8.count + value.utf8.count
                return pair
            }
            var source = nghttp2_data_provider(source: nghttp2_data_source(), read_callback: readBody)
            return nghttp2_submit_request(session, nil, list, list.count, &source, nil)
        }
    }

    /// What is to be sent now.
    package func output() -> [UInt8] {
        var all: [UInt8] = []
        while let session {
            var bytes: UnsafePointer<UInt8>?
            let n = nghttp2_session_mem_send(session, &bytes)
            if n < 0 { fail(Int32(n)) }
            guard n > 0, let bytes else { break }
            all += UnsafeBufferPointer(start: bytes, count: n)
        }
        return all
    }

    package func take(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let session, let start = bytes.baseAddress else { return }
        let n = nghttp2_session_mem_recv(session, start, bytes.count)
        if n < 0 { fail(Int32(n)) }
    }

    /// The connection has ended.
    package func end() {
        if !answer.isWhole, answer.failure == nil { answer.failure = "the server closed the connection" }
    }

    private func fail(_ code: Int32) {
        if answer.failure == nil { answer.failure = "no HTTP/2 is spoken (\(String(cString: nghttp2_strerror(code))))" }
    }

    // MARK: What the library tells

    fileprivate func takeField(_ name: String, _ value: String) {
        switch name {
        case ":status": answer.status = Int(value) ?? 0
        case "grpc-status": answer.grpcStatus = Int(value)
        default: break
        }
    }

    fileprivate func takeData(_ bytes: UnsafeBufferPointer<UInt8>) {
        let room = max(0, Self.messageBytesMax - answer.message.count)
        answer.message += bytes.prefix(room)
    }

    fileprivate func close(_ id: Int32, _ code: UInt32) {
        if id != stream { return }
        if code == 0 { answer.isWhole = true } else if answer.failure == nil {
            answer.failure = "the server reset the stream (\(String(cString: nghttp2_http2_strerror(code))))"
        }
    }

    fileprivate func giveBody(_ target: UnsafeMutablePointer<UInt8>, _ most: Int, _ flags: inout UInt32) -> Int {
        let n = min(most, body.count - sent)
        for i in 0..<n { target[i] = body[sent + i] }
        sent += n
        if sent == body.count { flags |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue) }
        return n
    }

    private static func install(_ callbacks: OpaquePointer?) {
        nghttp2_session_callbacks_set_on_header_callback(callbacks) { _, frame, name, nameCount, value, valueCount, _, user in
            guard let name, let value, let call = probeCall(user), frame?.pointee.hd.stream_id == call.stream else { return 0 }
            call.takeField(
                String(decoding: UnsafeBufferPointer(start: name, count: nameCount), as: UTF8.self),
                String(decoding: UnsafeBufferPointer(start: value, count: valueCount), as: UTF8.self))
            return 0
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, id, data, count, user in
            if let call = probeCall(user), id == call.stream { call.takeData(UnsafeBufferPointer(start: data, count: count)) }
            return 0
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, id, code, user in
            probeCall(user)?.close(id, code)
            return 0
        }
    }
}

private func probeCall(_ user: UnsafeMutableRawPointer?) -> ProbeCall? {
    user.map { Unmanaged<ProbeCall>.fromOpaque($0).takeUnretainedValue() }
}

private let readBody: nghttp2_data_source_read_callback = { _, _, target, most, flags, _, user in
    guard let target, let flags, let call = probeCall(user) else { return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
    return call.giveBody(target, most, &flags.pointee)
}
