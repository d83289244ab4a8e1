// From a path to the location that answers it: server rewrite, location, location rewrite, content; and internal redirects,
// which begin again with another path.
// Called when an exchange begins and by error pages, rewrites and X-Accel-Redirect. It decides; the content handlers act.

import Bytes
import HTTPMessage

extension Worker {
    func runServerRewrite(_ x: Ref<Exchange>) {
        x.location = x.server.settings
        if !x.server.rewrite.isEmpty {
            switch runRewrite(x, x.server.rewrite) {
            case .goOn, .stopped, .changedPath: break
            case .answered: return
            }
        }
        route(x)
    }

    /// Finds the location of the current path and runs its rewrite steps until the path stays.
    func route(_ x: Ref<Exchange>) {
        while true {
            guard findLocation(x) else { return }
            if x.location.isInternal, !x.isInternal, !x.isRewritten { return answerError(x, 404) }
            guard checkBodySize(x) else { return }
            limitKeepAlive(x)
            if x.location.rewrite.isEmpty { return runContent(x) }
            switch runRewrite(x, x.location.rewrite) {
            case .answered: return
            case .goOn, .stopped: return runContent(x)
            case .changedPath:
                if x.redirectsLeft == 0 {
                    logExchange(.error, "rewrite or internal redirection cycle", x)
                    return answerError(x, 500)
                }
                x.redirectsLeft -= 1
            }
        }
    }

    /// Begins again with another path; `arguments` replace the request's.
    func redirectInternally(_ x: Ref<Exchange>, path: ByteView, arguments: ByteView) {
        if x.redirectsLeft == 0 {
            logExchange(.error, "rewrite or internal redirection cycle while redirect", x)
            return answerError(x, 500)
        }
        x.redirectsLeft -= 1
        x.path = path
        x.arguments = arguments
        x.isTargetCurrent = false
        x.isInternal = true
        x.startsTryGroup = x.tries != nil
        x.phase = .routing
        runServerRewrite(x)
    }

    /// Goes on in the location called `name` (with its "@") of the server, keeping the path.
    func redirectToNamed(_ x: Ref<Exchange>, _ name: ByteView) {
        guard let location = x.server.namedLocations.find(name) else {
            logExchange(.error, "could not find named location", x)
            return answerError(x, 500)
        }
        if x.redirectsLeft == 0 {
            logExchange(.error, "rewrite or internal redirection cycle while redirect to named location", x)
            return answerError(x, 500)
        }
        x.redirectsLeft -= 1
        x.isInternal = true
        x.startsTryGroup = x.tries != nil
        x.phase = .routing
        x.location = x.root.locations[Int(location)]
        limitKeepAlive(x)
        switch runRewrite(x, x.location.rewrite) {
        case .answered: return
        case .goOn, .stopped: runContent(x)
        case .changedPath: route(x)
        }
    }

    @inline(__always)
    private func runContent(_ x: Ref<Exchange>) {
        if x.location.isGated, !passGates(x) { return }
        makeContent(x)
    }

    func makeContent(_ x: Ref<Exchange>) {
        if x.location.hasPrecontent {
            if !x.location.tryFiles.isEmpty { return tryFiles(x) }
            if !sendMirrors(x) { return }
        }
        runHandler(x)
    }

    func runHandler(_ x: Ref<Exchange>) {
        switch x.location.handler {
        case .proxy: beginProxying(x)
        case .files: answerFile(x)
        case .admin: beginHandover(x)
        case .upstreamHealth: answerUpstreamHealth(x)
        }
    }

    /// Sets the location for the current path. False when the exchange has been answered (a missing slash).
    @inline(__always)
    private func findLocation(_ x: Ref<Exchange>) -> Bool {
        x.location = x.server.settings
        x.hasLocationsPath = true
        return descend(x, x.server.locations)
    }

    private func descend(_ x: Ref<Exchange>, _ tree: LocationTree) -> Bool {
        let locations = x.root.locations
        var mayMatchRegex = true
        switch tree.find(x.path, redirects: { locations[Int($0)].redirectsToSlash }) {
        case .none: break
        case .exact(let index):
            x.location = locations[Int(index)]
            return true
        case .slashMissing(let index):
            x.location = locations[Int(index)]
            answerSlashRedirect(x)
            return false
        case .prefix(let index, let stopsRegexes, let nested):
            x.location = locations[Int(index)]
            mayMatchRegex = !stopsRegexes
            if let nested {
                let before = x.location
                if !descend(x, nested.value) { return false }
                // A nested exact or expression location is final; a nested prefix lets the outer expressions have their say.
                if x.location != before, x.location.isExact || x.location.isRegex { return true }
            }
        }
        if !mayMatchRegex { return true }
        for i in 0..<tree.regexes.count {
            let candidate = tree.regexes[i]
            if matches(candidate.regex, x.path, for: x) {
                x.location = locations[Int(candidate.location)]
                if let nested = candidate.nested { return descend(x, nested.value) }
                return true
            }
        }
        return true
    }

    @inline(__always)
    private func checkBodySize(_ x: Ref<Exchange>) -> Bool {
        guard case .length(let n) = x.body.framing, !x.isInternal else { return true }
        let most = x.location.clientMaxBodyBytes
        if most == 0 || n <= most { return true }
        logExchange(.error, "client intended to send too large body", x)
        giveUpBody(x)
        answerError(x, 413)
        return false
    }

    // MARK: Expressions

    /// Whether expression `regex` matches; its groups become `$1`... and the named variables of the exchange.
    func matches(_ regex: Int32, _ subject: ByteView, for x: Ref<Exchange>) -> Bool {
        let expression = x.root.regexes[Int(regex)].value
        switch matcher.match(expression, subject) {
        case .noMatch: return false
        case .failed(let code):
            logExchange(.error, "a regular expression gave up (PCRE2 limit), taken as no match", x, errno: code)
            return false
        case .match(let count):
            keepCaptures(x, expression, subject, count)
            return true
        }
    }

    private func keepCaptures(_ x: Ref<Exchange>, _ expression: RegularExpression, _ subject: ByteView, _ count: Int) {
        let stride = MemoryLayout<ByteView>.stride
        guard let memory = x.value.region.allocate(count * stride, from: &buffers, limit: Limits.regionBytesMax),
            let kept = x.value.region.copy(subject, from: &buffers, limit: Limits.regionBytesMax)
        else { return }
        withUnsafeTemporaryAllocation(of: ByteView.self, capacity: count) { groups in
            for i in 0..<count { groups.initializeElement(at: i, to: matcher.group(i, of: kept) ?? .empty) }
            x.captures = Frozen(copying: groups, count: count, into: memory)
        }
        if !expression.names.isEmpty {
            for i in 0..<expression.names.count {
                let group = expression.names[i].value
                setNamedCapture(x, group.name, Int(group.number) < count ? x.captures[Int(group.number)].value : .empty)
            }
        }
    }
}
