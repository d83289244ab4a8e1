// Where the bodies that pass filters come from: an upstream as it speaks, or a file in pieces. And when an upstream falls silent.
// Called by ResponseReader.swift and StaticFile.swift in place of what they do without filters.

import Bytes
import HTTPMessage

extension Worker {
    // MARK: An upstream's response

    /// Payload of the response. False: there is no more to be read now.
    @inline(never)
    func filterResponse(_ x: Ref<Exchange>, _ f: Ref<FilterChain>, _ payload: ByteView, _ head: ByteView) -> Bool {
        // The upstream is released: what is left is between us and the client.
        if x.response.isComplete { x.phase = .answering }
        return filter(x, f, payload, head: head, isLast: x.response.isComplete)
    }

    /// Nothing more of the response has come for now. A stream that is not to be buffered leaves at once, as far as it goes; of
    /// another one it is seen first whether the pause lasts, since each time costs some of what gzip gains.
    @inline(never)
    func upstreamPaused(_ x: Ref<Exchange>, _ f: Ref<FilterChain>, _ u: Ref<UpstreamConnection>) {
        f.awaitsFlush = false
        timers.set(u.timer, at: nowMs + x.location.proxy.readTimeoutMs)
        if !f.isUnflushed || u.stream.isReadable { return }
        if !x.buffersResponse || x.isEventStream { return flushFilters(x, f) }
        f.awaitsFlush = true
        timers.set(u.timer, at: nowMs + Limits.filterFlushMs)
    }

    /// The pause has lasted.
    func pauseLasts(_ x: Ref<Exchange>, _ f: Ref<FilterChain>, _ u: Ref<UpstreamConnection>) {
        timers.set(u.timer, at: nowMs + max(0, x.location.proxy.readTimeoutMs - Limits.filterFlushMs))
        flushFilters(x, f)
    }

    // MARK: A file

    /// Sends as much of the file as the client takes and the turn allows.
    @inline(never)
    func filterFile(_ x: Ref<Exchange>, _ f: Ref<FilterChain>, head: ByteView) {
        var head = head
        var budget = Limits.bytesPerTurn
        while resumeFilters(x, f) {
            if budget <= 0 { return post(x) }
            let want = Int(min(x.fileEnd - x.fileOffset, Int64(Limits.filterPieceBytes)))
            ownInput(x.client)
            let n = want == 0 ? 0 : kernel.readAt(x.file, scratch.data, want, offset: x.fileOffset)
            if n < want, n <= 0 {
                logExchange(.alert, "the file was cut while it was sent", x)
                return fail(x, .fileFailed)
            }
            x.fileOffset += Int64(n)
            budget -= n
            guard filter(x, f, ByteView(scratch.data, n), head: head, isLast: x.fileOffset == x.fileEnd) else { return }
            head = .empty
            if x.client.stream.pendingCount >= Limits.filterPieceBytes { return waitForClient(x) }
        }
    }
}
