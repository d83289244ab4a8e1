// Server-side includes as the first filter of an answer: takes a body piece by piece, and sends on what comes of it, in order.
// Called by whoever sends bodies, where `x.page` is set. While an include is on its way the source waits; nothing is kept without bound.

import Bytes
import HTTPMessage

/// What the pages of a worker share: the memory that a piece is sent from, with room around it for a head and the framing.
final class SSIHub {
    static var sinkBytes: Int { Limits.ssiPieceBytes }
    private let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: ReadScratch.headroom + sinkBytes + ReadScratch.tail)
    let sink: UnsafeMutablePointer<UInt8>
    init() { sink = memory + ReadScratch.headroom }
    deinit { memory.deallocate() }
}

extension Worker {
    // MARK: The head

    /// Composes the head of an answer whose location has pages.
    @inline(never)
    func composePage(_ x: Ref<Exchange>, _ answer: AnswerHead, upstream: ByteView?) {
        var answer = answer
        beginPage(x, &answer, upstream)
        if let filters = x.location.filters { composeFiltered(x, filters, answer, upstream: upstream) } else { compose(x, answer, upstream: upstream) }
    }

    /// Decides whether the body of an answer is a page, and takes from its head what is not known of one.
    private func beginPage(_ x: Ref<Exchange>, _ answer: inout AnswerHead, _ upstream: ByteView?) {
        if x.page != nil { dropPage(x) }
        let settings = x.location.ssi
        let status = x.errorStatus != 0 ? x.errorStatus : answer.status
        if status < 200 || status == 204 || status == 304 || x.method == .head || x.head.method == .head || answer.contentLength == 0 { return }
        guard isPageType(settings, answer.contentType), !answer.isGzip else { return }
        // Nobody reads commands in a coded body.
        if upstream != nil, x.upstreamHead.fields.presentNames & HeaderName.contentEncoding.bit != 0 { return }
        var outer = x.inner?.parent
        while let page = outer, page.page == nil { outer = page.inner?.parent }
        let variables = outer?.page?._withUnsafeGuaranteedRef { $0.variables } ?? SSIVariables()
        x.page = Unmanaged.passRetained(SSIPage(settings, variables: variables))
        if ssiHub == nil { ssiHub = SSIHub() }
        answer.contentLength = -1
        answer.acceptRanges = false
        answer.etag = .empty
        if !settings.keepsLastModified { answer.lastModified = -1 }
    }

    func isPageType(_ settings: SSISettings, _ contentType: ByteView) -> Bool {
        let type = contentType.slice(0, contentType.firstIndex(of: 0x3B) ?? contentType.count).trimmed
        return settings.types.contains(type)
    }

    /// Fields of an upstream that do not hold for a page.
    func fieldsReplacedByPage(_ x: Ref<Exchange>) -> UInt64 {
        if x.page == nil { return 0 }
        return HeaderName.acceptRanges.bit | HeaderName.etag.bit | (x.location.ssi.keepsLastModified ? 0 : HeaderName.lastModified.bit)
    }

    @inline(never)
    func dropPage(_ x: Ref<Exchange>) {
        x.page?.release()
        x.page = nil
    }

    // MARK: Giving

    /// A piece of the body. `head` leaves in front of what comes of it. False: there is nothing more to be given now, because the page
    /// waits or is done, or the exchange is over.
    @inline(never)
    func givePage(_ x: Ref<Exchange>, _ bytes: ByteView, head: ByteView, isLast: Bool) -> Bool {
        guard let page = x.page?.takeUnretainedValue() else { return false }
        if !head.isEmpty { page.head = Array(head.buffer) }
        page.give(bytes)
        page.isWhole = isLast
        if isLast, x.upstream == nil { x.phase = .answering }
        return resumePage(x)
    }

    /// Goes on with what waits. True: more may be given.
    @inline(never)
    func resumePage(_ x: Ref<Exchange>) -> Bool {
        guard let page = x.page?.takeUnretainedValue() else { return false }
        let handle = x.handle
        var rounds = Limits.ssiRoundsPerTurn
        while exchanges.find(handle) != nil, x.phase != .finished {
            if let f = x.filter, !resumeFilters(x, f) { return false }
            if !hasRoomForPage(x) {
                if let u = x.upstream { timers.cancel(u.timer) }
                return false
            }
            if rounds == 0 {
                post(x)
                return false
            }
            rounds -= 1
            if let request = page.awaited, request.isOver {
                guard awaitedCame(x, page, request) else { return false }
                continue
            }
            switch sendOutput(x, page) {
            case .sent: continue
            case .ended: return false
            case .nothing: break
            }
            if page.mayScan {
                scan(x, page)
                continue
            }
            if page.mayEnd {
                endScan(page)
                continue
            }
            if page.isDone {
                _ = sendPiece(x, page, 0, isLast: true)
                return false
            }
            if let u = x.upstream, !page.isHungry { timers.cancel(u.timer) }
            return page.isHungry
        }
        return false
    }

    private func hasRoomForPage(_ x: Ref<Exchange>) -> Bool {
        if x.phase == .receiving, x.upstream != nil { return clientHasRoom(x) }
        return x.responseSpool.isEmpty && x.client.stream.pendingCount < Limits.ssiPieceBytes
    }

    // MARK: Sending

    private enum Sent { case sent, nothing, ended }

    /// A piece of the first output.
    private func sendOutput(_ x: Ref<Exchange>, _ page: SSIPage) -> Sent {
        guard let hub = ssiHub, let first = page.first else { return .nothing }
        switch first {
        case .bytes(let bytes):
            let n = min(SSIHub.sinkBytes, bytes.count - page.taken)
            bytes.withUnsafeBufferPointer { if let from = $0.baseAddress { hub.sink.update(from: from + page.taken, count: n) } }
            page.taken += n
            if page.taken == bytes.count { page.dropFirst() }
            return sendPiece(x, page, n, isLast: false) ? .sent : .ended
        case .include(let request, let stub):
            if request.isOver {
                endInclude(x, page, request, stub)
                return .sent
            }
            let c = request.client
            let waiting = c.stream.pendingView
            // The page that says it is not there is not sent where there is a block instead.
            if stub != nil, request.isOwnError {
                c.value.stream.dropAllPending(pool: &buffers)
                postRead(c)
                return .nothing
            }
            if waiting.isEmpty { return .nothing }
            let n = min(SSIHub.sinkBytes, waiting.count)
            hub.sink.update(from: waiting.start, count: n)
            c.value.stream.dropPending(n, pool: &buffers)
            if !c.stream.hasPending { postRead(c) }
            page.hasSentOfInclude = true
            return sendPiece(x, page, n, isLast: false) ? .sent : .ended
        }
    }

    private func endInclude(_ x: Ref<Exchange>, _ page: SSIPage, _ request: Ref<InnerRequest>, _ stub: String?) {
        let block = page.hasSentOfInclude ? nil : stub.flatMap { page.blocks[$0] }
        if page.awaited == request { page.awaited = nil }
        release(request, of: x)
        guard let block, page.stubDepth < Limits.ssiStubDepthMax else { return page.dropFirst() }
        page.replaceFirst { scanBlock(x, page, block) }
    }

    /// `count` bytes that lie in the sink. False: nothing more may be sent now.
    private func sendPiece(_ x: Ref<Exchange>, _ page: SSIPage, _ count: Int, isLast: Bool) -> Bool {
        guard let hub = ssiHub else { return false }
        let head = page.head
        page.head = []
        let handle = x.handle
        let isGoing = head.withUnsafeBufferPointer { buffer -> Bool in
            let head = buffer.baseAddress.map { ByteView($0, buffer.count) } ?? .empty
            let piece = ByteView(hub.sink, count)
            // The filters behind say themselves when all is done.
            if let f = x.filter { return filter(x, f, piece, head: head, isLast: isLast) }
            return emit(x, head, payload: piece, isLast: isLast)
        }
        if !isGoing || exchanges.find(handle) == nil { return false }
        if isLast { pageDone(x) }
        return !isLast
    }

    private func pageDone(_ x: Ref<Exchange>) {
        if x.file >= 0 {
            kernel.close(x.file)
            x.file = -1
        }
        if x.lastChunkLater {
            out.value.reset()
            appendLastChunk(out, x)
            guard emit(x, out.view) else { return }
        }
        if !x.client.stream.hasPending { timers.cancel(x.client.timer) }
        answerDone(x)
    }

    // MARK: A file

    /// Gives as much of the file as is taken.
    @inline(never)
    func pageFile(_ x: Ref<Exchange>, head: ByteView) {
        var head = head
        var budget = Limits.bytesPerTurn
        let handle = x.handle
        while exchanges.find(handle) != nil, resumePage(x) {
            if budget <= 0 { return post(x) }
            let want = Int(min(x.fileEnd - x.fileOffset, Int64(Limits.ssiPieceBytes)))
            ownInput(x.client)
            let n = want == 0 ? 0 : kernel.readAt(x.file, scratch.data, want, offset: x.fileOffset)
            if n < want, n <= 0 {
                logExchange(.alert, "the file was cut while it was sent", x)
                return fail(x, .fileFailed)
            }
            x.fileOffset += Int64(n)
            budget -= n
            guard givePage(x, ByteView(scratch.data, n), head: head, isLast: x.fileOffset == x.fileEnd) else {
                if exchanges.find(handle) != nil, x.client.stream.hasPending { waitForClient(x) }
                return
            }
            head = .empty
        }
    }

    // MARK: Scanning

    /// As far as the input goes, room is, and nothing is to be waited for.
    func scan(_ x: Ref<Exchange>, _ page: SSIPage) {
        while page.mayScan {
            let step = page.input.withUnsafeBufferPointer { page.scanner.step($0.span, at: &page.scanned) }
            switch step {
            case .text(let start, let count): putText(page, page.input[start..<(start + count)])
            case .opening(let count): putOpening(page, count)
            case .piece(let start, let count): page.command.append(contentsOf: page.input[start..<(start + count)])
            case .command:
                let command = page.command
                page.command = []
                obey(x, page, command)
            case .tooLong:
                page.command = []
                refuse(x, page, "too long a command or value in SSI")
            case .needMore: break
            }
        }
    }

    private func endScan(_ page: SSIPage) {
        page.isEnded = true
        if case .opening(let count) = page.scanner.end() { putOpening(page, count) }
    }

    /// A block takes the place of an include: its text is looked at now, and all of it at once.
    private func scanBlock(_ x: Ref<Exchange>, _ page: SSIPage, _ block: [UInt8]) {
        var at = 0
        var command: [UInt8] = []
        scanning: while true {
            switch block.withUnsafeBufferPointer({ page.scanner.step($0.span, at: &at) }) {
            case .text(let start, let count): putText(page, block[start..<(start + count)])
            case .opening(let count): putOpening(page, count)
            case .piece(let start, let count): command.append(contentsOf: block[start..<(start + count)])
            case .command:
                obey(x, page, command)
                command = []
            case .tooLong: refuse(x, page, "too long a command or value in SSI")
            case .needMore: break scanning
            }
        }
    }

    private func putText(_ page: SSIPage, _ text: ArraySlice<UInt8>) {
        if page.blockName != nil {
            if page.block.count + text.count <= Limits.ssiBlockBytesMax { page.block.append(contentsOf: text) }
        } else if page.isOutput {
            page.put(text)
        }
    }

    private func putOpening(_ page: SSIPage, _ count: Int) { putText(page, Array("<!--#".utf8)[..<count]) }
}
