// Addresses as the kernel wants them and as logs print them.
// A client's address is kept compact in its connection; listeners' and peers' addresses are frozen `sockaddr` bytes.

import Bytes
import CLinux
import HTTPMessage

/// The address of a connected client: IPv4, IPv6 or a unix socket (which has none worth printing).
package struct ClientAddress: BitwiseCopyable, Equatable {
    package enum Family: UInt8, BitwiseCopyable { case unix, ipv4, ipv6 }
    package private(set) var family = Family.unix
    package private(set) var port: UInt16 = 0
    /// Of IPv4: the address in network order.
    private var short: UInt32 = 0
    /// Of IPv6: the address in network order. Of IPv4: its text, which nearly every log line and head asks for, with its count in
    /// the last byte.
    private var first: UInt64 = 0
    private var second: UInt64 = 0

    package init() {}

    /// From what `accept` filled.
    init(sockaddr p: UnsafeRawPointer, length: UInt32) {
        guard length >= 2 else { return }
        let code = Int32(p.loadUnaligned(as: sa_family_t.self))
        if code == AF_INET, length >= UInt32(MemoryLayout<sockaddr_in>.size) {
            family = .ipv4
            port = UInt16(bigEndian: p.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
            short = p.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
            keepText()
        } else if code == AF_INET6, length >= UInt32(MemoryLayout<sockaddr_in6>.size) {
            family = .ipv6
            port = UInt16(bigEndian: p.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
            first = p.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
            second = p.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
        }
    }

    /// What a header or a field of the request says.
    package init(_ endpoint: IPEndpoint) {
        family = endpoint.address.isIPv6 ? .ipv6 : .ipv4
        port = endpoint.port
        if endpoint.address.isIPv6 {
            first = endpoint.address.high
            second = endpoint.address.low
        } else {
            short = UInt32(truncatingIfNeeded: endpoint.address.high)
            keepText()
        }
    }

    /// The first eight bytes in network order, the first of them in the lowest place; those of IPv4 are four.
    var high: UInt64 { family == .ipv4 ? UInt64(short) : first }
    /// The last eight bytes of IPv6.
    var low: UInt64 { family == .ipv4 ? 0 : second }

    /// How many of the address's bytes count: 4, 16 or 0.
    var byteCount: Int { family == .ipv4 ? 4 : family == .ipv6 ? 16 : 0 }

    func byte(_ i: Int) -> UInt8 {
        if family == .ipv4 { return UInt8(truncatingIfNeeded: short >> UInt32(8 * i)) }
        return UInt8(truncatingIfNeeded: i < 8 ? first >> UInt64(8 * i) : second >> UInt64(8 * (i - 8)))
    }

    /// `::ffff:a.b.c.d` of an IPv4 address.
    var mappedToIPv6: ClientAddress {
        var mapped = ClientAddress()
        mapped.family = .ipv6
        mapped.port = port
        mapped.second = 0xFFFF_0000 | UInt64(short) << 32
        return mapped
    }

    /// As nginx prints `$remote_addr`: dotted, or RFC 5952 without brackets, or `unix:`.
    @inline(__always)
    func append(to w: Ref<ByteWriter>) {
        if family == .ipv4 { return w.value.append(packed: first, second, count: Int(second &>> 56)) }
        appendOther(to: w)
    }

    @inline(never)
    private func appendOther(to w: Ref<ByteWriter>) {
        if family == .ipv6 { appendIPv6(to: w) } else { w.value.append("unix:") }
    }

    /// Notes the text of an IPv4 address: 7 to 15 characters.
    private mutating func keepText() {
        var count: UInt64 = 0
        func keep(_ c: UInt8) {
            if count < 8 { first |= UInt64(c) << (8 * count) } else { second |= UInt64(c) << (8 * (count - 8)) }
            count += 1
        }
        for i in 0..<4 {
            let n = byte(i)
            if i > 0 { keep(0x2E) }
            if n >= 100 { keep(0x30 + n / 100) }
            if n >= 10 { keep(0x30 + n / 10 % 10) }
            keep(0x30 + n % 10)
        }
        second |= count << 56
    }

    private func appendIPv6(to w: Ref<ByteWriter>) {
        func group(_ i: Int) -> UInt64 { UInt64(byte(2 * i)) << 8 | UInt64(byte(2 * i + 1)) }
        var bestStart = -1
        var bestCount = 1
        var i = 0
        while i < 8 {
            var j = i
            while j < 8, group(j) == 0 { j += 1 }
            if j - i > bestCount { (bestStart, bestCount) = (i, j - i) }
            i = max(j, i + 1)
        }
        // ::ffff:a.b.c.d, an IPv4 client of a dual-stack listener, is printed dotted.
        let isMapped = bestStart == 0 && bestCount == 5 && group(5) == 0xffff
        i = 0
        while i < 8 {
            if i == bestStart {
                w.value.append("::")
                i += bestCount
                continue
            }
            if i > 0, i != bestStart + bestCount || bestStart < 0 { w.value.append(0x3A) }
            if isMapped, i == 6 {
                for k in 12..<16 {
                    if k > 12 { w.value.append(0x2E) }
                    w.value.append(decimal: UInt64(byte(k)))
                }
                return
            }
            w.value.append(hex: group(i))
            i += 1
        }
    }
}

/// A `sockaddr` with its length and its text, frozen in a snapshot: where a peer listens, or where we do.
package struct SocketAddress: BitwiseCopyable {
    /// The bytes of the `sockaddr`.
    package var bytes: ByteView
    /// As nginx prints it: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
    package var text: ByteView
    package init(bytes: ByteView, text: ByteView) {
        self.bytes = bytes
        self.text = text
    }

    package static var none: SocketAddress { SocketAddress(bytes: .empty, text: .empty) }

    package var family: Int32 {
        bytes.count < 2 ? 0 : Int32(UnsafeRawPointer(bytes.start).loadUnaligned(as: sa_family_t.self))
    }
    package var isUnix: Bool { family == AF_UNIX }
    /// 127.0.0.0/8 or ::1: within this host, over TCP.
    package var isLoopback: Bool {
        if family == AF_INET { return bytes.count > 4 && bytes[4] == 127 }
        guard family == AF_INET6, bytes.count >= 24, bytes[23] == 1 else { return false }
        for i in 8..<23 where bytes[i] != 0 { return false }
        return true
    }
    package var port: UInt16 {
        bytes.count < 4 || isUnix
            ? 0 : UInt16(bigEndian: UnsafeRawPointer(bytes.start).loadUnaligned(fromByteOffset: 2, as: UInt16.self))
    }
}

extension Worker {
    /// The address that `text` is in digits (`127.0.0.1:80`, `[::1]:80`, `unix:/path`), in memory of the exchange; nil for names.
    func numericAddress(_ text: ByteView, _ x: Ref<Exchange>, defaultPort: UInt16 = 80) -> SocketAddress? {
        guard let memory = x.value.region.allocate(MemoryLayout<sockaddr_un>.size, from: &buffers, limit: Limits.regionBytesMax) else { return nil }
        let raw = UnsafeMutableRawPointer(memory)
        raw.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<sockaddr_un>.size)
        if text.hasPrefix(ByteView("unix:")) {
            let path = text.slice(5)
            if path.isEmpty || path.count > 107 { return nil }
            raw.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
            (memory + 2).update(from: path.start, count: path.count)
            return SocketAddress(bytes: ByteView(memory, 3 + path.count), text: text)
        }
        var host = text
        var port = defaultPort
        if let colon = text.lastIndex(of: 0x3A), !text.hasSuffix(ByteView("]")), text[0] == 0x5B || text.firstIndex(of: 0x3A) == colon {
            guard let n = text.slice(colon + 1).decimal, n > 0, n < 65536 else { return nil }
            port = UInt16(n)
            host = text.slice(0, colon)
        }
        raw.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
        let family: Int32
        if host.hasPrefix(ByteView("[")), host.hasSuffix(ByteView("]")) {
            host = host.slice(1, host.count - 2)
            family = AF_INET6
        } else {
            family = AF_INET
        }
        raw.storeBytes(of: sa_family_t(family), as: sa_family_t.self)
        if host.isEmpty || host.count > 45 { return nil }
        let parsed = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { c -> Bool in
            for i in 0..<host.count { c[i] = CChar(bitPattern: host[i]) }
            c[host.count] = 0
            guard let base = c.baseAddress else { return false }
            return inet_pton(family, base, raw + (family == AF_INET ? 4 : 8)) == 1
        }
        if !parsed { return nil }
        let size = family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
        return SocketAddress(bytes: ByteView(memory, size), text: text)
    }
}
