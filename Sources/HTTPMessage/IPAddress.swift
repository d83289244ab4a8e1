// Addresses in digits, as fields and protocol headers carry them: 192.0.2.1, 2001:db8::1, with and without a port; and the last one
// of a list such as X-Forwarded-For.
// Called by the engine for what clients and proxies in front of it say. Names of hosts are not looked at.

/// An IPv4 or IPv6 address.
public struct IPAddress: Equatable, Sendable, BitwiseCopyable {
    public var isIPv6: Bool
    /// The bytes in network order, the first one in the lowest place; IPv4 has four of them, in `high`.
    public var high: UInt64
    public var low: UInt64

    public init(isIPv6: Bool, high: UInt64, low: UInt64) {
        self.isIPv6 = isIPv6
        self.high = high
        self.low = low
    }

    /// From the 4 or 16 bytes at `start`, in network order, which must be there.
    public init(isIPv6: Bool, in bytes: Span<UInt8>, at start: Int) {
        self.init(isIPv6: isIPv6, high: 0, low: 0)
        for i in 0..<(isIPv6 ? 8 : 4) { high |= UInt64(bytes[start + i]) << UInt64(8 * i) }
        for i in 0..<(isIPv6 ? 8 : 0) { low |= UInt64(bytes[start + 8 + i]) << UInt64(8 * i) }
    }
}

/// An address with its port; 0 where none was given.
public struct IPEndpoint: Equatable, Sendable, BitwiseCopyable {
    public var address: IPAddress
    public var port: UInt16

    public init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }
}

/// The address that all of `text` is: four decimal numbers without leading zeros, or a text of RFC 4291 section 2.2 without a zone.
public func parseIPAddress(_ text: Span<UInt8>) -> IPAddress? {
    for i in 0..<min(text.count, 5) where text[i] == 0x3A { return parseIPv6(text) }
    return parseIPv4(text, from: 0).map { IPAddress(isIPv6: false, high: UInt64($0), low: 0) }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`, as X-Forwarded-For and X-Real-IP carry them.
public func parseIPEndpoint(_ text: Span<UInt8>) -> IPEndpoint? {
    if let address = parseIPAddress(text) { return IPEndpoint(address: address, port: 0) }
    var colon = text.count - 1
    while colon > 0, text[colon] != 0x3A { colon -= 1 }
    guard colon > 0, let port = portNumber(text, from: colon + 1), port > 0 else { return nil }
    let isLiteral = text[0] == 0x5B
    if isLiteral, text[colon - 1] != 0x5D { return nil }
    let host = isLiteral ? text.extracting(1..<max(1, colon - 1)) : text.extracting(0..<colon)
    guard let address = parseIPAddress(host), address.isIPv6 == isLiteral else { return nil }
    return IPEndpoint(address: address, port: port)
}

/// The last element of a list of addresses that ends at `end`, and where that element begins: the end of what stands before it.
///
/// nil: it is no address, or there is none.
public func lastForwarded(in list: Span<UInt8>, before end: Int) -> (endpoint: IPEndpoint, start: Int)? {
    var last = min(end, list.count)
    while last > 0, separates(list[last - 1]) { last -= 1 }
    var start = last
    while start > 0, !separates(list[start - 1]) { start -= 1 }
    return parseIPEndpoint(list.extracting(start..<last)).map { ($0, start) }
}

@inline(__always)
private func separates(_ c: UInt8) -> Bool { c == 0x2C || c == 0x20 || c == 0x09 }

/// The digits from `start` to `end` (to the last by default), of which there are one to five, as a port.
func portNumber(_ text: Span<UInt8>, from start: Int, to end: Int? = nil) -> UInt16? {
    let end = end ?? text.count
    if start >= end || end - start > 5 { return nil }
    var n = 0
    for i in start..<end {
        if !isDigit(text[i]) { return nil }
        n = n * 10 + Int(text[i] - 0x30)
    }
    return UInt16(exactly: n)
}

/// The four numbers from `start` to the end, the first in the lowest place.
private func parseIPv4(_ text: Span<UInt8>, from start: Int) -> UInt32? {
    var result: UInt32 = 0
    var part: UInt32 = 0
    var digits = 0
    var parts: UInt32 = 0
    var i = start
    while i < text.count {
        let c = text[i]
        i += 1
        if c == 0x2E {
            if digits == 0 || parts == 3 { return nil }
            result |= part << (8 * parts)
            parts += 1
            part = 0
            digits = 0
            continue
        }
        // A leading zero would mean an octal number to some.
        if !isDigit(c) || (digits > 0 && part == 0) { return nil }
        part = part * 10 + UInt32(c - 0x30)
        digits += 1
        if part > 255 { return nil }
    }
    return digits == 0 || parts != 3 ? nil : result | part << 24
}

/// What is known of an IPv6 address while it is read.
private struct GroupsOfIPv6 {
    var high: UInt64 = 0
    var low: UInt64 = 0
    /// Groups of sixteen bits so far.
    var count = 0
    /// How many of them stand before "::".
    var before = -1

    mutating func append(_ group: UInt32) {
        // In the order of the network: the first byte in the lowest place.
        let bytes = UInt64(group >> 8 | (group & 255) << 8)
        if count < 4 { high |= bytes << UInt64(16 * count) } else { low |= bytes << UInt64(16 * (count - 4)) }
        count += 1
    }

    /// With the zeros that "::" stands for.
    var expanded: IPAddress? {
        if before < 0 { return count == 8 ? IPAddress(isIPv6: true, high: high, low: low) : nil }
        if count > 7 { return nil }
        var whole = GroupsOfIPv6()
        func group(_ i: Int) -> UInt32 {
            let bytes = UInt32(truncatingIfNeeded: i < 4 ? high >> UInt64(16 * i) : low >> UInt64(16 * (i - 4))) & 0xFFFF
            return bytes >> 8 | (bytes & 255) << 8
        }
        for i in 0..<before { whole.append(group(i)) }
        for _ in 0..<(8 - count) { whole.append(0) }
        for i in before..<count { whole.append(group(i)) }
        return IPAddress(isIPv6: true, high: whole.high, low: whole.low)
    }
}

private func parseIPv6(_ text: Span<UInt8>) -> IPAddress? {
    if text.count > 45 { return nil }
    var groups = GroupsOfIPv6()
    var i = 0
    if text[0] == 0x3A {
        if text.count < 2 || text[1] != 0x3A { return nil }
        groups.before = 0
        i = 2
    }
    while i < text.count {
        let start = i
        var group: UInt32 = 0
        while i < text.count, i - start < 4, hexValue(text[i]) < 16 {
            group = group << 4 | UInt32(hexValue(text[i]))
            i += 1
        }
        if i < text.count, text[i] == 0x2E {
            // The last 32 bits in decimal.
            guard groups.count <= 6, let four = parseIPv4(text, from: start) else { return nil }
            groups.append((four & 255) << 8 | four >> 8 & 255)
            groups.append((four >> 16 & 255) << 8 | four >> 24)
            return groups.expanded
        }
        if i == start || groups.count == 8 { return nil }
        groups.append(group)
        if i == text.count { break }
        if text[i] != 0x3A { return nil }
        i += 1
        if i == text.count { return nil }
        if text[i] == 0x3A {
            if groups.before >= 0 { return nil }
            groups.before = groups.count
            i += 1
        }
    }
    return groups.expanded
}
