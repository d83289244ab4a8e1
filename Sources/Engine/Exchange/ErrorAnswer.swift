// Answers that say no: `error_page` first, else a short page of ours.
// Called with a status by everything that refuses or fails before the answer has begun.

import Bytes
import HTTPMessage

extension Worker {
    /// Answers with `status`: by the location's `error_page` for it, or by a page made here.
    func answerError(_ x: Ref<Exchange>, _ status: UInt16) {
        if status == 444 || status == 499 { return closeUnanswered(x, status) }
        switch status {
        case 400, 413, 414, 431, 494, 495, 496, 497, 500, 501, 505: x.keepsAlive = false
        default: break
        }
        x.errorStatus = status
        if !x.inErrorPage, !x.headBytes.isEmpty, !x.path.isEmpty || status == 400 {
            let pages = x.location.errorPages
            for i in 0..<pages.count where pages[i].status == status {
                // A request that has gone round too often is not sent round once more by what is said of that.
                if x.redirectsLeft == 0 {
                    if status != 500 { logExchange(.error, "rewrite or internal redirection cycle while redirect", x) }
                    x.errorStatus = 500
                    break
                }
                if !x.location.recursiveErrorPages { x.inErrorPage = true }
                return follow(pages[i], x)
            }
        }
        answerPage(x, AnswerHead(status: status))
    }

    /// 444, and 499 as nginx knows it: the connection closes without an answer, whoever asks for that.
    func closeUnanswered(_ x: Ref<Exchange>, _ status: UInt16) {
        x.keepsAlive = false
        x.status = status
        finish(x, .abortedByClient(.clientClosed))
    }

    /// As `answerError`, for a fault: whose it is goes to the account.
    func answerFault(_ x: Ref<Exchange>, _ fault: Fault) {
        x.blame = fault.blame
        if let row = x.proxyTarget.row { observeFault(x, row, fault) }
        answerError(x, fault.status)
    }

    private func follow(_ page: Ref<ErrorPage>, _ x: Ref<Exchange>) {
        if page.answerStatus >= 0 { x.errorStatus = UInt16(truncatingIfNeeded: page.answerStatus) }
        let target = expand(page.uri, for: x, keep: true)
        if target.hasPrefix(ByteView("/")) {
            if x.method != .head { x.method = .get }
            x.methodReplaced = true
            let question = target.firstIndex(of: 0x3F)
            let path = question.map { target.slice(0, $0) } ?? target
            return redirectInternally(x, path: path, arguments: question.map { target.slice($0 + 1) } ?? .empty)
        }
        if target.hasPrefix(ByteView("@")) { return redirectToNamed(x, target) }
        var head = AnswerHead(status: 302)
        if [301, 302, 303, 307, 308].contains(page.answerStatus) { head.status = UInt16(page.answerStatus) }
        x.errorStatus = head.status
        head.location = target
        answerPage(x, head)
    }

    /// A short page that names the status, as nginx makes them.
    func answerPage(_ x: Ref<Exchange>, _ head: AnswerHead) {
        var head = head
        // A redirect on the way to an error page is one, whatever led there.
        if x.errorStatus != 0, head.location.isEmpty { head.status = x.errorStatus }
        let w = scratchText
        w.value.reset()
        let detail = detail(of: head.status)
        if detail != nil { head.status = 400 }
        x.errorStatus = 0
        let isAdmin = x.location.handler == .admin || x.server.isAdmin
        let reason = reasonPhrase(head.status)
        if isAdmin, appendAdminProblem(w, head.status) {
            head.contentType = ByteView("application/problem+json")
        } else if reason.utf8CodeUnitCount > 0, head.status >= 300 {
            let status = head.status
            let title = pageTitle(status, reason)
            w.value.append("<html>\r\n<head><title>")
            if let detail {
                w.value.append("400 ")
                w.value.append(detail)
            } else {
                appendTitle(w, status, title)
            }
            w.value.append("</title></head>\r\n<body>\r\n<center><h1>")
            appendTitle(w, status, title)
            w.value.append("</h1></center>\r\n")
            if let detail {
                w.value.append("<center>")
                w.value.append(detail)
                w.value.append("</center>\r\n")
            }
            w.value.append("<hr><center>")
            w.value.append(Product.name)
            if x.location.serverTokens != .off {
                w.value.append("/")
                w.value.append(Product.version)
            }
            w.value.append("</center>\r\n</body>\r\n</html>\r\n")
            head.contentType = ByteView("text/html")
        }
        // The page is made in the scratch that composing the head may use for its own texts.
        guard let page = x.value.region.copy(w.view, from: &buffers, limit: Limits.regionBytesMax) else {
            return finish(x, .failed(.noMemory))
        }
        if head.status >= 300 { x.inner?.isOwnError = true }
        answer(x, head, text: page)
    }

    /// What nginx's own codes, which are sent as 400, stand for.
    private func detail(of status: UInt16) -> StaticString? {
        switch status {
        case 494: "Request Header Or Cookie Too Large"
        case 495: "The SSL certificate error"
        case 496: "No required SSL certificate was sent"
        case 497: "The plain HTTP request was sent to HTTPS port"
        default: nil
        }
    }

    /// nginx's pages differ from its status lines in these.
    private func pageTitle(_ status: UInt16, _ reason: StaticString) -> StaticString {
        switch status {
        case 302: "Found"
        case 401: "Authorization Required"
        default: reason
        }
    }

    private func appendTitle(_ w: Ref<ByteWriter>, _ status: UInt16, _ title: StaticString) {
        w.value.append(decimal: UInt64(status))
        w.value.append(" ")
        w.value.append(title)
    }
}
