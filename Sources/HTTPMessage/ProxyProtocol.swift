// The header of the PROXY protocol, versions 1 and 2, that a proxy in front puts before everything else on a connection, and the
// values (TLVs) that version 2 may carry behind the addresses. After HAProxy's proxy-protocol.txt, sections 2.1 and 2.2.
// Called by the client session, which must have all of it before anything else is read.

/// A whole header.
public struct ProxyHeader: Equatable, Sendable, BitwiseCopyable {
    /// Where it ends: what follows is the client's.
    public var byteCount: Int
    /// The client's address and the one it connected to; nil: the sender says nothing of them (UNKNOWN, LOCAL, an unknown family), so
    /// those of the connection hold.
    public var addresses: Addresses?
    /// The values, in the header's bytes; empty without addresses.
    public var values = ByteRange.none

    public struct Addresses: Equatable, Sendable, BitwiseCopyable {
        public var source: IPEndpoint
        public var destination: IPEndpoint
    }
}

public enum ProxyHeaderFault: Equatable, Sendable, BitwiseCopyable {
    /// Neither of the two versions, or a line that breaks the rules of version 1.
    case broken
    /// A binary header of this version.
    case unknownVersion(UInt8)
    /// A command of version 2 that is neither LOCAL nor PROXY: section 2.2 has the connection dropped.
    case unknownCommand(UInt8)
    /// Longer than `bytesMax`.
    case tooLarge
    /// Shorter than the addresses it says it has.
    case truncated
}

public enum ProxyHeaderResult: Equatable, Sendable, BitwiseCopyable {
    case needMore
    case bad(ProxyHeaderFault)
    case header(ProxyHeader)
}

/// Reads the header that `bytes` begin with.
///
/// bytesMax: of a header of version 2; one of version 1 has at most 107.
public func parseProxyHeader(_ bytes: Span<UInt8>, bytesMax: Int) -> ProxyHeaderResult {
    if bytes.count == 0 { return .needMore }
    return bytes[0] == 0x0D ? parseVersion2(bytes, bytesMax: bytesMax) : parseVersion1(bytes)
}

/// Whether as much of `text` as there are bytes for stands at `start`.
private func begins(_ bytes: Span<UInt8>, _ text: StaticString, at start: Int = 0) -> Bool {
    for i in 0..<min(text.utf8CodeUnitCount, max(0, bytes.count - start)) {
        let expected = unsafe text.utf8Start[i]
        if bytes[start + i] != expected { return false }
    }
    return true
}

// MARK: Version 1

private func parseVersion1(_ bytes: Span<UInt8>) -> ProxyHeaderResult {
    if !begins(bytes, "PROXY ") { return .bad(.broken) }
    var end = 6
    while end < bytes.count, end < 107, bytes[end] != 0x0A { end += 1 }
    if end == 107 { return .bad(.broken) }
    if end >= bytes.count { return .needMore }
    guard bytes[end - 1] == 0x0D else { return .bad(.broken) }
    let line = bytes.extracting(0..<(end - 1))
    if line.count >= 13, begins(line, "UNKNOWN", at: 6) { return .header(ProxyHeader(byteCount: end + 1)) }
    guard let addresses = addressesOfVersion1(line) else { return .bad(.broken) }
    return .header(ProxyHeader(byteCount: end + 1, addresses: addresses))
}

/// The addresses of `PROXY TCP4 SOURCE DESTINATION PORT PORT`.
private func addressesOfVersion1(_ line: Span<UInt8>) -> ProxyHeader.Addresses? {
    guard line.count > 11, begins(line, "TCP", at: 6), line[9] == 0x34 || line[9] == 0x36, line[10] == 0x20 else { return nil }
    let isIPv6 = line[9] == 0x36
    let first = wordEnd(line, 11)
    let second = wordEnd(line, first + 1)
    let third = wordEnd(line, second + 1)
    guard third < line.count, let source = parseIPAddress(line.extracting(11..<first)),
        let destination = parseIPAddress(line.extracting((first + 1)..<second)), source.isIPv6 == isIPv6, destination.isIPv6 == isIPv6,
        let sourcePort = portNumber(line, from: second + 1, to: third), let destinationPort = portNumber(line, from: third + 1)
    else { return nil }
    return ProxyHeader.Addresses(
        source: IPEndpoint(address: source, port: sourcePort), destination: IPEndpoint(address: destination, port: destinationPort))
}

/// Where the word from `start` ends: at a space or with the line.
private func wordEnd(_ line: Span<UInt8>, _ start: Int) -> Int {
    var at = start
    while at < line.count, line[at] != 0x20 { at += 1 }
    return at
}

// MARK: Version 2

private func parseVersion2(_ bytes: Span<UInt8>, bytesMax: Int) -> ProxyHeaderResult {
    if !begins(bytes, "\r\n\r\n\0\r\nQUIT\n") { return .bad(.broken) }
    if bytes.count < 16 { return .needMore }
    let version = bytes[12] >> 4
    if version != 2 { return .bad(.unknownVersion(version)) }
    let command = bytes[12] & 15
    if command > 1 { return .bad(.unknownCommand(command)) }
    let end = 16 + Int(sixteen(bytes, 14))
    if end > bytesMax { return .bad(.tooLarge) }
    if bytes.count < end { return .needMore }
    var header = ProxyHeader(byteCount: end)
    // Only streams over IPv4 and IPv6 have addresses that mean something here.
    let family = bytes[13] >> 4
    guard command == 1, bytes[13] & 15 == 1, family == 1 || family == 2 else { return .header(header) }
    let isIPv6 = family == 2
    let size = isIPv6 ? 16 : 4
    if end - 16 < 2 * size + 4 { return .bad(.truncated) }
    let ports = 16 + 2 * size
    header.addresses = ProxyHeader.Addresses(
        source: IPEndpoint(address: IPAddress(isIPv6: isIPv6, in: bytes, at: 16), port: sixteen(bytes, ports)),
        destination: IPEndpoint(address: IPAddress(isIPv6: isIPv6, in: bytes, at: 16 + size), port: sixteen(bytes, ports + 2)))
    header.values = ByteRange(ports + 4, end)
    return .header(header)
}

/// A number of two bytes in network order.
private func sixteen(_ bytes: Span<UInt8>, _ i: Int) -> UInt16 { UInt16(bytes[i]) << 8 | UInt16(bytes[i + 1]) }

// MARK: Values

public enum ProxyValue: Equatable, Sendable, BitwiseCopyable {
    case absent
    /// A value that reaches beyond the end of them all.
    case broken
    /// No value is called so.
    case unknownName
    case bytes(ByteRange)
    case number(UInt32)
}

/// The value called `name`, as nginx names them in lower case: `alpn`, `authority`, `unique_id`, `netns`, `ssl`, or `0x` and a type in
/// hexadecimal; and of the sender's own TLS `ssl_version`, `ssl_cn`, `ssl_cipher`, `ssl_sig_alg`, `ssl_key_alg`, `ssl_verify`, `ssl_0x...`.
public func proxyValue(_ name: Span<UInt8>, in values: Span<UInt8>) -> ProxyValue {
    if name.count < 5 || !begins(name, "ssl_") {
        return find(typeOfValue(name), in: values, from: 0, to: values.count)
    }
    let found = find(0x20, in: values, from: 0, to: values.count)
    guard case .bytes(let ssl) = found else { return found }
    // A byte of flags and a number come before the values inside.
    if ssl.length < 5 { return .broken }
    let rest = name.extracting(4..<name.count)
    if isEqual(rest, "verify") {
        return .number(UInt32(sixteen(values, ssl.first + 1)) << 16 | UInt32(sixteen(values, ssl.first + 3)))
    }
    return find(typeOfTLSValue(rest), in: values, from: ssl.first + 5, to: ssl.end)
}

/// -1: no such name.
private func typeOfValue(_ name: Span<UInt8>) -> Int {
    if isEqual(name, "alpn") { return 0x01 }
    if isEqual(name, "authority") { return 0x02 }
    if isEqual(name, "unique_id") { return 0x05 }
    if isEqual(name, "ssl") { return 0x20 }
    if isEqual(name, "netns") { return 0x30 }
    return typeInHexadecimal(name)
}

private func typeOfTLSValue(_ name: Span<UInt8>) -> Int {
    if isEqual(name, "version") { return 0x21 }
    if isEqual(name, "cn") { return 0x22 }
    if isEqual(name, "cipher") { return 0x23 }
    if isEqual(name, "sig_alg") { return 0x24 }
    if isEqual(name, "key_alg") { return 0x25 }
    return typeInHexadecimal(name)
}

/// `0xae`, with any number of zeros before it.
private func typeInHexadecimal(_ name: Span<UInt8>) -> Int {
    if name.count < 3 || !begins(name, "0x") { return -1 }
    var type = 0
    for i in 2..<name.count {
        let digit = hexValue(name[i])
        type = type << 4 | Int(digit)
        if digit > 15 || type > 255 { return -1 }
    }
    return type
}

private func isEqual(_ name: Span<UInt8>, _ text: StaticString) -> Bool { name.count == text.utf8CodeUnitCount && begins(name, text) }

/// The first value of `type`: each is a byte of type, two of length and as many bytes.
private func find(_ type: Int, in values: Span<UInt8>, from start: Int, to end: Int) -> ProxyValue {
    if type < 0 { return .unknownName }
    var at = start
    while at < end {
        if end - at < 3 { return .broken }
        let first = at + 3
        let length = Int(sixteen(values, at + 1))
        if end - first < length { return .broken }
        if Int(values[at]) == type { return .bytes(ByteRange(first, first + length)) }
        at = first + length
    }
    return .absent
}
