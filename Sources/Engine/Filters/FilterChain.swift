// The body of an answer on its way through filters: gunzip, charset, gzip, in this order, then framed and sent.
// Called by whoever sends bodies, where `x.filter` is set. What finds no room or no time waits unfiltered.

import Bytes
import CLinux
import CZlib
import HTTPMessage

/// The filters that an answer passes. Another filter takes its place in this order.
struct FilterStages: OptionSet, BitwiseCopyable {
    let rawValue: UInt8
    static let gunzip = FilterStages(rawValue: 1)
    static let charset = FilterStages(rawValue: 2)
    static let gzip = FilterStages(rawValue: 4)
}

/// The filters of one answer, between the pieces of its body.
struct FilterChain: BitwiseCopyable {
    var handle = Handle.none
    var stages: FilterStages = []
    var inflater: UnsafeMutablePointer<z_stream>?
    var deflater: UnsafeMutablePointer<z_stream>?
    var isSmall = false
    var recoder: CharsetRecoder?
    /// What has been given and not been taken yet.
    var kept = Buffer.none
    var keptFrom = 0
    var keptTo = 0
    /// All of the body has been given.
    var isWhole = false
    /// The inflater has more to say of what it has taken.
    var hasMore = false
    /// A member of gzip has begun and not ended.
    var isInMember = true
    /// The deflater holds something back, and when the upstream's silence has lasted, it is asked for it.
    var isUnflushed = false
    var awaitsFlush = false
    /// Into and out of gzip, for `$gzip_ratio`.
    var bytesIn: Int64 = 0
    var bytesOut: Int64 = 0

    var hasKept: Bool { keptTo > keptFrom }
    /// Nothing is left to be done until more is given.
    var isIdle: Bool { !hasKept && !hasMore && !isWhole }
}

/// How a pass through the filters ended, where it ended well.
private enum Progress {
    /// All that was given is taken.
    case idle
    /// The client takes no more, or the turn's share is used up: the exchange is called again.
    case waits
    /// The last byte is with the client's stream.
    case done
    /// The exchange is over.
    case ended
}

extension Worker {
    // MARK: Giving

    /// Gives a piece of the body to the filters, which must have taken all before. `head` leaves in front of what comes of it.
    /// False: the caller has nothing more to do, because the answer is whole, or waits, or the exchange is over.
    func filter(_ x: Ref<Exchange>, _ f: Ref<FilterChain>, _ bytes: ByteView, head: ByteView, isLast: Bool) -> Bool {
        guard let hub = filterHub else { return false }
        f.isWhole = isLast
        f.awaitsFlush = false
        hub.head = head
        var rest = bytes
        let progress = run(x, f, hub, &rest)
        if progress == .ended { return false }
        if !hub.head.isEmpty, !emitSink(x, f, hub, isLast: false) { return false }
        if progress == .done { return filterDone(x) }
        if !rest.isEmpty {
            f.kept = buffers.take(rest.count)
            f.kept.start.update(from: rest.start, count: rest.count)
            f.keptFrom = 0
            f.keptTo = rest.count
        }
        return f.isIdle
    }

    /// Goes on with what waits. True: all has been taken, and more may be given.
    func resumeFilters(_ x: Ref<Exchange>, _ f: Ref<FilterChain>) -> Bool {
        if f.isIdle { return true }
        guard let hub = filterHub else { return false }
        hub.head = .empty
        var rest = ByteView(f.kept.start + f.keptFrom, f.keptTo - f.keptFrom)
        let progress = run(x, f, hub, &rest)
        if progress == .ended { return false }
        f.keptFrom = f.keptTo - rest.count
        if !f.hasKept {
            buffers.give(f.kept)
            f.kept = .none
            f.keptFrom = 0
            f.keptTo = 0
        }
        if progress == .done { return filterDone(x) }
        return f.isIdle
    }

    /// What gzip holds back leaves: the upstream pauses, and what it said is not to wait for what it says next.
    func flushFilters(_ x: Ref<Exchange>, _ f: Ref<FilterChain>) {
        f.awaitsFlush = false
        guard f.isUnflushed, f.isIdle, let hub = filterHub, hasRoomForFilters(x) else { return }
        hub.head = .empty
        hub.count = 0
        if deflate(x, f, hub, .empty, Z_SYNC_FLUSH) { _ = emitSink(x, f, hub, isLast: false) }
    }

    private func filterDone(_ x: Ref<Exchange>) -> Bool {
        if x.file >= 0 {
            kernel.close(x.file)
            x.file = -1
        }
        if x.lastChunkLater {
            out.value.reset()
            appendLastChunk(out, x)
            guard emit(x, out.view) else { return false }
        }
        if !x.client.stream.hasPending { timers.cancel(x.client.timer) }
        answerDone(x)
        return false
    }

    /// Whether more of the body may be filtered now: what comes of it is bounded by what a round makes.
    private func hasRoomForFilters(_ x: Ref<Exchange>) -> Bool {
        if x.phase == .receiving, x.upstream != nil { return clientHasRoom(x) }
        return x.responseSpool.isEmpty && x.client.stream.pendingCount < Limits.filterPieceBytes
    }

    // MARK: Passing

    private func run(_ x: Ref<Exchange>, _ f: Ref<FilterChain>, _ hub: FilterHub, _ rest: inout ByteView) -> Progress {
        var budget = Limits.filterBytesPerTurn
        hub.count = 0
        while !rest.isEmpty || f.hasMore {
            if budget <= 0 || !hasRoomForFilters(x) {
                if hub.count > 0, !emitSink(x, f, hub, isLast: false) { return .ended }
                // A client without room calls when it has some; until then nothing is asked of the upstream.
                if hasRoomForFilters(x) { post(x) } else if let u = x.upstream { timers.cancel(u.timer) }
                return .waits
            }
            let before = rest.count
            if f.stages.contains(.gunzip) {
                guard let made = inflate(x, f, hub, &rest), pass(x, f, hub, made) else { return .ended }
                budget -= made.count
            } else {
                let piece = rest.slice(0, Limits.filterPieceBytes)
                rest = rest.slice(piece.count)
                guard pass(x, f, hub, piece) else { return .ended }
            }
            budget -= before - rest.count
        }
        if !f.isWhole { return hub.count == 0 || emitSink(x, f, hub, isLast: false) ? .idle : .ended }
        if f.stages.contains(.gunzip), f.isInMember {
            logExchange(.error, "the gzip data ends too early", x)
            fail(x, x.file >= 0 ? .fileFailed : .upstreamEndedEarly)
            return .ended
        }
        if f.stages.contains(.gzip), !deflate(x, f, hub, .empty, Z_FINISH) { return .ended }
        giveStates(f)
        return emitSink(x, f, hub, isLast: true) ? .done : .ended
    }

    /// Through the filters that follow gunzip. False: the exchange is over.
    private func pass(_ x: Ref<Exchange>, _ f: Ref<FilterChain>, _ hub: FilterHub, _ bytes: ByteView) -> Bool {
        guard f.stages.contains(.charset) else { return compress(x, f, hub, bytes) }
        var offset = 0
        while offset < bytes.count {
            hub.text.value.reset()
            f.value.recoder?.recode(bytes, at: &offset, into: hub.text)
            if !compress(x, f, hub, hub.text.view) { return false }
        }
        return true
    }

    private func compress(_ x: Ref<Exchange>, _ f: Ref<FilterChain>, _ hub: FilterHub, _ bytes: ByteView) -> Bool {
        if bytes.isEmpty { return true }
        if f.stages.contains(.gzip) { return deflate(x, f, hub, bytes, Z_NO_FLUSH) }
        var rest = bytes
        while !rest.isEmpty {
            let n = min(rest.count, FilterHub.sinkBytes - hub.count)
            (hub.sink + hub.count).update(from: rest.start, count: n)
            hub.count += n
            rest = rest.slice(n)
            if hub.count == FilterHub.sinkBytes, !emitSink(x, f, hub, isLast: false) { return false }
        }
        return true
    }

    /// As much of `rest` as one piece of plain text needs. Nil: it is no gzip, and the exchange is over.
    private func inflate(_ x: Ref<Exchange>, _ f: Ref<FilterChain>, _ hub: FilterHub, _ rest: inout ByteView) -> ByteView? {
        guard let z = f.inflater else { return nil }
        z.pointee.next_out = hub.plain
        z.pointee.avail_out = UInt32(Limits.filterPieceBytes)
        z.pointee.next_in = UnsafeMutablePointer(mutating: rest.start)
        z.pointee.avail_in = UInt32(rest.count)
        var result = Z_OK
        while z.pointee.avail_out > 0, z.pointee.avail_in > 0 || f.hasMore {
            f.hasMore = false
            result = CZlib.inflate(z, Z_SYNC_FLUSH)
            f.isInMember = result != Z_STREAM_END
            if result == Z_STREAM_END {
                // Another member may follow (RFC 1952 section 2.2).
                inflateReset(z)
                continue
            }
            if result != Z_OK { break }
        }
        // With its output full it may have more to say without having more to read.
        f.hasMore = z.pointee.avail_out == 0 && f.isInMember
        rest = rest.slice(rest.count - Int(z.pointee.avail_in))
        if result == Z_BUF_ERROR || result == Z_OK || result == Z_STREAM_END {
            return ByteView(hub.plain, Limits.filterPieceBytes - Int(z.pointee.avail_out))
        }
        logExchange(.error, "inflate() failed: the body is not what its Content-Encoding says", x)
        fail(x, x.file >= 0 ? .fileFailed : .upstreamBadBody)
        return nil
    }

    private func deflate(_ x: Ref<Exchange>, _ f: Ref<FilterChain>, _ hub: FilterHub, _ bytes: ByteView, _ mode: Int32) -> Bool {
        guard let z = f.deflater else { return false }
        f.bytesIn += Int64(bytes.count)
        f.isUnflushed = mode == Z_NO_FLUSH
        z.pointee.next_in = UnsafeMutablePointer(mutating: bytes.start)
        z.pointee.avail_in = UInt32(bytes.count)
        while true {
            let room = FilterHub.sinkBytes - hub.count
            z.pointee.next_out = hub.sink + hub.count
            z.pointee.avail_out = UInt32(room)
            let result = CZlib.deflate(z, mode)
            let made = room - Int(z.pointee.avail_out)
            hub.count += made
            f.bytesOut += Int64(made)
            if result < 0, result != Z_BUF_ERROR {
                logExchange(.alert, "deflate() failed", x)
                fail(x, .noMemory)
                return false
            }
            if z.pointee.avail_out > 0 { return true }
            if !emitSink(x, f, hub, isLast: false) { return false }
        }
    }

    // MARK: Sending

    /// What has gathered goes to the client, framed, behind the head if that has not gone.
    private func emitSink(_ x: Ref<Exchange>, _ f: Ref<FilterChain>, _ hub: FilterHub, isLast: Bool) -> Bool {
        let payload = ByteView(hub.sink, hub.count)
        let head = hub.head
        hub.count = 0
        hub.head = .empty
        return emit(x, head, payload: payload, isLast: isLast)
    }
}
