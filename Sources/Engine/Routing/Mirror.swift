// Mirrors: a copy of each request of a location goes elsewhere, and nobody waits for what is answered there.
// Called before the content is made. Beyond a bound copies are not made: a mirror costs neither clients nor memory.

import Bytes

extension Worker {
    /// Sends the copies of a request, after reading its body if they are to have it. False when that is not whole yet, or the request has
    /// been answered.
    func sendMirrors(_ x: Ref<Exchange>) -> Bool {
        // Requests within requests are not mirrored, as with nginx.
        if x.location.mirrors.isEmpty || x.inner != nil { return true }
        if x.location.mirrorsBody, !x.body.isComplete, !x.dropsBody {
            x.readsForMirrors = true
            x.streamsBody = false
            if !collectBody(x) { return false }
            x.readsForMirrors = false
        }
        copyToMirrors(x)
        return true
    }

    func bodyIsReadForMirrors(_ x: Ref<Exchange>) {
        x.readsForMirrors = false
        x.phase = .routing
        copyToMirrors(x)
        runHandler(x)
    }

    private func copyToMirrors(_ x: Ref<Exchange>) {
        for i in 0..<x.location.mirrors.count {
            let plan = InnerPlan(
                receiver: .nobody, path: x.location.mirrors[i].value, arguments: x.arguments, keepsMethod: true, passesBody: x.location.mirrorsBody)
            if mayMirror, beginInner(x, plan) != nil { continue }
            counts.mirrorsDropped += 1
            x.pinned.account.add(.mirrorsDropped)
            logExchange(.warn, "too many mirrored requests are under way, one is dropped", x)
        }
    }

    /// A quarter of what the worker may have open: mirrors that hang leave clients enough.
    var mayMirror: Bool {
        inner.mirrors < min(Limits.mirrorsMax, max(1, parameters.connectionsMax / 4)) && inner.mirrorBytes < Limits.mirrorBytesMax && !isStopping
    }
}
