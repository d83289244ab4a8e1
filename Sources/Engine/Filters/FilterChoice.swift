// Which filters an answer passes, and what they change of its head: Content-Encoding, Vary, length, entity tag, charset.
// Called while a head is composed, for locations that have filters. The rules are nginx's, in the order of its filters.

import Bytes
import HTTPMessage

/// What is known of an answer's coding and of what is decided about it.
private struct FilterPlan {
    var stages: FilterStages = []
    /// The body is in gzip, in another coding, or plain, where the filters have come to.
    var isGzip = false
    var isOtherCoding = false
    var varies = false
    var saysGzip = false
    /// Without its charset.
    var type = ByteView.empty
    var table: CharsetTable?
    /// What the answer's fields are taken from; nil: it is ours.
    var upstream: ByteView?
}

extension Worker {
    /// Composes the head of an answer whose location has filters, and prepares them.
    @inline(never)
    func composeFiltered(_ x: Ref<Exchange>, _ settings: Ref<FilterSettings>, _ answer: AnswerHead, upstream: ByteView?) {
        if let old = x.filter { dropFilter(x, old) }
        let status = x.errorStatus != 0 ? x.errorStatus : answer.status
        if status < 200 { return compose(x, answer, upstream: upstream) }
        var answer = answer
        var plan = FilterPlan(upstream: upstream)
        makePlan(x, settings, &answer, &plan, status: status)
        let hasBody = x.method != .head && x.head.method != .head && status != 204 && status != 304
        if hasBody, !plan.stages.isEmpty { makeChain(x, settings, &plan, length: answer.contentLength) }
        if !plan.stages.isDisjoint(with: [.gunzip, .gzip]) {
            answer.contentLength = -1
            answer.acceptRanges = false
            weakenTag(x, &answer, upstream)
            x.droppedFields |= HeaderName.etag.bit | HeaderName.acceptRanges.bit
        } else if plan.stages.contains(.charset), plan.table?.keepsLength == false {
            answer.contentLength = -1
            answer.acceptRanges = false
        }
        let lines = x.keptLines
        x.keptLines = filterLines(x, settings, plan)
        compose(x, answer, upstream: upstream)
        x.keptLines = lines
        x.droppedFields = 0
    }

    /// Whether the body of an answer of ours has as many bytes behind the filters of its location as in front of them.
    func keepsBytes(_ x: Ref<Exchange>, _ answer: AnswerHead) -> Bool {
        if x.location.ssi.isOn, isPageType(x.location.ssi, answer.contentType) { return false }
        guard let settings = x.location.filters else { return true }
        var changed = answer
        var plan = FilterPlan(upstream: nil)
        makePlan(x, settings, &changed, &plan, status: answer.status)
        x.droppedFields = 0
        return plan.stages.isDisjoint(with: [.gunzip, .gzip]) && plan.table?.keepsLength != false
    }

    private func makePlan(
        _ x: Ref<Exchange>, _ settings: Ref<FilterSettings>, _ answer: inout AnswerHead, _ plan: inout FilterPlan, status: UInt16
    ) {
        plan.isGzip = answer.isGzip
        plan.saysGzip = answer.isGzip
        plan.varies = answer.variesByCoding
        if let upstream = plan.upstream, let coding = passedField(.contentEncoding, x, upstream), !coding.isEmpty {
            plan.isGzip = coding.equalsIgnoringCase(ByteView("gzip"))
            plan.isOtherCoding = !plan.isGzip
        }
        let parts = plan.upstream == nil ? MediaTypeParts(type: answer.contentType) : MediaTypeParts(answer.contentType)
        plan.type = parts.type
        if settings.gunzip, plan.isGzip { planGunzip(x, settings, &answer, &plan) }
        planCharset(x, settings, &answer, &plan, parts, status: status)
        if settings.gzip, !plan.isGzip, !plan.isOtherCoding { planGzip(x, settings, &answer, &plan, status: status) }
    }

    private func filterLines(_ x: Ref<Exchange>, _ settings: Ref<FilterSettings>, _ plan: FilterPlan) -> ByteView {
        var lines = x.keptLines
        if plan.varies, settings.gzipVary { lines = joined2(ByteView("Vary: Accept-Encoding\r\n"), lines, x) }
        if plan.saysGzip { lines = joined2(ByteView("Content-Encoding: gzip\r\n"), lines, x) }
        return lines
    }

    // MARK: Gzip

    private func planGunzip(
        _ x: Ref<Exchange>, _ settings: Ref<FilterSettings>, _ answer: inout AnswerHead, _ plan: inout FilterPlan
    ) {
        plan.varies = true
        if mayGzip(x, settings, answer, plan.upstream) { return }
        plan.stages.insert(.gunzip)
        plan.isGzip = false
        plan.saysGzip = false
        x.droppedFields |= HeaderName.contentEncoding.bit
        answer.contentLength = -1
    }

    private func planGzip(
        _ x: Ref<Exchange>, _ settings: Ref<FilterSettings>, _ answer: inout AnswerHead, _ plan: inout FilterPlan, status: UInt16
    ) {
        guard status == 200 || status == 403 || status == 404 else { return }
        if answer.contentLength >= 0, answer.contentLength < settings.gzipMinLength { return }
        if !settings.gzipTypes.contains(plan.type) { return }
        plan.varies = true
        guard mayGzip(x, settings, answer, plan.upstream) else { return }
        plan.stages.insert(.gzip)
        plan.saysGzip = true
    }

    /// Whether the client, and the proxies it comes through, take gzip: `gzip_http_version`, `gzip_proxied`, `gzip_disable`.
    func mayGzip(_ x: Ref<Exchange>, _ settings: Ref<FilterSettings>, _ answer: AnswerHead, _ upstream: ByteView?) -> Bool {
        // What is a part of another answer is compressed with that.
        guard x.inner == nil, let accepted = requestField(.acceptEncoding, x), acceptsGzip(accepted.buffer.span) else { return false }
        if x.head.versionMinor < settings.gzipHTTPMinor { return false }
        if requestField(.via, x) != nil, !mayGzipForProxy(x, settings, answer, upstream) { return false }
        guard settings.gzipDisabledForMSIE6 || !settings.gzipDisabled.isEmpty, let agent = requestField(.userAgent, x) else {
            return true
        }
        if settings.gzipDisabledForMSIE6, OldBrowser(agent) == .msie6 { return false }
        return !(0..<settings.gzipDisabled.count).contains { matches(settings.gzipDisabled[$0].value, agent, for: x) }
    }

    private func mayGzipForProxy(
        _ x: Ref<Exchange>, _ settings: Ref<FilterSettings>, _ answer: AnswerHead, _ upstream: ByteView?
    ) -> Bool {
        let allowed = settings.gzipProxied
        if allowed.isEmpty { return false }
        if allowed.contains(.any) { return true }
        if allowed.contains(.auth), requestField(.authorization, x) != nil { return true }
        let own = effectiveExpires(x)
        if !own.isOff { return allowed.contains(.expired) && own.isPast }
        func field(_ name: HeaderName) -> ByteView? { upstream.flatMap { passedField(name, x, $0) } }
        if let expires = field(.expires) {
            guard allowed.contains(.expired), let end = parseHTTPDate(expires.buffer.span) else { return false }
            guard let date = field(.date) else { return end < realtimeNs / 1_000_000_000 }
            return parseHTTPDate(date.buffer.span).map { end < $0 } ?? false
        }
        if let control = field(.cacheControl) {
            return allowed.contains(.noCache) && namesDirective(control, ByteView("no-cache"))
                || allowed.contains(.noStore) && namesDirective(control, ByteView("no-store"))
                || allowed.contains(.isPrivate) && namesDirective(control, ByteView("private"))
        }
        if allowed.contains(.noLastModified), answer.lastModified >= 0 || field(.lastModified) != nil { return false }
        if allowed.contains(.noETag), !answer.etag.isEmpty || field(.etag) != nil { return false }
        return true
    }

    /// The tag named other bytes: it holds for what they mean (RFC 9110 section 8.8.3.3).
    private func weakenTag(_ x: Ref<Exchange>, _ answer: inout AnswerHead, _ upstream: ByteView?) {
        if let upstream, let tag = passedField(.etag, x, upstream), x.location.proxy.hiddenKnown & HeaderName.etag.bit == 0 {
            answer.etag = tag
        }
        if answer.etag.isEmpty || answer.etag.hasPrefix(ByteView("W/")) { return }
        answer.etag = answer.etag.hasPrefix(ByteView("\"")) ? joined2(ByteView("W/"), answer.etag, x) : .empty
    }

    /// The first field of a name in the upstream's head, hidden or not.
    private func passedField(_ name: HeaderName, _ x: Ref<Exchange>, _ bytes: ByteView) -> ByteView? {
        if x.upstreamHead.fields.presentNames & name.bit == 0 { return nil }
        for i in 0..<x.upstreamHead.fields.fieldCount where fieldScratch[i].known == name {
            return slice(fieldScratch[i].value, bytes)
        }
        return nil
    }

    // MARK: Charset

    private func planCharset(
        _ x: Ref<Exchange>, _ settings: Ref<FilterSettings>, _ answer: inout AnswerHead, _ plan: inout FilterPlan,
        _ parts: MediaTypeParts,
        status: UInt16
    ) {
        if answer.contentType.isEmpty || status == 204 { return }
        let charsets = x.root.charsets
        guard let (name, index) = targetCharset(x, settings, parts, plan.upstream) else { return }
        var source = parts.charset
        if source.isEmpty {
            switch settings.sourceCharset {
            case .off: return setCharset(x, &answer, parts, name, status)
            case .named(let i): source = charsets.name(i)
            case .computed(let template): source = copiedExpansion(template, x)
            }
        }
        let sourceIndex = charsets.find(source)
        if index == nil || sourceIndex == nil {
            if index == nil, sourceIndex == nil, source.equalsIgnoringCase(name) {
                return setCharset(x, &answer, parts, name, status)
            }
            return noTable(x, source, name)
        }
        guard let index, let sourceIndex else { return }
        if index == sourceIndex { return setCharset(x, &answer, parts, name, status) }
        if plan.isGzip || plan.isOtherCoding { return }
        guard let table = charsets.table(from: sourceIndex, to: index) else { return noTable(x, source, name) }
        setCharset(x, &answer, parts, name, status)
        plan.stages.insert(.charset)
        plan.table = table
    }

    /// The charset that the answer is to have: its name, and its place if the configuration names it. Nil: that is the answer's own
    /// business.
    private func targetCharset(
        _ x: Ref<Exchange>, _ settings: Ref<FilterSettings>, _ parts: MediaTypeParts, _ upstream: ByteView?
    ) -> (name: ByteView, index: Int32?)? {
        let charsets = x.root.charsets
        if let upstream, !x.location.proxy.ignoreAccelCharset, let said = passedField(.xAccelCharset, x, upstream), !said.isEmpty
        {
            if let index = charsets.find(said) { return (said, index) }
            logExchange(.error, "unknown charset to override", x, detail: said)
            return nil
        }
        if settings.charset == .off { return nil }
        if parts.charset.isEmpty ? !settings.charsetTypes.contains(parts.type) : !settings.overridesCharset { return nil }
        switch settings.charset {
        case .off: return nil
        case .named(let i): return (charsets.name(i), i)
        case .computed(let template):
            let name = copiedExpansion(template, x)
            return name.isEmpty ? nil : (name, charsets.find(name))
        }
    }

    private func setCharset(
        _ x: Ref<Exchange>, _ answer: inout AnswerHead, _ parts: MediaTypeParts, _ name: ByteView, _ status: UInt16
    ) {
        // Old browsers took the charset of a redirect for that of the page it leads to.
        answer.contentType = status == 301 || status == 302 ? parts.type : joined(parts.type, "; charset=", name, x)
    }

    private func noTable(_ x: Ref<Exchange>, _ source: ByteView, _ target: ByteView) {
        logExchange(.error, "no \"charset_map\" between the charsets", x, detail: joined(source, " and ", target, x))
    }

    // MARK: The chain

    /// Leaves out what there is no memory for, or more of than a worker may have: the answer goes as it is.
    private func makeChain(_ x: Ref<Exchange>, _ settings: Ref<FilterSettings>, _ plan: inout FilterPlan, length: Int64) {
        if filterHub == nil { filterHub = FilterHub() }
        guard let hub = filterHub, let (f, handle) = filterChains.insert(FilterChain()) else { return }
        f.handle = handle
        x.filter = f
        if plan.stages.contains(.gunzip) {
            f.inflater = hub.takeInflater()
            if f.inflater == nil {
                plan.stages.subtract([.gunzip, .charset])
                plan.saysGzip = plan.upstream == nil
                x.droppedFields = 0
            }
        }
        if plan.stages.contains(.gzip) {
            f.isSmall = length >= 0 && length <= Limits.smallTextBytes
            f.deflater = hub.takeDeflater(level: settings.gzipLevel, isSmall: f.isSmall)
            if f.deflater == nil {
                plan.stages.remove(.gzip)
                plan.saysGzip = false
            }
        }
        f.stages = plan.stages
        f.recoder = plan.table.map { CharsetRecoder($0) }
        if f.stages.isEmpty { dropFilter(x, f) }
    }
}

extension Expires {
    /// It says that the answer has expired already.
    fileprivate var isPast: Bool {
        switch self {
        case .epoch: true
        case .after(let seconds): seconds < 0
        case .off, .max, .template: false
        }
    }
}
