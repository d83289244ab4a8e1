// Plain files: `root`, `alias`, `index`, `try_files`. Small ones leave in one send behind their head, large ones by sendfile.
// Called by the router for locations that do not proxy. It opens nothing outside the path that root and alias give.

import Bytes
import CLinux
import HTTPMessage

let fileTypeMask: UInt32 = 0o170000
let fileTypeRegular: UInt32 = 0o100000
let fileTypeDirectory: UInt32 = 0o040000
/// Files up to this size are read and sent with their head.
private let inlineFileBytes: Int64 = 64 << 10

extension Worker {
    func answerFile(_ x: Ref<Exchange>) {
        if x.path.count > 0, x.path[x.path.count - 1] == 0x2F { return answerIndex(x) }
        guard x.method == .get || x.method == .head || x.method == .post else { return answerError(x, 405) }
        guard let path = fileName(x) else { return answerError(x, 500) }
        serveFile(x, path)
    }

    private func serveFile(_ x: Ref<Exchange>, _ path: ByteView) {
        var varies = false
        if let filters = x.location.filters, filters.gzipStatic != .off, x.method != .post,
            sendsCompressedFile(x, filters, path, &varies)
        {
            return
        }
        guard let (fd, facts) = openFile(path) else { return fileMissing(x, path) }
        switch facts.mode & fileTypeMask {
        case fileTypeRegular where x.method == .post:
            kernel.close(fd)
            answerError(x, 405)
        case fileTypeRegular: sendFile(x, fd, facts, varies: varies)
        case fileTypeDirectory:
            kernel.close(fd)
            answerSlashRedirect(x)
        default:
            kernel.close(fd)
            logExchange(.crit, "not a regular file", x, detail: path)
            answerError(x, 404)
        }
    }

    private func fileMissing(_ x: Ref<Exchange>, _ path: ByteView) {
        let errno = lastOpenErrno
        switch errno {
        case ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP:
            if x.location.logNotFound { logExchange(.error, "open() failed", x, detail: path, errno: errno) }
            answerError(x, 404)
        case EACCES, EPERM:
            logExchange(.error, "open() failed", x, detail: path, errno: errno)
            answerError(x, 403)
        case EMFILE, ENFILE:
            logExchange(.crit, "open() failed", x, detail: path, errno: errno)
            answerError(x, 503)
        default:
            logExchange(.crit, "open() failed", x, detail: path, errno: errno)
            answerError(x, 500)
        }
    }

    /// `gzip_static`: FILE.gz beside the file goes in its place. False: there is none, or the client does not take it.
    private func sendsCompressedFile(
        _ x: Ref<Exchange>, _ filters: Ref<FilterSettings>, _ path: ByteView, _ varies: inout Bool
    ) -> Bool {
        let isWanted = filters.gzipStatic == .always || mayGzip(x, filters, AnswerHead(status: 200), nil)
        if !isWanted, !filters.gzipVary { return false }
        let name = joined2(path, ByteView(".gz"), x)
        guard let (fd, facts) = openFile(name) else {
            if ![ENOENT, ENOTDIR, ENAMETOOLONG].contains(lastOpenErrno) {
                logExchange(.error, "open() failed", x, detail: name, errno: lastOpenErrno)
            }
            return false
        }
        varies = filters.gzipStatic == .on
        if isWanted, facts.mode & fileTypeMask == fileTypeRegular {
            sendFile(x, fd, facts, varies: varies, isGzip: true)
            return true
        }
        kernel.close(fd)
        return false
    }

    private func sendFile(_ x: Ref<Exchange>, _ fd: Int32, _ facts: FileFacts, varies: Bool, isGzip: Bool = false) {
        var head = AnswerHead(status: 200)
        head.variesByCoding = varies
        head.isGzip = isGzip
        head.contentType = ownType(x)
        head.contentLength = facts.size
        head.lastModified = facts.modifiedSeconds
        if x.location.sendsETag { head.etag = entityTag(x, facts) }
        if x.head.fields.presentNames & (HeaderName.ifMatch.bit | HeaderName.ifUnmodifiedSince.bit) != 0, isUnmet(x, head) {
            kernel.close(fd)
            return answerError(x, 412)
        }
        if isUnchanged(x, head) {
            head.status = 304
            head.contentLength = -1
            head.contentType = .empty
            head.isGzip = false
        }
        x.file = fd
        x.fileOffset = 0
        x.fileEnd = facts.size
        if head.status == 200, x.errorStatus == 0, x.location.maxRanges > 0, x.inner == nil {
            head.acceptRanges = true
            if x.head.fields.presentNames & HeaderName.range.bit != 0, keepsBytes(x, head), !chooseParts(x, &head) {
                kernel.close(fd)
                x.file = -1
                return answerError(x, 416)
            }
        }
        composeHead(x, head)
        x.phase = .answering
        beginBody(x)
        if x.page != nil { return pageFile(x, head: out.view) }
        if let f = x.filter { return filterFile(x, f, head: out.view) }
        if x.headOnly || facts.size == 0 {
            guard emit(x, out.view) else { return }
            return answerDone(x)
        }
        let count = x.fileEnd - x.fileOffset
        if x.framing == .length, count <= inlineFileBytes, out.room > Int(count) {
            let n = kernel.readAt(fd, out.start + out.count, Int(count), offset: x.fileOffset)
            if n == Int(count) {
                out.value.advance(n)
                x.fileOffset = x.fileEnd
                x.bodySentToClient = count
            }
        }
        guard emit(x, out.view) else { return }
        pumpFile(x)
    }

    /// Time and size, as nginx makes it.
    private func entityTag(_ x: Ref<Exchange>, _ facts: FileFacts) -> ByteView {
        valueText.value.reset()
        valueText.value.append("\"")
        valueText.value.append(hex: UInt64(bitPattern: facts.modifiedSeconds))
        valueText.value.append("-")
        valueText.value.append(hex: UInt64(bitPattern: facts.size))
        valueText.value.append("\"")
        return x.value.region.copy(valueText.view, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
    }

    /// If-Match and If-Unmodified-Since: the request is for another state of the file (RFC 9110 section 13).
    private func isUnmet(_ x: Ref<Exchange>, _ head: AnswerHead) -> Bool {
        if x.errorStatus != 0 { return false }
        if let text = requestField(.ifUnmodifiedSince, x), let since = parseHTTPDate(text.buffer.span), head.lastModified > since { return true }
        guard let tags = joinedRequestFields(.ifMatch, x, ", ") else { return false }
        return !isListed(head.etag, in: tags, isWeak: false)
    }

    /// Whether a list of entity tags names `tag`, or is "*".
    private func isListed(_ tag: ByteView, in tags: ByteView, isWeak: Bool) -> Bool {
        if tags == ByteView("*") { return true }
        var from = 0
        while from < tags.count {
            let end = tags.firstIndex(of: 0x2C, from: from) ?? tags.count
            var listed = tags.slice(from, end - from).trimmed
            if isWeak, listed.hasPrefix(ByteView("W/")) { listed = listed.slice(2) }
            if listed == tag { return true }
            from = end + 1
        }
        return false
    }

    /// If-None-Match decides where it is given, else If-Modified-Since (RFC 9110 section 13).
    private func isUnchanged(_ x: Ref<Exchange>, _ head: AnswerHead) -> Bool {
        // A page changes with its parts, and a part is wanted in any case.
        if x.errorStatus != 0 || x.inner != nil || x.location.ssi.isOn && isPageType(x.location.ssi, head.contentType) { return false }
        if let tags = joinedRequestFields(.ifNoneMatch, x, ", ") {
            return isListed(head.etag, in: tags, isWeak: true)
        }
        guard let text = requestField(.ifModifiedSince, x), let since = parseHTTPDate(text.buffer.span) else { return false }
        switch x.location.ifModifiedSince {
        case .off: return false
        case .exact: return since == head.lastModified
        case .before: return since >= head.lastModified
        }
    }

    /// Sends as much of the file as the client takes.
    func pumpFile(_ x: Ref<Exchange>) {
        if x.page != nil { return pageFile(x, head: .empty) }
        if let f = x.filter { return filterFile(x, f, head: .empty) }
        let c = x.client
        var budget = Limits.bytesPerTurn
        while x.fileOffset < x.fileEnd || x.filePart < x.fileParts.count {
            // What waits in a stream of HTTP/2 is topped up before it runs out, so that its frames are full ones.
            let isFull = c.stream.carrier == .http2 ? c.stream.pendingCount >= Limits.readBytesWhileSlow : c.stream.hasPending
            if isFull || !c.stream.isWritable { return waitForClient(x) }
            if budget <= 0 { return post(x) }
            if x.fileOffset == x.fileEnd {
                guard beginPart(x) else { return }
                continue
            }
            // What is framed or encrypted goes through our own memory.
            if x.framing != .length || !c.stream.sendsAsItIs {
                guard pumpChunkOfFile(x) else { return }
                budget -= Limits.readBytesWhileSlow
                continue
            }
            var want = Int(min(x.fileEnd - x.fileOffset, Int64(budget)))
            if x.paceRate > 0 {
                want = min(want, Int(paceAllowance(x)))
                if want <= 0 { return waitForClient(x) }
            }
            let n = kernel.sendFile(c.stream.fd, file: x.file, offset: &x.fileOffset, want)
            if n > 0 {
                x.bodySentToClient += Int64(n)
                x.bytesSentToClient += Int64(n)
                counts.bytesToClients += UInt64(n)
                budget -= n
                if n < want { c.stream.isWritable = false }
            } else if n == -Int(EAGAIN) {
                c.stream.isWritable = false
            } else if n == -Int(EINTR) {
                continue
            } else if n == 0 {
                logExchange(.alert, "the file was cut while it was sent", x)
                return finish(x, .failed(.fileFailed))
            } else {
                return clientGone(x, .clientReset)
            }
        }
        if x.framing == .chunked {
            out.value.reset()
            appendLastChunk(out, x)
            guard emit(x, out.view) else { return }
        }
        kernel.close(x.file)
        x.file = -1
        if !c.stream.hasPending { timers.cancel(c.timer) }
        answerDone(x)
    }

    /// A piece of the file framed as a chunk (trailers follow), or bare for an HTTP/1.0 client.
    private func pumpChunkOfFile(_ x: Ref<Exchange>) -> Bool {
        let want = Int(min(x.fileEnd - x.fileOffset, Int64(Limits.readBytesWhileSlow)))
        ownInput(x.client)
        let n = kernel.readAt(x.file, scratch.data, want, offset: x.fileOffset)
        if n <= 0 {
            fail(x, .fileFailed)
            return false
        }
        x.fileOffset += Int64(n)
        x.bodySentToClient += Int64(n)
        return emit(x, framed(x, ByteView(scratch.data, n), isLast: false))
    }

    // MARK: Directories

    private func answerIndex(_ x: Ref<Exchange>) {
        for i in 0..<x.location.index.count {
            let name = expand(x.location.index[i].value, for: x, keep: true)
            if name.hasPrefix(ByteView("/")) { return redirectInternally(x, path: name, arguments: x.arguments) }
            guard let folder = fileName(x) else { return answerError(x, 500) }
            let path = joined(folder, "", name, x)
            if let (fd, facts) = openFile(path) {
                kernel.close(fd)
                if facts.mode & fileTypeMask == fileTypeRegular {
                    let target = joined(x.path, "", name, x)
                    return redirectInternally(x, path: target, arguments: x.arguments)
                }
            } else if lastOpenErrno == EACCES {
                logExchange(.error, "open() failed", x, detail: path, errno: EACCES)
                return answerError(x, 403)
            }
        }
        guard let folder = fileName(x) else { return answerError(x, 500) }
        guard let (fd, _) = openFile(folder) else { return fileMissing(x, folder) }
        kernel.close(fd)
        logExchange(.error, "directory index is forbidden", x, detail: folder)
        answerError(x, 403)
    }

    func tryFiles(_ x: Ref<Exchange>) {
        let candidates = x.location.tryFiles
        for i in 0..<candidates.count {
            let name = expand(candidates[i].value, for: x, keep: true)
            if i == candidates.count - 1 {
                if name.hasPrefix(ByteView("=")), let status = name.slice(1).decimal { return answerError(x, UInt16(clamping: status)) }
                if name.hasPrefix(ByteView("@")) { return redirectToNamed(x, name) }
                let question = name.firstIndex(of: 0x3F)
                return redirectInternally(
                    x, path: question.map { name.slice(0, $0) } ?? name, arguments: question.map { name.slice($0 + 1) } ?? .empty)
            }
            // By the slash in the configuration: one that the request brought does not make a file's name a folder's.
            let wantsFolder = endsInSlash(candidates[i].value)
            let was = x.path
            x.path = wantsFolder ? name.slice(0, name.count - 1) : name
            let path = fileName(x)
            if let path, let (fd, facts) = openFile(path) {
                kernel.close(fd)
                if facts.mode & fileTypeMask == (wantsFolder ? fileTypeDirectory : fileTypeRegular) {
                    // A folder without that slash, so that a path without one is redirected.
                    if x.path.isEmpty { x.path = name }
                    x.isTargetCurrent = false
                    return sendMirrors(x) ? runHandler(x) : ()
                }
            }
            x.path = was
        }
    }

    private func endsInSlash(_ template: Template) -> Bool {
        if template.isLiteral { return template.literal.hasSuffix(ByteView("/")) }
        let last = template.parts[template.parts.count - 1]
        return last.variable.kind == .none && last.literal.view.hasSuffix(ByteView("/"))
    }

    /// The file that root or alias makes of the path (`$request_filename`).
    func fileName(_ x: Ref<Exchange>) -> ByteView? {
        if x.location.isAlias, !x.location.isRegex, !x.hasLocationsPath {
            logExchange(.alert, "\"alias\" cannot be used where the URI was rewritten", x)
            return nil
        }
        let root = copiedExpansion(x.location.root, x)
        let rest = x.location.isAlias && !x.location.isRegex ? x.path.slice(x.location.prefixCount) : x.path
        let size = root.count + (x.location.isAlias && x.location.isRegex ? 0 : rest.count)
        guard let memory = x.value.region.allocate(size, from: &buffers, limit: Limits.regionBytesMax) else { return nil }
        var w = ByteWriter(memory, capacity: size)
        w.append(root)
        if w.room >= rest.count { w.append(rest) }
        return w.view
    }

    /// Opens for reading. Nil: `lastOpenErrno` says why. A path with a NUL byte is no path.
    func openFile(_ path: ByteView) -> (descriptor: Int32, facts: FileFacts)? {
        if path.firstIndex(of: 0) != nil || path.count > 4000 {
            lastOpenErrno = ENOENT
            return nil
        }
        let fd = withUnsafeTemporaryAllocation(of: CChar.self, capacity: path.count + 1) { text -> Int32 in
            for i in 0..<path.count { text[i] = CChar(bitPattern: path[i]) }
            text[path.count] = 0
            guard let base = text.baseAddress else { return -ENOENT }
            return kernel.open(base, flags: O_RDONLY | O_NONBLOCK, mode: 0)
        }
        if fd < 0 {
            lastOpenErrno = -fd
            return nil
        }
        var facts = FileFacts()
        if kernel.fileFacts(fd, &facts) < 0 {
            kernel.close(fd)
            lastOpenErrno = EIO
            return nil
        }
        return (fd, facts)
    }

    /// What an upstream said with X-Accel-Redirect, else by the path.
    func ownType(_ x: Ref<Exchange>) -> ByteView {
        x.accelType.isEmpty ? typeByExtension(x) ?? x.location.defaultType : x.accelType
    }

    /// The media type by the extension of the current path.
    func typeByExtension(_ x: Ref<Exchange>) -> ByteView? {
        guard let dot = x.path.lastIndex(of: 0x2E), dot > x.path.lastIndex(of: 0x2F) ?? -1 else { return nil }
        return x.location.mediaTypes.find(x.path.slice(dot + 1))
    }
}
