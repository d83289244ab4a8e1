// auth_request: whether a request may go on is asked of another one, made within it, of which the status counts.
// Called by the gates after allow and deny. It waits; what is answered comes by Client/Inner.

import Bytes
import HTTPMessage

/// `auth_request_set $NAME VALUE`: a slot of the exchange, or what `set` changes in it, and its value, in the terms of the request that was asked.
package struct AuthValue: BitwiseCopyable {
    package var step: RewriteStep
    package init(_ step: RewriteStep) { self.step = step }
}

extension Worker {
    /// False when the request waits for an answer, or has been answered.
    func askPermission(_ x: Ref<Exchange>) -> Bool {
        if x.location.authRequest.isEmpty || x.inner != nil { return true }
        let plan = InnerPlan(receiver: .status, path: x.location.authRequest, arguments: .empty)
        guard beginInner(x, plan) != nil else {
            logExchange(.error, "auth request cannot be made", x)
            answerFault(x, .noMemory)
            return false
        }
        x.phase = .asking
        return false
    }

    /// What was asked is over, as far as it came; its variables are still there. `x` waits for it.
    func permissionCame(_ its: Ref<Exchange>, for x: Ref<Exchange>) {
        let location = x.location
        for i in 0..<location.authValues.count {
            func value(_ template: Template) -> ByteView {
                let text = expand(template, for: its, keep: false)
                return x.value.region.copy(text, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
            }
            switch location.authValues[i].value.step {
            case .set(let slot, let template): setValue(x, slot, value(template))
            case .setArguments(let template):
                x.arguments = value(template)
                x.isTargetCurrent = false
            case .setRate(let template): setRate(x, from: value(template))
            default: continue
            }
        }
    }

    /// The lines of a head by which a client learns how to show who it is.
    func keepAuthenticate(_ head: ByteView, for x: Ref<Exchange>) {
        let name = ByteView("WWW-Authenticate:")
        valueText.value.reset()
        var from = 0
        while from < head.count {
            let end = head.firstIndex(of: 0x0A, from: from) ?? head.count
            let line = head.slice(from, min(end + 1, head.count) - from)
            if line.count > name.count, line.slice(0, name.count).equalsIgnoringCase(name) { valueText.value.append(line) }
            from = end + 1
        }
        if valueText.count == 0 || valueText.overflowed { return }
        x.keptLines = x.value.region.copy(valueText.view, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
    }

    /// The exchange waits for an answer: perhaps it is there.
    func goOnAsking(_ x: Ref<Exchange>) {
        var place = x.firstInner
        while let r = place, r.receiver != .status { place = r.next }
        guard let r = place, r.isOver else { return }
        let status = r.isWhole ? r.status : 500
        let isMoved = r.isMoved
        release(r, of: x)
        x.phase = .routing
        // What was asked of another configuration says nothing in this one: the request goes its way again in that.
        if isMoved { return x.client.defaultServer(in: self) == nil ? answerFault(x, .shutdown) : beginAnew(x) }
        switch status {
        case 200..<300:
            x.keptLines = .empty
            makeContent(x)
        case 401: answerError(x, 401)
        case 403:
            x.keptLines = .empty
            answerError(x, 403)
        default:
            x.keptLines = .empty
            scratchText.value.reset()
            scratchText.value.append(decimal: UInt64(status))
            logExchange(.error, "auth request unexpected status: ", x, more: scratchText.view)
            answerError(x, 500)
        }
    }

    /// As in other waits, a client that closes is taken to have left.
    func clientOfAskingReadable(_ x: Ref<Exchange>) {
        if x.client.stream.peerClosed, x.location.proxy.ignoreClientAbort != .never { clientGone(x, .clientClosed) }
    }
}
