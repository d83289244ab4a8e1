// Access log lines: composed when an exchange ends, written at the end of the turn in one call for each file.
// Called by `finish` and by the turn. A line that cannot be written is counted and lost; nothing waits for a disk's mercy.

import Bytes
import CLinux
import CZlib
import HTTPMessage

/// Lines that wait for the end of the turn, a little longer under load, or for `buffer=` and `flush=`.
struct LogBuffer: BitwiseCopyable {
    var file: LogFile
    var bytes: Buffer
    var count = 0
    /// When the lines are due; 0: at the end of this turn, or, if held, whenever the buffer is full.
    var dueMs: Int64 = 0
    /// When the file was last written: a file that many turns of one millisecond have lines for is not written by each.
    var writtenMs: Int64 = 0
    /// `buffer=` holds the lines back.
    var isHeld = false
    var capacity = 0
    var gzipLevel: Int32 = 0
}

/// A worker's log buffers: one for each file it writes.
struct LogBuffers: ~Copyable {
    static var most: Int { 64 }
    private let slots = UnsafeMutablePointer<LogBuffer>.allocate(capacity: most)
    private(set) var count = 0
    /// Something waits for the end of the turn.
    var hasLines = false
    /// When the timer of lines that wait longer is set for; 0: it is not.
    var timerMs: Int64 = 0

    deinit { slots.deallocate() }

    subscript(_ i: Int) -> Ref<LogBuffer> { Ref(slots + i) }

    /// The buffer of `file`; nil when there are too many files.
    mutating func find(_ file: LogFile) -> Ref<LogBuffer>? {
        for i in 0..<count where slots[i].file == file { return Ref(slots + i) }
        if count == Self.most { return nil }
        (slots + count).initialize(to: LogBuffer(file: file, bytes: .none))
        count += 1
        return Ref(slots + count - 1)
    }

    mutating func removeAll() { count = 0 }
}

extension Worker {
    func writeAccessLogs(_ x: Ref<Exchange>) {
        let specs = x.location.accessLogs
        for i in 0..<specs.count {
            let spec = specs[i]
            if spec.hasCondition {
                let value = expand(spec.condition, for: x, keep: false)
                if value.isEmpty || (value.count == 1 && value[0] == 0x30) { continue }
            }
            out.value.reset()
            appendLogLine(spec, x)
            out.value.append(0x0A)
            if out.overflowed { continue }
            if spec.file >= 0 {
                queueLine(x.root.logFiles[Int(spec.file)].value, spec, out.view)
            } else {
                writeToComputedFile(spec, x, out.view)
            }
        }
    }

    @inline(__always)
    private func appendLogLine(_ spec: Ref<AccessLogSpec>, _ x: Ref<Exchange>) {
        let parts = spec.format.parts
        let escaping = spec.escaping
        let w = out
        for i in 0..<parts.count {
            let part = parts[i]
            w.value.append(part.literal)
            let value: ByteView?
            switch part.variable.kind {
            case .none: continue
            // What nearly every line has. The first four are never absent and need no escape in any format.
            case .remoteAddr:
                x.client.address.append(to: w)
                continue
            case .timeLocal:
                w.value.append(dates.local(realtimeNs, parameters.utcOffsetMinutes))
                continue
            case .status:
                w.value.append(decimal: UInt64(x.status), minimumDigits: 3)
                continue
            case .bodyBytesSent:
                w.value.append(decimal: UInt64(x.bodySentToClient))
                continue
            case .request: value = x.requestLine
            case .httpReferer: value = joinedRequestFields(.referer, x, ", ")
            case .httpUserAgent: value = joinedRequestFields(.userAgent, x, ", ")
            case .remoteUser where x.head.fields.presentNames & HeaderName.authorization.bit == 0: value = nil
            default: value = self.value(of: part.variable, for: x)
            }
            switch escaping {
            case .none: if let value { w.value.append(value) }
            case .log: if let value { appendLogEscaped(value) } else { w.value.append(0x2D) }
            case .json: if let value { appendJSONEscaped(value) }
            }
        }
    }

    /// `escape=default`: quotes, backslashes, controls and bytes above 126 as \xXX.
    @inline(__always)
    private func appendLogEscaped(_ text: ByteView) {
        if isPlain(text) { return out.value.append(text) }
        var run = 0
        for i in 0..<text.count {
            let c = text[i]
            if c >= 0x20, c < 0x7F, c != 0x22, c != 0x5C { continue }
            out.value.append(text.slice(run, i - run))
            run = i + 1
            out.value.append("\\x")
            out.value.append(upperHex(c >> 4))
            out.value.append(upperHex(c & 15))
        }
        out.value.append(text.slice(run))
    }

    /// Whether none of the bytes needs an escape. What the last whole word leaves over is looked at together with bytes before it.
    @inline(__always)
    private func isPlain(_ text: ByteView) -> Bool {
        let count = text.count
        if count >= 8 {
            var i = 0
            var marks = notPlain(text.word(count &- 8))
            while i &+ 8 < count {
                marks |= notPlain(text.word(i))
                i &+= 8
            }
            return marks == 0
        }
        let bytes = UnsafeRawPointer(text.start)
        if count >= 4 {
            let last = bytes.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
            return notPlain(UInt64(bytes.loadUnaligned(as: UInt32.self)) | UInt64(last) &<< 32) == 0
        }
        if count == 0 { return true }
        let ends = UInt64(text[0]) | UInt64(text[count &- 1]) &<< 8
        return notPlain(ends | UInt64(text[count &>> 1]) &<< 16 | 0x2020_2020_2000_0000) == 0
    }

    /// Not 0 when one of eight bytes needs an escape. Each term sets the top bit of a byte for some values, given that no byte has
    /// it already; a borrow into the next byte comes from one that is marked itself.
    @inline(__always)
    private func notPlain(_ w: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let belowSpace = w &- ones &* 0x20
        let delete = w &+ ones
        let quote = (w ^ ones &* 0x22) &- ones
        let backslash = (w ^ ones &* 0x5C) &- ones
        return (w | belowSpace | delete | quote | backslash) & (ones &* 0x80)
    }

    private func appendJSONEscaped(_ text: ByteView) {
        var run = 0
        for i in 0..<text.count {
            let c = text[i]
            if c >= 0x20, c != 0x22, c != 0x5C { continue }
            out.value.append(text.slice(run, i - run))
            run = i + 1
            switch c {
            case 0x22: out.value.append("\\\"")
            case 0x5C: out.value.append("\\\\")
            case 0x0A: out.value.append("\\n")
            case 0x0D: out.value.append("\\r")
            case 0x09: out.value.append("\\t")
            case 0x08: out.value.append("\\b")
            case 0x0C: out.value.append("\\f")
            default:
                out.value.append("\\u00")
                out.value.append(upperHex(c >> 4))
                out.value.append(upperHex(c & 15))
            }
        }
        out.value.append(text.slice(run))
    }

    private func upperHex(_ n: UInt8) -> UInt8 { n < 10 ? 0x30 + n : 0x37 + n }

    // MARK: Buffers

    @inline(__always)
    private func queueLine(_ file: LogFile, _ spec: Ref<AccessLogSpec>, _ line: ByteView) {
        guard let buffer = logs.find(file) else { return writeLines(file, line, gzipLevel: spec.gzipLevel) }
        if buffer.bytes.isNone {
            buffer.isHeld = spec.bufferBytes > 0
            buffer.capacity = buffer.isHeld ? min(spec.bufferBytes, BufferPool.largest) : Limits.logBufferBytes
            buffer.bytes = buffers.take(buffer.capacity)
            buffer.count = 0
            buffer.gzipLevel = spec.gzipLevel
            buffer.dueMs = spec.flushMs > 0 ? nowMs + spec.flushMs : 0
        }
        if buffer.count == 0, !buffer.isHeld { buffer.dueMs = buffer.writtenMs == nowMs ? nowMs + Limits.logLagMs : 0 }
        if buffer.count + line.count > buffer.capacity {
            flushLog(buffer)
            if line.count > buffer.capacity { return writeLines(file, line, gzipLevel: spec.gzipLevel) }
        }
        (buffer.bytes.start + buffer.count).update(from: line.start, count: line.count)
        buffer.count += line.count
        logs.hasLines = true
    }

    private func flushLog(_ buffer: Ref<LogBuffer>) {
        if buffer.count > 0 { writeLines(buffer.file, ByteView(buffer.bytes.start, buffer.count), gzipLevel: buffer.gzipLevel) }
        buffer.count = 0
        buffer.writtenMs = nowMs
    }

    /// Lines that leave together: as they are, or as one gzip member, which may follow others in a file (RFC 1952 section 2.2).
    private func writeLines(_ file: LogFile, _ lines: ByteView, gzipLevel: Int32) {
        if gzipLevel == 0 { return write(lines, to: file) }
        let memory = buffers.take(min(czlib_gzip_bound(lines.count), BufferPool.largest))
        let count = czlib_gzip(lines.start, lines.count, memory.start, memory.capacity, gzipLevel)
        if count > 0 { write(ByteView(memory.start, count), to: file) } else { file.countLost() }
        buffers.give(memory)
    }

    private func write(_ bytes: ByteView, to file: LogFile) {
        let fd = file.descriptor
        if fd < 0 { return file.countLost() }
        if kernel.write(fd, bytes.start, bytes.count) != bytes.count { file.countLost() }
    }

    /// Writes what need not wait. Returns when the rest is due, if the timer has to be set for it.
    @inline(__always)
    func flushTurnLogs() -> Int64? { logs.hasLines ? flushLines() : nil }

    private func flushLines() -> Int64? {
        logs.hasLines = false
        var due = Int64.max
        for i in 0..<logs.count {
            let buffer = logs[i]
            if buffer.count == 0 { continue }
            if buffer.dueMs > 0 {
                due = min(due, buffer.dueMs)
            } else if !buffer.isHeld {
                flushLog(buffer)
            }
        }
        if due == .max || due == logs.timerMs { return nil }
        logs.timerMs = due
        return due
    }

    func flushDueLogs() {
        logs.timerMs = 0
        for i in 0..<logs.count {
            let buffer = logs[i]
            if buffer.dueMs > 0, buffer.dueMs <= nowMs {
                flushLog(buffer)
                guard buffer.isHeld else { continue }
                buffers.give(buffer.bytes)
                buffer.bytes = .none
            } else if buffer.count > 0 {
                logs.hasLines = true
            }
        }
    }

    /// Writes everything and forgets the files: before a snapshot that owns some of them goes, and at the end.
    func flushAllLogs() {
        for i in 0..<logs.count {
            flushLog(logs[i])
            buffers.give(logs[i].bytes)
        }
        logs.removeAll()
        logs.hasLines = false
    }

    /// A path with variables: opened for this line alone.
    private func writeToComputedFile(_ spec: Ref<AccessLogSpec>, _ x: Ref<Exchange>, _ line: ByteView) {
        let path = copiedExpansion(spec.path, x)
        if path.isEmpty || path.firstIndex(of: 0) != nil || path.count > 4000 { return }
        let fd = withUnsafeTemporaryAllocation(of: CChar.self, capacity: path.count + 1) { text -> Int32 in
            for i in 0..<path.count { text[i] = CChar(bitPattern: path[i]) }
            text[path.count] = 0
            guard let base = text.baseAddress else { return -1 }
            return kernel.open(base, flags: O_WRONLY | O_CREAT | O_APPEND, mode: 0o644)
        }
        if fd < 0 { return logExchange(.crit, "open() failed", x, detail: path, errno: -fd) }
        _ = kernel.write(fd, line.start, line.count)
        kernel.close(fd)
    }
}
