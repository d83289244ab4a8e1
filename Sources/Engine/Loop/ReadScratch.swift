// The scratch that a worker reads into.
// Owned by Worker.swift, used by everything that runs in its turn.

import Bytes

/// The memory one read goes to: room for a head in front of the data and for the end of a chunk behind it.
struct ReadScratch: ~Copyable {
    static var headroom: Int { Limits.responseHeadBytesMax + 4096 }
    static var tail: Int { 64 }
    private let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: headroom + Limits.readBytes + tail)
    deinit { memory.deallocate() }
    /// Where reads begin.
    var data: UnsafeMutablePointer<UInt8> { memory + Self.headroom }
}
