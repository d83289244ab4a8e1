// Certificates of a server that have variables in their names: which ones a handshake asks for, and what is told when there is none.
// Called by TLSServer.swift once libssl has read the client's hello. Reading and keeping them is CertificateCache.swift's.

import Bytes
import CLinux
import COpenSSL

extension Worker {
    /// The certificates that variables name, as for a request that has not come yet.
    func givePairs(_ c: Ref<ClientConnection>, _ chosen: Ref<ServerSettings>) {
        guard let t = c.stream.tls else { return }
        t.pairVerdict = 0
        // One without certificates of its own has those of the default server.
        guard let server = chosen.tls.context == nil ? c.defaultServer(in: self) : chosen,
            let (x, handle) = exchanges.insert(copying: blankExchange)
        else { return }
        x.handle = handle
        x.client = c
        x.pinned = current
        x.server = server
        x.location = server.settings
        x.startedMs = nowMs
        if givePairs(t, server, x, c) { t.pairVerdict = 1 }
        x.value.region.release(to: &buffers)
        exchanges.remove(handle)
    }

    /// False: one of them is not to be had, and that was told.
    private func givePairs(_ t: Ref<TLSConnection>, _ server: Ref<ServerSettings>, _ x: Ref<Exchange>, _ c: Ref<ClientConnection>) -> Bool {
        let pairs = server.tls.pairs
        for i in 0..<pairs.count {
            let certificate = expand(pairs[i].certificate, for: x, keep: true)
            let key = expand(pairs[i].key, for: x, keep: true)
            // Names come from clients: none of them leads out of the folder that it is meant for.
            if leadsUpwards(certificate) || leadsUpwards(key) {
                tell("cannot load certificate", certificate, EACCES, c)
                return false
            }
            switch useCertificate(t.ssl, certificate, key, server.tls.files, x) {
            case nil: continue
            case .unread(.chain, let errno): tell("cannot load certificate", certificate, errno, c)
            case .unread(.key, let errno): tell("cannot load certificate key", key, errno, c)
            case .unfit: tell("cannot use certificate", certificate, 0, c)
            }
            return false
        }
        return true
    }

    private func leadsUpwards(_ name: ByteView) -> Bool {
        var rest = name
        while true {
            let end = rest.firstIndex(of: 0x2F) ?? rest.count
            if rest.slice(0, end) == ByteView("..") { return true }
            if end == rest.count { return false }
            rest = rest.slice(end + 1)
        }
    }

    private func tell(_ words: StaticString, _ name: ByteView, _ errno: Int32, _ c: Ref<ClientConnection>) {
        let shown = name.hasPrefix(ByteView("data:")) ? ByteView("data:...") : name
        logClient(.error, words, c, detail: shown, ssl: errno == 0 ? tlsErrors() : .empty, action: Self.handshakingWithClient, errno: errno)
    }
}
