// TLS towards clients: the handshake, and what it decides about the connection.
// Called by the listener and by events of connections whose handshake is under way. What was agreed on is told by Variables/TLSValue.swift.

import Bytes
import CLinux
import COpenSSL
import HTTPMessage

extension Worker {
    /// The connection is to speak TLS from its next byte on; some may have been read already.
    func beginHandshake(_ c: Ref<ClientConnection>) {
        c.phase = .handshake
        c.expectsTLS = true
        if !c.input.isEmpty { handshake(c) }
    }

    static var handshakingWithClient: StaticString { " while SSL handshaking" }

    func handshakeTimedOut(_ c: Ref<ClientConnection>) {
        logClient(.info, "client timed out", c, action: Self.handshakingWithClient, errno: ETIMEDOUT)
        closeClient(c)
    }

    func handshake(_ c: Ref<ClientConnection>) {
        if c.stream.carrier == .socket, !startTLS(c) { return }
        // A responder is asked about its certificate.
        if c.stream.tls?.status == .asked { return }
        var server = c.defaultServer(in: self)
        while true {
            switch shakeHands(&c.value.stream) {
            case .done:
                if isAskedAbout(c) { return }
                return handshakeDone(c)
            case .wouldBlock: return
            case .wantsServer:
                server = chooseServerByName(c)
                if server == nil { return }
            case .wantsPairs: if let server { givePairs(c, server) }
            case .ended:
                logClient(.info, "peer closed connection in SSL handshake", c, action: Self.handshakingWithClient)
                return closeClient(c)
            case .failed:
                let isPeers = tls_failure_is_peers() != 0
                logClient(isPeers ? .info : .crit, "SSL_do_handshake() failed", c, ssl: tlsErrors(), action: Self.handshakingWithClient)
                return closeClient(c)
            case .failedSocket: return closeClient(c)
            }
        }
    }

    /// The first bytes tell TLS from a client that speaks plainly, who is told so in a language it knows. False: wait, or it is gone.
    private func startTLS(_ c: Ref<ClientConnection>) -> Bool {
        if c.input.isEmpty {
            if !c.stream.isReadable { return false }
            switch read(&c.value.stream, into: scratch.data, Limits.readBytes) {
            case .bytes(let n): setInputFromScratch(c, n)
            case .wouldBlock: return false
            case .end, .failed:
                closeClient(c)
                return false
            }
        }
        if c.input[0] != 0x16, c.input[0] & 0x80 == 0 {
            c.phase = .readingHead
            readRequests(c)
            return false
        }
        // A certificate that was replaced is shown from the acknowledgement on: the newest snapshot is the one to begin with.
        adoptIfPublished()
        let first = c.defaultServer(in: self)
        // One that has no certificate rejects all that do not ask for another, and has a context for that.
        guard let context = first?.tls.context, beginTLS(&c.value.stream, context, isServer: true, early: c.input) else {
            logClient(.crit, "cannot begin TLS", c, action: Self.handshakingWithClient)
            closeClient(c)
            return false
        }
        if let t = c.stream.tls {
            t.readsEarly = first?.tls.takesEarlyData == true
            // Answers to early data cannot wait for a socket that libssl writes to.
            t.writesToSocket = !t.readsEarly && tls_write_to_socket(t.ssl, c.stream.fd) != 0
        }
        dropInputBuffer(c)
        return true
    }

    /// The server for the name in the client's hello. Nil: the connection is gone.
    private func chooseServerByName(_ c: Ref<ClientConnection>) -> Ref<ServerSettings>? {
        adoptIfPublished()
        guard let t = c.stream.tls, let listen = listeners[Int(c.listener)].settings else {
            closeClient(c)
            return nil
        }
        let pipe = tls.pipe
        let name = withUnsafePointer(to: &pipe.pointee.name) {
            $0.withMemoryRebound(to: UInt8.self, capacity: 256) { ByteView($0, Int(pipe.pointee.name_count)) }
        }
        let server = current.root.servers[Int(serverNamed(name, listen) ?? listen.defaultServer)]
        if server.tls.rejectsHandshake {
            rejectName(&c.value.stream)
            logClient(.info, "handshake rejected", c, action: Self.handshakingWithClient)
            closeClient(c)
            return nil
        }
        let context = server.tls.context ?? c.defaultServer(in: self)?.tls.context
        if takeServer(t, context, offersHTTP2: server.speaksHTTP2 || listen.speaksHTTP2) { return server }
        logClient(.crit, "SSL_set_SSL_CTX() failed", c, ssl: tlsErrors(), action: Self.handshakingWithClient)
        closeClient(c)
        return nil
    }

    /// Whether the end of the handshake waits for what a responder says.
    private func isAskedAbout(_ c: Ref<ClientConnection>) -> Bool {
        guard let t = c.stream.tls, tls_has_peer_certificate(t.ssl) != 0, tls_verdict(t.ssl) == X509_V_OK else { return false }
        return asksForStatus(c, t, statusSettings(c))
    }

    /// Of the server that the handshake is with.
    private func statusSettings(_ c: Ref<ClientConnection>) -> StatusSettings {
        guard let listen = listeners[Int(c.listener)].settings else { return StatusSettings() }
        let servers = current.root.servers
        if let named = serverOfHandshake(c, listen), servers[Int(named)].tls.context != nil { return servers[Int(named)].tls.status }
        return servers[Int(listen.defaultServer)].tls.status
    }

    func statusCame(_ handle: Handle, _ status: ResponderVerdict, untilSeconds: Int64) {
        guard let c = clients.find(handle), c.phase == .handshake, let t = c.stream.tls, t.status == .asked else { return }
        let settings = statusSettings(c)
        tookStatus(t, status, untilSeconds: untilSeconds, settings)
        if !asksForStatus(c, t, settings) { handshakeDone(c) }
    }

    /// The server that is called `name` on the address, or nil.
    func serverNamed(_ name: ByteView, _ listen: Ref<ListenSettings>) -> Int32? {
        guard !name.isEmpty, case .valid(let range, _, let needsLowering) = validateHost(name.buffer.span) else { return nil }
        var host = name.slice(Int(range.start), Int(range.count))
        if needsLowering {
            scratchText.value.reset()
            scratchText.value.append(lowercasing: host)
            host = scratchText.view
        }
        if let found = listen.names.find(host) { return found }
        for i in 0..<listen.names.regexes.count {
            let entry = listen.names.regexes[i]
            if case .match = matcher.match(current.root.regexes[Int(entry.regex)].value, host) { return entry.server }
        }
        return nil
    }

    /// The server of the name that the client asked for in its handshake, for a request that names no host.
    func serverOfHandshake(_ c: Ref<ClientConnection>, _ listen: Ref<ListenSettings>) -> Int32? {
        guard let t = c.stream.tls, let name = tls_server_name(t.ssl) else { return nil }
        return serverNamed(ByteView(cString: name), listen)
    }

    private func handshakeDone(_ c: Ref<ClientConnection>) {
        c.phase = .idle
        let server = c.defaultServer(in: self)
        timers.set(c.timer, at: nowMs + (server?.clientHeaderTimeoutMs ?? 60_000))
        if let t = c.stream.tls, t.offersHTTP2, tls_chose_http2(t.ssl) != 0 { return beginHTTP2(c) }
        if isStopping, !c.stream.isReadable { return closeClient(c) }
        readRequests(c)
    }
}

extension ByteView {
    /// A text of C.
    init(cString text: UnsafePointer<CChar>) {
        self.init(UnsafeRawPointer(text).assumingMemoryBound(to: UInt8.self), strlen(text))
    }
}
