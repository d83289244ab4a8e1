// Owns what tests of TLS need beside the proxy: keys and certificates made by `openssl`, and a client that speaks through it.
// Called by the suites. It judges nothing; the client's certificate checks are up to the words given.

import CLinux
import COpenSSL
import Foundation

public enum OpenSSL {
    /// Runs `openssl` to its end; what it printed. Its failure is thrown, or its words are returned as well when it may fail.
    @discardableResult
    public static func run(_ words: [String], in folder: String, input: String = "", failing: Bool = false) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["timeout", "20", "openssl"] + words
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        let (output, errors, given) = (Pipe(), Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = failing ? output : errors
        process.standardInput = given
        try process.run()
        given.fileHandleForWriting.write(Data(input.utf8))
        try given.fileHandleForWriting.close()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        if failing {
            process.waitUntilExit()
            return text
        }
        let complaints = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        if process.terminationStatus != 0 { throw TestFailure("openssl \(words): \(complaints)") }
        return text
    }

    /// A certificate that signs itself and its key, in PEM.
    public static func pair(_ name: String, key: [String] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]) throws -> (
        certificate: String, key: String
    ) {
        let folder = try Harness.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try run(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=\(name)", "-keyout", "key", "-out", "crt"] + key, in: folder)
        return (
            try String(contentsOfFile: folder + "/crt", encoding: .utf8), try String(contentsOfFile: folder + "/key", encoding: .utf8)
        )
    }

    /// Writes to `folder` the certificate NAME.crt and its key NAME.key, signed by ISSUER.crt and .key there, or by itself.
    /// `extensions`: lines for `-extfile`.
    public static func certificate(_ name: String, by issuer: String? = nil, extensions: String = "", days: Int = 2, in folder: String) throws {
        let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=\(name)", "-keyout", name + ".key"]
        guard let issuer else {
            try run(["req", "-x509", "-days", "\(days)", "-out", name + ".crt"] + ec, in: folder)
            return
        }
        try run(["req", "-new", "-out", name + ".csr"] + ec, in: folder)
        try extensions.write(toFile: folder + "/\(name).ext", atomically: true, encoding: .utf8)
        try run(
            ["x509", "-req", "-in", name + ".csr", "-CA", issuer + ".crt", "-CAkey", issuer + ".key", "-CAcreateserial", "-days", "\(days)"]
                + ["-extfile", name + ".ext", "-out", name + ".crt"], in: folder)
    }

    /// `openssl ocsp`: speaks for root.crt of the folder, by the file `index` there, until it is let go.
    public final class Responder {
        private let process: ChildProcess

        public init(folder: String, port: Int) throws {
            for end in ["out", "err"] { try? FileManager.default.removeItem(atPath: "\(folder)/responder.\(end)") }
            process = try ChildProcess(
                "/usr/bin/env",
                ["openssl", "ocsp", "-index", "\(folder)/index", "-port", "\(port)", "-rsigner", "\(folder)/root.crt", "-rkey", "\(folder)/root.key"]
                    + ["-CA", "\(folder)/root.crt", "-ndays", "1"], stdout: folder + "/responder.out", stderr: folder + "/responder.err")
            // It serves one client at a time, and would wait for words of one that only knocks.
            try Harness.wait(for: "the responder") {
                ["out", "err"].contains {
                    (try? String(contentsOfFile: "\(folder)/responder.\($0)", encoding: .utf8))?.contains("waiting for OCSP client") == true
                }
            }
        }

        deinit {
            process.signal(SIGKILL)
            _ = process.waitForEnd(withinMs: 5000)
        }
    }

    /// Made once for all tests that do not care.
    public static let ec = Result { try pair("localhost") }
    public static let rsa = Result { try pair("localhost", key: ["-newkey", "rsa:2048"]) }

    /// `localhost.crt` and `.key` for the files of a proxy.
    public static func files(_ pairs: [(name: String, pair: (certificate: String, key: String))]) -> [String: String] {
        pairs.reduce(into: [:]) { files, pair in
            files[pair.name + ".crt"] = pair.pair.certificate
            files[pair.name + ".key"] = pair.pair.key
        }
    }
}

/// A client of TLS 1.3 that says nothing, and says it well.
public enum SilentClient {
    /// Connects to the proxy and makes so many records that change its keys, to be sent on the connection.
    public static func changesOfKeys(_ proxy: Proxy, count: Int) throws -> (stream: Stream, records: [UInt8]) {
        let stream = try proxy.client().stream
        let room = 64 << 10
        let pipe = UnsafeMutablePointer<TLSPipe>.allocate(capacity: 1)
        let out = UnsafeMutablePointer<UInt8>.allocate(capacity: room)
        pipe.initialize(to: TLSPipe())
        pipe.pointee.out = out
        pipe.pointee.out_capacity = room
        let (context, bio) = (tls_context_make(0), tls_pipe_bio(pipe))
        guard let context, let ssl = tls_make(context, bio, 0) else { throw TestFailure("no TLS") }
        defer {
            SSL_free(ssl)
            BIO_free(bio)
            SSL_CTX_free(context)
            pipe.deallocate()
            out.deallocate()
        }
        func call(_ input: [UInt8], _ body: () -> Int32) -> (result: Int32, output: [UInt8]) {
            pipe.pointee.out_count = 0
            return input.withUnsafeBufferPointer {
                pipe.pointee.in = $0.baseAddress
                pipe.pointee.in_count = $0.count
                let result = body()
                return (result, Array(UnsafeBufferPointer(start: out, count: pipe.pointee.out_count)))
            }
        }
        var step = call([]) { tls_handshake(ssl) }
        while step.result != 1 {
            try stream.send(step.output)
            if step.result != Int32(TLS_WANT_READ) { throw TestFailure("the handshake failed") }
            step = call(try stream.read()) { tls_handshake(ssl) }
        }
        var records = step.output
        for _ in 0..<count {
            let next = call([]) { SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 ? SSL_do_handshake(ssl) : 0 }
            if next.result != 1 { throw TestFailure("no change of keys") }
            records += next.output
        }
        return (stream, records)
    }
}

/// A client whose bytes go through `openssl s_client`: what RawClient does, it does over TLS.
public final class TLSClient: Sendable {
    public let raw: RawClient
    private let process: ChildProcess
    private let base: String

    /// `words`: further ones for s_client, such as `-tls1_2`.
    public init(_ proxy: Proxy, _ words: [String] = ["-servername", "localhost"], timeoutMs: Int = 30_000) throws {
        base = proxy.path("s_client-" + UUID().uuidString)
        let (near, far) = try Sockets.pair()
        defer { Glibc.close(far) }
        process = try ChildProcess(
            "/usr/bin/env",
            ["openssl", "s_client", "-connect", "127.0.0.1:\(proxy.port)", "-quiet", "-nocommands"] + words,
            stdin: far, stdout: nil, stderr: base + ".err")
        raw = RawClient(stream: Stream(fd: near, timeoutMs: timeoutMs))
    }

    deinit { close() }

    /// Goes away without a word.
    public func close() {
        raw.close()
        process.signal(SIGKILL)
    }

    /// Whether s_client has written its session to the file, once it has ended.
    public func hasSession(_ file: String) -> Bool {
        _ = process.waitForEnd(withinMs: 5000)
        return (try? String(contentsOfFile: file, encoding: .utf8))?.contains("END SSL SESSION") == true
    }

    /// What s_client said about the handshake.
    public var remarks: String { (try? String(contentsOfFile: base + ".err", encoding: .utf8)) ?? "" }

    /// One request on this connection.
    @discardableResult
    public func request(_ method: String = "GET", _ target: String = "/", _ fields: [String] = [], body: String? = nil) throws -> Response {
        try raw.request(method, target, fields, body: body)
    }
}
