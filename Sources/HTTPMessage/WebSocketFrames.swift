// Where the frames of a WebSocket connection end (RFC 6455 section 5.2), so that a frame of the proxy's own can go between two.
// One for each direction of an upgraded connection, fed by the engine with all that passes. It must not judge or change frames.

/// Follows one direction of a connection from frame to frame, in 16 bytes, at a cost a frame, not a byte.
///
/// A control frame may stand between any two frames, also in the midst of a fragmented message (section 5.4). Of a frame only
/// its length is read; opcodes and reserved bits are the endpoints' matter, but for a close frame, which `hasClosed` tells.
public struct WebSocketFrames: Sendable, Equatable, BitwiseCopyable {
    private enum State: UInt8, BitwiseCopyable {
        /// Between frames.
        case start
        /// Before the second byte: the mask bit and the length, or where the length is.
        case length
        /// In an extended length of two or eight bytes.
        case extended
        /// In the masking key or the payload.
        case payload
        case broken
    }

    /// Bytes to come of the key and the payload; in an extended length, what was read of it.
    private var left: UInt64 = 0
    private var state = State.start
    private var lengthBytesLeft: UInt8 = 0
    private var isMasked = false
    private var isClose = false
    private var closed = false

    public init() {}

    /// Nothing, or whole frames, have passed: here another frame may go.
    public var isAtBoundary: Bool { state == .start }

    /// A length of 2^63 or more was announced, which no frame may have: there are no boundaries any more.
    public var isBroken: Bool { state == .broken }

    /// A whole close frame has passed: nothing may follow it (section 5.5.1), not even a frame of the proxy's own.
    public var hasClosed: Bool { closed }

    /// Takes the next bytes of the stream.
    public mutating func feed(_ bytes: Span<UInt8>) {
        var at = 0
        while at < bytes.count && state != .broken { step(bytes, &at) }
    }

    /// How many of the next bytes, which are not fed by this, end a frame: 0 when the stream stands between two already; nil
    /// when none of them does.
    public func boundary(in bytes: Span<UInt8>) -> Int? {
        var ahead = self
        var at = 0
        while !ahead.isAtBoundary {
            if at == bytes.count || ahead.isBroken { return nil }
            ahead.step(bytes, &at)
        }
        return at
    }

    /// Takes one byte of a frame's head, or all there is of its key and payload. `bytes` has some from `at` on.
    private mutating func step(_ bytes: Span<UInt8>, _ at: inout Int) {
        if state == .payload {
            let count = min(left, UInt64(bytes.count - at))
            at += Int(count)
            left -= count
            if left == 0 { end() }
            return
        }
        let byte = bytes[at]
        at += 1
        switch state {
        case .start:
            isClose = byte & 0x0F == 0x8
            state = .length
        case .length:
            isMasked = byte & 0x80 != 0
            let length = byte & 0x7F
            if length < 126 { return begin(UInt64(length)) }
            lengthBytesLeft = length == 126 ? 2 : 8
            left = 0
            state = .extended
        case .extended:
            if lengthBytesLeft == 8 && byte & 0x80 != 0 {
                state = .broken
                return
            }
            left = left << 8 | UInt64(byte)
            lengthBytesLeft -= 1
            if lengthBytesLeft == 0 { begin(left) }
        case .payload, .broken: break
        }
    }

    private mutating func begin(_ length: UInt64) {
        left = length + (isMasked ? 4 : 0)
        state = .payload
        if left == 0 { end() }
    }

    private mutating func end() {
        state = .start
        if isClose { closed = true }
    }
}

extension WebSocketFrames {
    /// The status "service restart": the client is to connect again (IANA's registry of WebSocket close codes).
    public static var serviceRestart: UInt16 { 1012 }

    /// A close frame with a status and no reason, as a server sends it: to the client (RFC 6455 section 5.5.1).
    public static func close(_ status: UInt16 = serviceRestart) -> InlineArray<4, UInt8> {
        [0x88, 2, UInt8(status >> 8), UInt8(status & 0xFF)]
    }

    /// The same as a client sends it: to the upstream (section 5.3).
    ///
    /// - Parameter mask: the masking key, its first byte the most significant: fresh for each frame and unpredictable.
    public static func close(_ status: UInt16 = serviceRestart, mask: UInt32) -> InlineArray<8, UInt8> {
        let (key, masked) = (UInt16(mask >> 16), status ^ UInt16(mask >> 16))
        let rest = UInt16(mask & 0xFFFF)
        return [
            0x88, 0x80 | 2, UInt8(key >> 8), UInt8(key & 0xFF), UInt8(rest >> 8), UInt8(rest & 0xFF),
            UInt8(masked >> 8), UInt8(masked & 0xFF),
        ]
    }
}
