// How a call of gRPC ended: its grpc-status, and whose fault that is.
// Noted by sessions with upstreams, asked by whoever counts errors. It knows no message of gRPC.

import Bytes

/// A `grpc-status`, as https://github.com/grpc/grpc/blob/master/doc/statuscodes.md has them.
public struct CallStatus: BitwiseCopyable, Sendable, Equatable {
    /// 0 to 16; 2 (UNKNOWN) stands for what is none.
    public let code: UInt8

    private init(code: UInt8) { self.code = code }

    /// There was none, which clients take for UNKNOWN (gRPC's http-grpc-status-mapping.md).
    public static let none = CallStatus(code: 2)

    /// - Parameter text: the value of the field.
    public init(_ text: ByteView) {
        var n = text.isEmpty ? 99 : 0
        for i in 0..<min(text.count, 3) {
            guard text[i] >= 0x30, text[i] <= 0x39 else {
                n = 99
                break
            }
            n = n * 10 + Int(text[i] - 0x30)
        }
        code = text.count <= 2 && n <= 16 ? UInt8(n) : 2
    }

    /// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: what OpenTelemetry's conventions for gRPC take for
    /// errors of servers. All others tell of the call: of what it asked for, of who asked, of how much there is.
    public var isServersFault: Bool {
        switch code {
        case 2, 4, 12, 13, 14, 15: true
        default: false
        }
    }
}
