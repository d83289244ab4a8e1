// Lines of the error log, in nginx's format, so that the tools people have keep working.
// Called wherever something is worth saying. Written at once and whole: this is the log that must not wait.

import Bytes
import CLinux
import HTTPMessage

extension Worker {
    /// About the process: goes to the log of the first server's outermost level.
    func logProcess(_ level: LogLevel, _ words: StaticString, _ detail: ByteView, errno: Int32 = 0) {
        let target = current.root.processLog
        guard wants(target, level) else { return }
        beginLine(level, connection: 0)
        appendWords(words, detail, errno)
        writeErrorLine(target, level)
    }

    /// About a client's connection between exchanges.
    ///
    /// ssl: what libssl says of it. action: what the connection was at, such as " while reading PROXY protocol".
    func logClient(
        _ level: LogLevel, _ words: StaticString, _ c: Ref<ClientConnection>, detail: ByteView = .empty, ssl: ByteView = .empty,
        action: StaticString = "", errno: Int32 = 0
    ) {
        guard let server = c.defaultServer(in: self), wants(server.settings.errorLog, level) else { return }
        beginLine(level, connection: c.number)
        appendWords(words, detail, errno)
        appendReason(ssl)
        errorText.value.append(action)
        appendClient(c)
        appendPart(", server: ", server.name)
        writeErrorLine(server.settings.errorLog, level)
    }

    /// About an exchange: with its client, server, request, upstream and host.
    ///
    /// more: goes on with the words; detail: follows in quotes; ssl: what libssl says of it. action: what the upstream's connection was
    /// at, such as " while SSL handshaking to upstream".
    func logExchange(
        _ level: LogLevel, _ words: StaticString, _ x: Ref<Exchange>, more: ByteView = .empty, detail: ByteView = .empty,
        ssl: ByteView = .empty, action: StaticString = "", errno: Int32 = 0
    ) {
        let target = x.location.errorLog
        guard wants(target, level) else { return }
        // Details may lie in a scratch; the line is made in another.
        beginLine(level, connection: x.client.number)
        appendWords(words, detail, errno, more: more)
        appendReason(ssl)
        errorText.value.append(action)
        appendClient(x.client)
        appendPart(", server: ", x.server.name)
        let w = errorText
        if !x.requestLine.isEmpty {
            w.value.append(", request: \"")
            w.value.append(x.requestLine)
            w.value.append("\"")
        }
        if x.currentTry != nil, x.proxyTarget.address.text.count > 0 {
            w.value.append(", upstream: \"")
            w.value.append(x.location.proxy.isGRPC ? "grpc" : "http")
            w.value.append(x.proxyTarget.usesTLS ? "s://" : "://")
            w.value.append(x.proxyTarget.address.text)
            w.value.append(x.target.isEmpty ? ByteView("/") : x.target)
            w.value.append("\"")
        }
        if let host = requestField(.host, x) {
            w.value.append(", host: \"")
            w.value.append(host)
            w.value.append("\"")
        }
        if let referer = requestField(.referer, x) {
            w.value.append(", referrer: \"")
            w.value.append(referer)
            w.value.append("\"")
        }
        writeErrorLine(target, level)
    }

    private func wants(_ target: ErrorLogTarget, _ level: LogLevel) -> Bool {
        (target.file != nil && level <= target.level) || (target.secondFile != nil && level <= target.secondLevel)
    }

    private func beginLine(_ level: LogLevel, connection: UInt64) {
        let w = errorText
        w.value.reset()
        w.value.append(dates.errorLog(realtimeNs, parameters.utcOffsetMinutes))
        w.value.append(" [")
        w.value.append(level.word)
        w.value.append("] ")
        w.value.append(decimal: Int(parameters.processID))
        w.value.append("#")
        w.value.append(decimal: parameters.number)
        w.value.append(": ")
        if connection > 0 {
            w.value.append("*")
            w.value.append(decimal: connection)
            w.value.append(" ")
        }
    }

    private func appendWords(_ words: StaticString, _ detail: ByteView, _ errno: Int32, more: ByteView = .empty) {
        let w = errorText
        w.value.append(words)
        w.value.append(more)
        if !detail.isEmpty {
            w.value.append(" \"")
            w.value.append(detail.slice(0, 512))
            w.value.append("\"")
        }
        if errno != 0 {
            w.value.append(" (")
            w.value.append(decimal: Int(errno))
            w.value.append(": ")
            w.value.append(errnoText(errno))
            w.value.append(")")
        }
    }

    private func appendReason(_ ssl: ByteView) {
        if ssl.isEmpty { return }
        errorText.value.append(" (SSL: ")
        errorText.value.append(ssl)
        errorText.value.append(")")
    }

    private func appendClient(_ c: Ref<ClientConnection>) {
        errorText.value.append(", client: ")
        c.address.append(to: errorText)
    }

    private func appendPart(_ name: StaticString, _ value: ByteView) {
        errorText.value.append(name)
        errorText.value.append(value)
    }

    /// Control characters of what others sent are made visible, so that nobody forges a line.
    private func writeErrorLine(_ target: ErrorLogTarget, _ level: LogLevel) {
        let count = min(errorText.count, Limits.errorLineBytes - 1)
        for i in 0..<count where errorText.start[i] < 0x20 || errorText.start[i] == 0x7F { errorText.start[i] = 0x3F }
        errorText.start[count] = 0x0A
        let line = ByteView(errorText.start, count + 1)
        if let file = target.file, level <= target.level { write(file, line) }
        if let file = target.secondFile, level <= target.secondLevel { write(file, line) }
    }

    private func write(_ file: LogFile, _ line: ByteView) {
        let fd = file.descriptor
        if fd < 0 || kernel.write(fd, line.start, line.count) != line.count { file.countLost() }
    }
}

/// The words of an errno that this proxy meets.
func errnoText(_ errno: Int32) -> StaticString {
    switch errno {
    case ENOENT: "No such file or directory"
    case EACCES: "Permission denied"
    case EPERM: "Operation not permitted"
    case EAGAIN: "Resource temporarily unavailable"
    case ENOMEM: "Cannot allocate memory"
    case EMFILE: "Too many open files"
    case ENFILE: "Too many open files in system"
    case ENOSPC: "No space left on device"
    case EIO: "Input/output error"
    case ENOTDIR: "Not a directory"
    case EISDIR: "Is a directory"
    case EPIPE: "Broken pipe"
    case ECONNREFUSED: "Connection refused"
    case ECONNRESET: "Connection reset by peer"
    case ECONNABORTED: "Software caused connection abort"
    case ETIMEDOUT: "Connection timed out"
    case EHOSTUNREACH: "No route to host"
    case ENETUNREACH: "Network is unreachable"
    case EADDRNOTAVAIL: "Cannot assign requested address"
    case EADDRINUSE: "Address already in use"
    case ENAMETOOLONG: "File name too long"
    case ELOOP: "Too many levels of symbolic links"
    case EINVAL: "Invalid argument"
    default: "error"
    }
}
