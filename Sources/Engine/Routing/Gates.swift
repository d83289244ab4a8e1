// What a request passes between its location and the content, where the configuration asks for it, in nginx's order: the real address,
// limits of requests, limits of connections, allow and deny, auth_request.
// Called by the router for locations with `isGated` alone. Whoever does not let the request pass has answered it, or goes on with it later.

import Bytes

extension Worker {
    /// False when the request has been answered or waits.
    func passGates(_ x: Ref<Exchange>) -> Bool {
        if x.inner == nil { takeRealAddress(x, x.location) }
        return passRequestLimits(x) && passConnectionLimits(x) && checkAccess(x) && askPermission(x)
    }

    /// Goes on with a request that had to wait for its turn.
    func passedRequestLimits(_ x: Ref<Exchange>) {
        if passConnectionLimits(x), checkAccess(x), askPermission(x) { makeContent(x) }
    }

    private func checkAccess(_ x: Ref<Exchange>) -> Bool {
        // Whoever may have the answer around it may have its parts.
        if x.inner != nil { return true }
        let rules = x.location.accessRules
        for i in 0..<rules.count where rules[i].range.contains(x.client.address) {
            if !rules[i].denies { return true }
            logExchange(.error, "access forbidden by rule", x)
            answerError(x, 403)
            return false
        }
        return true
    }
}
