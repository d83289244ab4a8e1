// Owns what a packed answer means: gzip, whole or not, unpacked to the text that an upstream meant.
// Called by the ledger. What is no gzip means nothing.

import CZlib

/// The text of one whole member of gzip with nothing behind it; nil: it is none.
func unpacked(_ packed: [UInt8]) -> [UInt8]? {
    guard let stream = czlib_new_inflater() else { return nil }
    defer { czlib_free_inflater(stream) }
    var input = packed
    var text: [UInt8] = []
    var result = Z_OK
    input.withUnsafeMutableBufferPointer { input in
        stream.pointee.next_in = input.baseAddress
        stream.pointee.avail_in = UInt32(input.count)
        while result == Z_OK {
            text += [UInt8](unsafeUninitializedCapacity: 16 << 10) { output, filled in
                stream.pointee.next_out = output.baseAddress
                stream.pointee.avail_out = UInt32(output.count)
                result = inflate(stream, Z_NO_FLUSH)
                filled = output.count - Int(stream.pointee.avail_out)
            }
        }
    }
    return result == Z_STREAM_END && stream.pointee.avail_in == 0 ? text : nil
}

extension ClientRecord {
    /// The body as the client understands it.
    var meantBody: [UInt8] {
        guard head?.field("content-encoding") == "gzip" else { return body }
        return unpacked(body) ?? Array("this is no gzip".utf8)
    }
}
