// A set of client addresses, as set_real_ip_from, allow and deny name them: a network, unix sockets, or all.
// Made by Control, frozen in a snapshot, asked by Routing/Gates.swift and Routing/RealIP.swift.

import HTTPMessage

package struct AddressRange: BitwiseCopyable, Equatable {
    private enum Kind: UInt8, BitwiseCopyable { case all, unix, ipv4, ipv6 }
    private var kind: Kind
    private var high: UInt64 = 0
    private var low: UInt64 = 0
    private var highMask: UInt64 = 0
    private var lowMask: UInt64 = 0

    package static var all: AddressRange { AddressRange(kind: .all) }
    package static var unix: AddressRange { AddressRange(kind: .unix) }

    /// The addresses whose first `prefix` bits are those of `address`; nil when it has not so many. The other bits are dropped.
    package init?(_ address: IPAddress, prefix: Int) {
        guard prefix >= 0, prefix <= (address.isIPv6 ? 128 : 32) else { return nil }
        kind = address.isIPv6 ? .ipv6 : .ipv4
        highMask = Self.mask(min(prefix, 64))
        lowMask = Self.mask(max(prefix - 64, 0))
        high = address.high & highMask
        low = address.low & lowMask
    }

    private init(kind: Kind) { self.kind = kind }

    /// The first `bits` bits in network order; the first byte is in the lowest place.
    private static func mask(_ bits: Int) -> UInt64 { (bits == 0 ? 0 : UInt64.max << UInt64(64 - bits)).byteSwapped }

    /// It is the first address.
    package func begins(with address: IPAddress) -> Bool { high == address.high && low == address.low }

    package func contains(_ address: ClientAddress) -> Bool {
        switch kind {
        case .all: return true
        case .unix: return address.family == .unix
        case .ipv4:
            if address.family == .ipv4 { return address.high & highMask == high }
            // ::ffff:a.b.c.d, an IPv4 client of a dual-stack listener.
            guard address.family == .ipv6, address.high == 0, address.low & 0xFFFF_FFFF == 0xFFFF_0000 else { return false }
            return address.low >> 32 & highMask == high
        case .ipv6: return address.family == .ipv6 && address.high & highMask == high && address.low & lowMask == low
        }
    }
}

/// `allow` and `deny`: the first rule that a client's address falls under decides.
package struct AccessRule: BitwiseCopyable {
    package var range: AddressRange
    package var denies: Bool
    package init(range: AddressRange, denies: Bool) {
        self.range = range
        self.denies = denies
    }
}
