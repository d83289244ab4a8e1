// The standard health service of gRPC (grpc.health.v1.Health/Check): its question and its answer as bytes, and what the answer means.
// Called by Control's prober, which has the connection. https://github.com/grpc/grpc/blob/master/doc/health-checking.md

public enum GRPCHealth {
    public static let path = "/grpc.health.v1.Health/Check"

    /// A message with its prefix: not compressed, four bytes of length.
    /// - Parameter service: at most 1024 bytes; empty: the server as a whole.
    public static func question(_ service: String) -> [UInt8] {
        let name = Array(service.utf8.prefix(1024))
        var message: [UInt8] = []
        if !name.isEmpty {
            // Field 1, of a counted length.
            message.append(0x0A)
            if name.count >= 128 { message.append(UInt8(name.count & 127) | 128) }
            message.append(UInt8(name.count >= 128 ? name.count >> 7 : name.count))
            message += name
        }
        let count = message.count
        return [0, 0, 0, UInt8(count >> 8), UInt8(count & 255)] + message
    }

    /// `UNKNOWN`, `SERVING`, `NOT_SERVING`, `SERVICE_UNKNOWN`; nil: the bytes are no answer.
    public static func serving(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= 5, bytes[0] == 0 else { return nil }
        let count = bytes[1..<5].reduce(0) { $0 << 8 | Int($1) }
        guard bytes.count >= 5 + count else { return nil }
        var status = 0
        var i = 5
        let end = 5 + count
        /// A number in groups of seven bits, the lowest first.
        func varint() -> UInt64? {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while i < end, shift < 64 {
                let byte = bytes[i]
                i += 1
                value |= UInt64(byte & 127) << shift
                if byte < 128 { return value }
                shift += 7
            }
            return nil
        }
        while i < end {
            guard let tag = varint() else { return nil }
            switch tag & 7 {
            case 0:
                guard let value = varint() else { return nil }
                if tag >> 3 == 1 { status = Int(truncatingIfNeeded: value) }
            case 1: i += 8
            case 2:
                guard let length = varint(), length <= UInt64(end - i) else { return nil }
                i += Int(length)
            case 5: i += 4
            default: return nil
            }
        }
        return i == end ? status : nil
    }

    private static let words = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]

    /// Why the server is not well; nil: it is.
    /// - Parameters:
    ///   - status: `grpc-status`; nil: there was none.
    ///   - expected: `grpc_status=`: this status means well, whatever the message says.
    public static func objection(httpStatus: Int, status: Int?, message: [UInt8], expected: Int?) -> String? {
        if httpStatus != 200 { return "expected HTTP status 200, found \(httpStatus)" }
        guard let status else { return "expected a grpc-status, found none" }
        if let expected { return status == expected ? nil : "expected grpc-status \(expected), found \(status)" }
        if status != 0 { return "expected grpc-status 0, found \(status)" }
        guard let serving = serving(message) else { return "expected an answer of grpc.health.v1, found something else" }
        if serving == 1 { return nil }
        return "expected SERVING, found \(words.indices.contains(serving) ? words[serving] : "status \(serving)")"
    }
}
