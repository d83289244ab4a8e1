// What the fuzz targets share: failing loudly, bytes in memory of exactly their size, and a head written out to compare.

/// Ends the target when an invariant does not hold; the fuzzer keeps the input.
@inline(__always)
func check(_ holds: Bool, _ what: StaticString, line: UInt = #line) {
    if !holds { fatalError("\(what) (line \(line))") }
}

/// A copy in memory of exactly `count` bytes, so that the address sanitizer sees a read one byte beyond.
func withExactCopy<R>(_ start: UnsafePointer<UInt8>, _ count: Int, _ body: (Span<UInt8>) -> R) -> R {
    let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, count))
    defer { copy.deallocate() }
    copy.update(from: start, count: count)
    // Without a byte there is nothing to point at: an empty span.
    return body(UnsafeBufferPointer(start: copy, count: count).span)
}
