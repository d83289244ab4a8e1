// Owns how each system is told to switch: the kept command connection, the bytes sent, and when the acknowledgement is whole.
// The commander calls it. Every call blocks, for ten seconds at most.

import CKernel
import Glibc

struct CommandFailure: Error {
    let text: String
}

final class Commands {
    private let options: Options
    private var fd: Int32 = -1
    private var scratch = [UInt8](repeating: 0, count: 65536)
    /// The last answer said that this connection ends.
    private var isClosing = false
    /// For `reload`: the file's texts, read before anything is measured.
    private var texts: [[UInt8]] = []

    init(_ options: Options) throws(CommandFailure) {
        self.options = options
        switch options.system {
        case .reload:
            texts = [try Self.read(options.configuration + ".blue"), try Self.read(options.configuration + ".green")]
        case .proxyd: try connect()
        case .haproxy:
            try connect()
            // A prompt keeps the connection, which otherwise ends with its first line; it expires after ten minutes.
            _ = try exchange(Array("prompt\n".utf8), untilPrompts: 1)
            _ = try exchange(Array("set timeout cli 600\n".utf8), untilPrompts: 1)
            // In its file both have weights; now blue alone is used.
            try switchTo(0)
        }
    }

    var acknowledges: Bool { options.system != .reload }

    /// Sends the switch to a variant (0 blue, 1 green) and returns when it is acknowledged, or sent where nothing is.
    func switchTo(_ variant: Int) throws(CommandFailure) {
        let (to, from) = variant == 0 ? ("blue", "green") : ("green", "blue")
        switch options.system {
        case .proxyd:
            try http("PATCH", "/splits/app", Array(#"{"weights":{"\#(to)":100,"\#(from)":0}}"#.utf8))
        case .haproxy:
            // The new one first, so that there is always one to choose.
            let line = "set server app/\(to) weight 100; set server app/\(from) weight 0\n"
            // A prompt a command.
            let answer = try exchange(Array(line.utf8), untilPrompts: 2)
            // Nothing but the prompt and empty lines says that all went well.
            if answer.contains(where: { !"> \n".utf8.contains($0) }) {
                throw CommandFailure(text: String(decoding: answer, as: UTF8.self))
            }
        case .reload: try reload(texts[variant])
        }
    }

    /// Replaces all pools of proxyd.
    func putUpstreams(_ body: [UInt8]) throws(CommandFailure) { try http("PUT", "/upstreams", body) }

    /// Makes the connection anew if the system closes it (HTTP: after so many requests). Called where nobody measures.
    func reconnectIfClosed() throws(CommandFailure) {
        guard isClosing else { return }
        kernel_close(fd)
        isClosing = false
        try connect()
    }

    // MARK: Files and signals

    private static func read(_ path: String) throws(CommandFailure) -> [UInt8] {
        let fd = open(path, O_RDONLY)
        guard fd >= 0 else { throw CommandFailure(text: "cannot read \(path)") }
        defer { close(fd) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = Glibc.read(fd, &bytes, bytes.count)
        guard count > 0 else { throw CommandFailure(text: "cannot read \(path)") }
        return Array(bytes[..<count])
    }

    private func reload(_ text: [UInt8]) throws(CommandFailure) {
        let new = options.configuration + ".new"
        let fd = open(new, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        guard fd >= 0, write(fd, text, text.count) == text.count, close(fd) == 0, rename(new, options.configuration) == 0,
            kill(options.pid, SIGHUP) == 0
        else { throw CommandFailure(text: "cannot reload with \(options.configuration)") }
    }

    // MARK: Sockets

    private func connect() throws(CommandFailure) {
        // Its maker may still be starting.
        for _ in 0..<500 {
            fd = kernel_connect_unix(options.socket)
            if fd >= 0 { return }
            kernel_sleep_until_ns(kernel_now_ns() + 10_000_000)
        }
        throw CommandFailure(text: "cannot connect to \(options.socket): error \(-fd)")
    }

    private func send(_ bytes: [UInt8]) throws(CommandFailure) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { kernel_send(fd, $0.baseAddress! + sent, $0.count - sent, 1) }
            guard count > 0 else { throw CommandFailure(text: "the command connection ended: error \(-count)") }
            sent += count
        }
    }

    private func receive() throws(CommandFailure) -> ArraySlice<UInt8> {
        let count = kernel_receive(fd, &scratch, scratch.count, 1)
        guard count > 0 else { throw CommandFailure(text: "the command connection ended: error \(-count)") }
        return scratch[..<count]
    }

    private func exchange(_ bytes: [UInt8], untilPrompts prompts: Int) throws(CommandFailure) -> [UInt8] {
        try send(bytes)
        var answer: [UInt8] = []
        var seen = 0
        while seen < prompts {
            answer.append(contentsOf: try receive())
            seen = 0
            for i in answer.indices.dropFirst() where answer[i] == UInt8(ascii: " ") && answer[i - 1] == UInt8(ascii: ">") {
                seen += 1
            }
        }
        return answer
    }

    private func http(_ method: String, _ path: String, _ body: [UInt8]) throws(CommandFailure) {
        let fields = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: \(body.count)\r\n"
        let head = "\(method) \(path) HTTP/1.1\r\n\(fields)\r\n"
        try send(Array(head.utf8) + body)
        var answer: [UInt8] = []
        while true {
            answer.append(contentsOf: try receive())
            guard let bodyBegin = headEnd(answer, from: 0, to: answer.count) else { continue }
            let head = String(decoding: answer[..<bodyBegin], as: UTF8.self)
            guard head.hasPrefix("HTTP/1.1 200 ") || head.hasPrefix("HTTP/1.1 201 ") else {
                throw CommandFailure(text: "\(method) \(path): \(String(decoding: answer, as: UTF8.self))")
            }
            let length = Self.field("content-length", of: head).flatMap { Int($0) }
            let isWhole = length.map { answer.count >= bodyBegin + $0 } ?? answer.suffix(5).elementsEqual("0\r\n\r\n".utf8)
            if isWhole {
                isClosing = Self.field("connection", of: head) == "close"
                return
            }
        }
    }

    /// A header field's value in lower case.
    private static func field(_ name: String, of head: String) -> String? {
        for line in head.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == name else { continue }
            return String(parts[1].drop { $0 == " " }).lowercased()
        }
        return nil
    }
}
