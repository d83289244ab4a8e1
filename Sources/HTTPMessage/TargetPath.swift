// The path of a request as locations are matched against it: decoded, without dot segments, slashes merged.
// Called by the engine for paths flagged complex. It must not look at queries.

/// Normalises a path: decodes "%XX", resolves "." and "..", and makes one slash of several when `mergeSlashes`.
///
/// `raw` is a path as received; a "?" or "#" in it ends it, and a slash is put before a path that has none. A decoded "/" or "."
/// counts like a literal one, a decoded "?", "#" or "%" is text, as in nginx.
/// - `output`: at least `raw.count + 1` bytes, not overlapping `raw`.
/// - Returns the bytes written, at least 1; nil for a malformed or zero "%XX" and for a path that leaves the root (status 400).
public func normalizePath(_ raw: Span<UInt8>, mergeSlashes: Bool, into output: inout MutableSpan<UInt8>) -> Int? {
    precondition(output.count > raw.count)
    output[0] = 0x2F
    var n = 1
    // The first byte of the segment being written; the one before it is a slash.
    var segment = 1
    var i = raw.count > 0 && raw[0] == 0x2F ? 1 : 0
    while i < raw.count {
        var c = raw[i]
        i &+= 1
        if c == 0x25 {
            guard let decoded = decodedByte(raw, at: i), decoded != 0 else { return nil }
            i &+= 2
            c = decoded
        } else if c == 0x3F || c == 0x23 {
            break
        }
        if c != 0x2F {
            output[n] = c
            n &+= 1
            continue
        }
        guard let kept = endSegment(&output, segment, n) else { return nil }
        if kept != n {
            n = kept
        } else if n > segment || !mergeSlashes {
            output[n] = 0x2F
            n &+= 1
        }
        segment = n
    }
    return endSegment(&output, segment, n)
}

/// Decodes a path that somebody other than the client has named, and that is taken as it is: "#" is text, nothing is resolved.
///
/// Who puts names of others into such a path must not be led out of its folder: nil for a segment "..", and for a zero byte.
/// - `output`: at least `raw.count` bytes, not overlapping `raw`.
public func unescapePath(_ raw: Span<UInt8>, into output: inout MutableSpan<UInt8>) -> Int? {
    guard let n = unescape(raw, into: &output) else { return nil }
    var segment = 0
    for i in 0...n {
        if i < n, output[i] == 0 { return nil }
        guard i == n || output[i] == 0x2F else { continue }
        if i &- segment == 2, output[segment] == 0x2E, output[segment &+ 1] == 0x2E { return nil }
        segment = i &+ 1
    }
    return n
}

/// The count that is left of the output when the segment from `segment` to `n` ends: less than `n` when it was a dot segment,
/// so that the output ends in a slash again; nil above the root.
@inline(__always)
private func endSegment(_ output: inout MutableSpan<UInt8>, _ segment: Int, _ n: Int) -> Int? {
    let length = n &- segment
    if length == 0 || length > 2 || output[segment] != 0x2E { return n }
    if length == 1 { return segment }
    if output[n &- 1] != 0x2E { return n }
    var slash = segment &- 2
    while slash >= 0, output[slash] != 0x2F { slash &-= 1 }
    return slash < 0 ? nil : slash &+ 1
}

/// The byte whose two hexadecimal digits begin at `i`.
@inline(__always)
func decodedByte(_ raw: Span<UInt8>, at i: Int) -> UInt8? {
    if i &+ 1 >= raw.count { return nil }
    let high = hexValue(raw[i])
    let low = hexValue(raw[i &+ 1])
    return high > 15 || low > 15 ? nil : high << 4 | low
}
