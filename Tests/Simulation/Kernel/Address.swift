// Addresses as the kernel takes them (sockaddr bytes) and as tests write them.
// Used by the simulated network and by actors.

import CLinux

package enum Address: Hashable, Sendable, CustomStringConvertible {
    /// An IPv4 address (most significant byte first) and a port.
    case v4(UInt32, UInt16)
    /// The two halves of an IPv6 address and a port.
    case v6(UInt64, UInt64, UInt16)
    /// The path of a local socket, or a name that begins with a zero byte (an abstract one). Empty: unnamed.
    case local([UInt8])

    /// 127.0.0.1 and a port.
    package static func loopback(_ port: UInt16) -> Address { .v4(0x7F00_0001, port) }
    /// 10.0.0.`host` and a port.
    package static func host(_ host: UInt8, _ port: UInt16) -> Address { .v4(0x0A00_0000 | UInt32(host), port) }
    package static func path(_ path: String) -> Address { .local(Array(path.utf8)) }

    package var family: Int32 {
        switch self {
        case .v4: AF_INET
        case .v6: AF_INET6
        case .local: AF_UNIX
        }
    }

    package var port: UInt16 {
        switch self {
        case .v4(_, let port), .v6(_, _, let port): port
        case .local: 0
        }
    }

    func with(port: UInt16) -> Address {
        switch self {
        case .v4(let ip, _): .v4(ip, port)
        case .v6(let high, let low, _): .v6(high, low, port)
        case .local: self
        }
    }

    var isWildcard: Bool {
        switch self {
        case .v4(let ip, _): ip == 0
        case .v6(let high, let low, _): high == 0 && low == 0
        case .local: false
        }
    }

    /// An IPv4 address as a dual-stack IPv6 socket sees it (RFC 4291 2.5.5.2), and back.
    var mappedToV6: Address {
        if case .v4(let ip, let port) = self { return .v6(0, 0xFFFF_0000_0000 | UInt64(ip), port) }
        return self
    }
    var unmapped: Address {
        if case .v6(0, let low, let port) = self, low >> 32 == 0xFFFF { return .v4(UInt32(truncatingIfNeeded: low), port) }
        return self
    }

    /// Reads `length` bytes of a sockaddr, or nil when the family is unknown or the bytes are too few.
    package init?(_ bytes: UnsafeRawPointer, _ length: UInt32) {
        let raw = UnsafeRawBufferPointer(start: bytes, count: Int(length))
        guard raw.count >= 2 else { return nil }
        let family = Int32(raw.loadUnaligned(as: UInt16.self))
        func big<T: FixedWidthInteger>(_ offset: Int, _: T.Type) -> T {
            T(bigEndian: raw.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        if family == AF_INET, raw.count >= 16 {
            self = .v4(big(4, UInt32.self), big(2, UInt16.self))
        } else if family == AF_INET6, raw.count >= 28 {
            self = .v6(big(8, UInt64.self), big(16, UInt64.self), big(2, UInt16.self))
        } else if family == AF_UNIX {
            let rest = Array(raw[2...])
            self = .local(rest.first == 0 ? rest : Array(rest.prefix { $0 != 0 }))
        } else {
            return nil
        }
    }

    /// The sockaddr, as `bind` and `connect` take it.
    package var bytes: [UInt8] {
        var out: [UInt8] = []
        func big<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.bigEndian) { out.append(contentsOf: $0) } }
        withUnsafeBytes(of: UInt16(family)) { out.append(contentsOf: $0) }
        switch self {
        case .v4(let ip, let port):
            big(port)
            big(ip)
            out += [UInt8](repeating: 0, count: 8)
        case .v6(let high, let low, let port):
            big(port)
            big(UInt32(0))
            big(high)
            big(low)
            big(UInt32(0))
        case .local(let path):
            out += path
            if let first = path.first, first != 0 { out.append(0) }
        }
        return out
    }

    /// Writes the sockaddr, cut to the room that `length` gives, and sets `length` to its whole size as Linux does.
    func write(to target: UnsafeMutableRawPointer, _ length: inout UInt32) {
        let all = bytes
        all.withUnsafeBytes { raw in
            target.copyMemory(from: raw.baseAddress.unsafelyUnwrapped, byteCount: min(raw.count, Int(length)))
        }
        length = UInt32(all.count)
    }

    package var description: String {
        switch self {
        case .v4(let ip, let port): "\(ip >> 24).\(ip >> 16 & 255).\(ip >> 8 & 255).\(ip & 255):\(port)"
        case .v6(let high, let low, let port):
            "[\(String(high, radix: 16)):\(String(low, radix: 16))]:\(port)"
        case .local(let path): "unix:\(String(decoding: path, as: UTF8.self))"
        }
    }
}
