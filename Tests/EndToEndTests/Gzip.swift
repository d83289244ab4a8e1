// Owns gzip for tests: texts packed, and what a client received unpacked piece by piece, with its end looked at.

import CZlib
import Foundation

enum Gzip {
    /// `bytes` as one member.
    static func packed(_ bytes: [UInt8], level: Int32 = 6) -> [UInt8] {
        var packed = [UInt8](repeating: 0, count: czlib_gzip_bound(bytes.count))
        let count = czlib_gzip(bytes, bytes.count, &packed, packed.count, level)
        return Array(packed.prefix(count))
    }

    static func packed(_ text: String) -> [UInt8] { packed(Array(text.utf8)) }

    /// Unpacks what arrives.
    final class Reader {
        private let stream = czlib_new_inflater()
        private(set) var count = 0
        /// A member has come to its end, its checksum right, and nothing behind it.
        private(set) var isWhole = false
        private(set) var isBroken = false

        deinit { if let stream { czlib_free_inflater(stream) } }

        /// What `bytes` come to; a piece of it at a time goes to `sink`.
        func take(_ bytes: [UInt8], _ sink: ([UInt8]) -> Void) {
            guard let stream, !bytes.isEmpty else { return }
            var input = bytes
            input.withUnsafeMutableBufferPointer { input in
                stream.pointee.next_in = input.baseAddress
                stream.pointee.avail_in = UInt32(input.count)
                while stream.pointee.avail_in > 0, !isBroken {
                    if isWhole { isBroken = true }
                    var result = Z_OK
                    let piece = [UInt8](unsafeUninitializedCapacity: 64 << 10) { output, filled in
                        stream.pointee.next_out = output.baseAddress
                        stream.pointee.avail_out = UInt32(output.count)
                        result = inflate(stream, Z_SYNC_FLUSH)
                        filled = output.count - Int(stream.pointee.avail_out)
                    }
                    if result == Z_STREAM_END { isWhole = true } else if result != Z_OK, result != Z_BUF_ERROR { isBroken = true }
                    count += piece.count
                    sink(piece)
                    if piece.isEmpty, result != Z_STREAM_END { break }
                }
            }
        }
    }

    /// Nil: it is no whole member.
    static func unpacked(_ bytes: [UInt8]) -> String? {
        let reader = Reader()
        var all: [UInt8] = []
        reader.take(bytes) { all += $0 }
        return reader.isWhole && !reader.isBroken ? String(decoding: all, as: UTF8.self) : nil
    }
}
