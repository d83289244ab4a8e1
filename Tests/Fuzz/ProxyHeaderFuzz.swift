// The parser of PROXY headers: a header lies within the bytes, what follows changes nothing, cuts need more, and values lie in theirs.
import HTTPMessage

private let names: [[UInt8]] = ["alpn", "ssl", "ssl_cn", "ssl_verify", "0xae", "ssl_0x21", "none"].map { Array($0.utf8) }

private func follow(_ header: ProxyHeader, _ bytes: Span<UInt8>) {
    check(header.byteCount >= 15 && header.byteCount <= bytes.count, "a header lies within the bytes")
    check(header.values.end <= header.byteCount, "values lie in the header")
    check(header.addresses != nil || header.values.isEmpty, "no values without addresses")
    if let addresses = header.addresses {
        check(addresses.source.address.isIPv6 == addresses.destination.address.isIPv6, "both addresses are of a family")
    }
    let values = bytes.extracting(header.values.first..<header.values.end)
    for name in names {
        if case .bytes(let range) = proxyValue(name.span, in: values) { check(range.end <= values.count, "a value lies in the values") }
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzProxyHeader(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let whole = withExactCopy(start, count) { bytes in
        let result = parseProxyHeader(bytes, bytesMax: 1024)
        if case .header(let header) = result { follow(header, bytes) }
        return result
    }
    for cut in 0..<count {
        let part = withExactCopy(start, cut) { parseProxyHeader($0, bytesMax: 1024) }
        if part == .needMore { continue }
        check(part == whole, "what follows changes nothing")
        break
    }
    withExactCopy(start, count) { bytes in
        var end = bytes.count
        while let (_, from) = lastForwarded(in: bytes, before: end) {
            check(from < end, "a list ends")
            end = from
        }
        if let address = parseIPAddress(bytes) {
            check(parseIPEndpoint(bytes)?.address == address, "an address is an endpoint without a port")
        }
    }
    return 0
}
