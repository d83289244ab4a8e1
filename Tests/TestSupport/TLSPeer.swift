// Owns a server that speaks TLS through Python's ssl module and tells each client what it saw of it.
// Called by the suites about upstreams. It answers one thread a connection; what it answers is a line of words.

import Foundation

/// Each answer is `number|request|version|name|certificate|session|protocol|path|body bytes`: of the connection and the request on it,
/// from zero; the name that was asked for; the subject of the client's certificate; `r` for a session taken up again, else `.`.
public final class TLSPeer: Sendable {
    public let endpoint: Endpoint
    private let process: ChildProcess
    private let directory: String

    /// The first answer's words, by place.
    public enum Word: Int { case connection, request, version, name, certificate, session, `protocol`, path, bodyBytes }

    /// `clients`: certificates in PEM that clients are trusted by; without, none is asked for.
    /// `options`: further lines of Python, with the context in `c`.
    public init(
        _ pair: (certificate: String, key: String), clients: String = "", options: String = "", endpoint: Endpoint? = nil
    ) throws {
        directory = try Harness.temporaryDirectory()
        self.endpoint = try endpoint ?? .tcp("127.0.0.1", Ports.reserve())
        let script = Self.script.replacingOccurrences(of: "OPTIONS", with: options)
        for (name, text) in [("crt", pair.certificate), ("key", pair.key), ("clients", clients), ("peer.py", script)] {
            try text.write(toFile: directory + "/" + name, atomically: false, encoding: .utf8)
        }
        let address =
            switch self.endpoint {
            case .tcp(_, let port): String(port)
            case .unix(let path): path
            }
        process = try ChildProcess(
            "/usr/bin/env", ["python3", directory + "/peer.py", address, directory], stdout: directory + "/out", stderr: directory + "/err")
        try Harness.wait(for: "the peer to listen: \(errors)") {
            guard let fd = try? Sockets.connect(self.endpoint) else { return false }
            close(fd)
            return true
        }
    }

    deinit {
        process.signal(SIGKILL)
        _ = process.waitForEnd(withinMs: 3000)
        try? FileManager.default.removeItem(atPath: directory)
    }

    public var errors: String { (try? String(contentsOfFile: directory + "/err", encoding: .utf8)) ?? "" }

    private static let script = #"""
        import os, socket, ssl, sys, threading
        address, folder = sys.argv[1:3]
        os.chdir(folder)
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain("crt", "key")
        if os.path.getsize("clients"):
            c.load_verify_locations("clients")
            c.verify_mode = ssl.CERT_OPTIONAL
        names = threading.local()
        def asked(s, name, _): names.asked = name
        c.sni_callback = asked
        OPTIONS
        if address.isdigit():
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", int(address)))
        else:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(address)
        listener.listen(64)
        lock, count = threading.Lock(), [0]
        def serve(raw):
            names.asked = None
            try: s = c.wrap_socket(raw, server_side=True)
            except (ssl.SSLError, OSError) as e: return print(e, file=sys.stderr, flush=True)
            with lock:
                number = count[0]
                count[0] += 1
            subject = s.getpeercert() if c.verify_mode else None
            subject = subject["subject"][0][0][1] if subject else "-"
            f, n = s.makefile("rwb"), 0
            try:
                while line := f.readline():
                    size = 0
                    while (field := f.readline().strip()):
                        name, _, value = field.partition(b":")
                        if name.lower() == b"content-length": size = int(value)
                    left = size
                    while left: left -= len(f.read(min(left, 65536)))
                    words = [number, n, s.version(), names.asked or "-", subject, "r" if s.session_reused else ".",
                             s.selected_alpn_protocol() or "-", line.split()[1].decode(), size]
                    body = "|".join(map(str, words)).encode()
                    if b"/large" in line: body += b"|" + b"x" * 3000000
                    f.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                    f.flush()
                    n += 1
            except (ssl.SSLError, OSError) as e: print(e, file=sys.stderr, flush=True)
            s.close()
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
        """#
}

extension Response {
    /// A word of what a `TLSPeer` answered.
    public func told(_ word: TLSPeer.Word) -> String {
        let words = text.split(separator: "|", omittingEmptySubsequences: false)
        return words.indices.contains(word.rawValue) ? String(words[word.rawValue]) : text
    }
}

/// `openssl s_server` in the hands of a test, who types its answers, and its commands: a line that is "k" changes the keys.
public final class TLSConsole: Sendable {
    public let endpoint: Endpoint
    private let process: ChildProcess
    private let keyboard: Stream
    private let directory: String

    public init(_ pair: (certificate: String, key: String)) throws {
        directory = try Harness.temporaryDirectory()
        let port = try Ports.reserve()
        endpoint = .tcp("127.0.0.1", port)
        try pair.certificate.write(toFile: directory + "/crt", atomically: false, encoding: .utf8)
        try pair.key.write(toFile: directory + "/key", atomically: false, encoding: .utf8)
        let (near, far) = try Sockets.pair()
        defer { close(far) }
        process = try ChildProcess(
            "/usr/bin/env", ["openssl", "s_server", "-accept", "127.0.0.1:\(port)", "-cert", directory + "/crt", "-key", directory + "/key"],
            stdin: far, stdout: directory + "/out", stderr: directory + "/err")
        keyboard = Stream(fd: near, timeoutMs: 30_000)
        try Harness.wait(for: "s_server to listen: \(output)") { output.contains("ACCEPT") }
    }

    deinit {
        process.signal(SIGKILL)
        _ = process.waitForEnd(withinMs: 3000)
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// What it has received and said so far.
    public var output: String { (try? String(contentsOfFile: directory + "/out", encoding: .utf8)) ?? "" }
    public func type(_ text: String) throws { try keyboard.send(text) }
}
