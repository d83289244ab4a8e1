// Dates in the forms that heads and logs want, formatted once a second.
// Owned by a worker. It knows no clock: the time is given.

import Bytes
import HTTPMessage

struct DateCache: ~Copyable {
    private let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 192)
    private var seconds: InlineArray<4, Int64> = .init(repeating: .min)

    deinit { memory.deallocate() }

    /// The Date field's line.
    @inline(__always)
    mutating func httpLine(_ realtimeNs: Int64) -> ByteView {
        let now = realtimeNs / 1_000_000_000
        if seconds[0] != now { makeHTTPLine(now) }
        // A constant: its copies need no call.
        let count = 37
        return ByteView(memory + 128, count)
    }

    @inline(never)
    private mutating func makeHTTPLine(_ now: Int64) {
        seconds[0] = now
        var line = ByteWriter(memory + 128, capacity: 64)
        line.append("Date: ")
        line.appendHTTPDate(now)
        line.append("\r\n")
        assert(line.count == 37)
    }

    /// `$time_local`.
    mutating func local(_ realtimeNs: Int64, _ offsetMinutes: Int) -> ByteView {
        let now = realtimeNs / 1_000_000_000
        if seconds[1] != now {
            seconds[1] = now
            var span = UnsafeMutableBufferPointer(start: memory + 32, count: 32).mutableSpan
            _ = writeLocalTime(now, offsetMinutes: offsetMinutes, into: &span)
        }
        return ByteView(memory + 32, localTimeBytes)
    }

    /// `$time_iso8601`.
    mutating func iso8601(_ realtimeNs: Int64, _ offsetMinutes: Int) -> ByteView {
        let now = realtimeNs / 1_000_000_000
        if seconds[2] != now {
            seconds[2] = now
            var span = UnsafeMutableBufferPointer(start: memory + 64, count: 32).mutableSpan
            _ = writeISO8601(now, offsetMinutes: offsetMinutes, into: &span)
        }
        return ByteView(memory + 64, iso8601Bytes)
    }

    /// For the error log.
    mutating func errorLog(_ realtimeNs: Int64, _ offsetMinutes: Int) -> ByteView {
        let now = realtimeNs / 1_000_000_000
        if seconds[3] != now {
            seconds[3] = now
            var span = UnsafeMutableBufferPointer(start: memory + 96, count: 32).mutableSpan
            _ = writeErrorLogTime(now, offsetMinutes: offsetMinutes, into: &span)
        }
        return ByteView(memory + 96, errorLogTimeBytes)
    }
}
