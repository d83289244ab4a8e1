// Owns the connection to an admin API: opens a socket, sends a request, waits for the answer with a bound on time and size.
// Called by the verbs through Options. Blocking, one connection a request; what an answer means is decided elsewhere.

import CLinux
import Glibc

struct AdminRequest {
    var method = "GET"
    /// Below the admin location, its segments percent-encoded.
    var path: String
    var query: [(name: String, value: String)] = []
    var fields: [(name: String, value: String)] = []
    var body: [UInt8]?
    /// Instead of the address.
    var host: String?
    /// The longest silence that is borne. Waiting requests set more.
    var timeoutMs = 10_000

    private(set) var hasEmptyName = false

    init(_ method: String = "GET", _ segments: [String]) {
        self.method = method
        hasEmptyName = segments.contains("")
        path = "/" + segments.map(Self.encoded).joined(separator: "/")
    }

    /// RFC 3986: everything but unreserved characters.
    static func encoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var out: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                out.append(byte)
            default: out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    var target: String {
        query.isEmpty
            ? path : path + "?" + query.map { Self.encoded($0.name) + "=" + Self.encoded($0.value) }.joined(separator: "&")
    }

    func head(for address: AdminAddress, token: String?) -> String {
        var lines = [
            "\(method) \(address.prefix)\(target) HTTP/1.1", "Host: \(host ?? address.host)", "User-Agent: proxyctl", "Connection: close",
        ]
        if let token { lines.append("Authorization: Bearer \(token)") }
        lines += fields.map { "\($0.name): \($0.value)" }
        if let body {
            lines += ["Content-Type: application/json", "Content-Length: \(body.count)"]
        } else if method != "GET" && method != "HEAD" {
            lines.append("Content-Length: 0")
        }
        return lines.joined(separator: "\r\n") + "\r\n\r\n"
    }
}

struct AdminAnswer {
    let status: Int
    let body: [UInt8]
    let isProblem: Bool
    /// The revision that the ETag tells.
    let revision: UInt64?
    let fields: [(name: String, value: String)]

    fileprivate init(_ reader: AnswerReader, isProblem: Bool) {
        status = reader.status
        body = reader.body
        fields = reader.fields
        self.isProblem = isProblem
        revision = reader["ETag"].flatMap { UInt64($0.filter { $0 != "\"" }) }
    }

    var text: String { String(decoding: body, as: UTF8.self) }
}

final class AdminClient {
    /// Tried in order until one accepts; that one is kept.
    private var addresses: [AdminAddress]
    private let token: String?
    private let connectTimeoutMs: Int32

    init(_ addresses: [AdminAddress], token: String? = nil, connectTimeoutMs: Int32 = 5000) {
        self.addresses = addresses
        self.token = token
        self.connectTimeoutMs = connectTimeoutMs
    }

    /// The whole answer, whatever its status.
    func send(_ request: AdminRequest) throws(Failure) -> AdminAnswer {
        let reader = try exchange(request) { _ throws(Failure) in true }
        return AdminAnswer(reader, isProblem: reader["Content-Type"]?.lowercased().hasPrefix("application/problem+json") ?? false)
    }

    /// Hands over each piece of a good answer's body as it comes (an empty one for the head), until it ends or `take` says false.
    /// An answer that is not good comes back whole; of a good one, the head.
    func stream(_ request: AdminRequest, _ take: ([UInt8]) throws(Failure) -> Bool) throws(Failure) -> AdminAnswer {
        let reader = try exchange(request) { (reader) throws(Failure) in
            if reader.status != 200 { return true }
            return try take(reader.takeBody())
        }
        return AdminAnswer(reader, isProblem: reader.status != 200)
    }

    // MARK: One exchange

    /// `each` is called after every piece that was read, and at the end; false ends the exchange.
    private func exchange(
        _ request: AdminRequest, _ each: (inout AnswerReader) throws(Failure) -> Bool
    ) throws(Failure) -> AnswerReader {
        // It would ask for something else: the path of all certificates is that of one without a name.
        if request.hasEmptyName {
            throw Failure(.usage, "a name is empty", hint: "A variable of the shell that is not set looks like that.")
        }
        let (fd, address) = try open()
        defer { _ = clinux_close(fd) }
        // The server may answer before it has read a body that it refuses: what it says then is worth more than our error.
        let sending = send(Array(request.head(for: address, token: token).utf8) + (request.body ?? []), to: fd, request.timeoutMs)
        var reader = AnswerReader(to: request.method)
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Self.receive(fd, &buffer, timeoutMs: request.timeoutMs)
            if count > 0 { reader.feed(buffer[..<count]) } else if count == 0 { reader.end() }
            if count < 0 {
                throw lost(request, address, Self.words(count == -Int(EAGAIN) ? (sending ?? count) : count))
            }
            switch reader.progress {
            case .head: continue
            case .body: if try !each(&reader) { return reader }
            case .done:
                _ = try each(&reader)
                return reader
            case .bad(let words):
                if reader.status != 0 { _ = try each(&reader) }
                throw lost(request, address, words)
            }
        }
    }

    /// No answer, or half of one. A write may have been taken.
    private func lost(_ request: AdminRequest, _ address: AdminAddress, _ words: String) -> Failure {
        let isWrite = request.method != "GET" && request.method != "HEAD" && !request.query.contains { $0.name == "dry_run" }
        return Failure(
            .unreachable, "\(address): \(words)",
            hint: isWrite
                ? "Whether the change was made is not known: look at `proxyctl history` before trying again."
                : "Is that proxyd's admin API? `--admin` says where to look.")
    }

    /// Nil, or why not everything went out.
    private func send(_ bytes: [UInt8], to fd: Int32, _ timeoutMs: Int) -> Int? {
        var sent = 0
        while sent < bytes.count {
            let n = bytes.withUnsafeBytes { clinux_send(fd, $0.baseAddress.map { $0 + sent }, $0.count - sent, 0) }
            if n == -Int(EINTR) { continue }
            if n == -Int(EAGAIN) {
                if !Self.wait(fd, POLLOUT, timeoutMs) { return n }
            } else if n < 0 {
                return n
            } else {
                sent += n
            }
        }
        return nil
    }

    /// Bytes read, 0 at the end, or -errno; -EAGAIN when nothing came in time.
    private static func receive(_ fd: Int32, _ buffer: inout [UInt8], timeoutMs: Int) -> Int {
        while true {
            let n = buffer.withUnsafeMutableBytes { clinux_recv(fd, $0.baseAddress, $0.count, 0) }
            if n == -Int(EINTR) { continue }
            if n != -Int(EAGAIN) || !wait(fd, POLLIN, timeoutMs) { return n }
        }
    }

    private static func wait(_ fd: Int32, _ events: Int32, _ timeoutMs: Int) -> Bool {
        var wanted = pollfd(fd: fd, events: Int16(events), revents: 0)
        while true {
            let n = poll(&wanted, 1, Int32(clamping: timeoutMs))
            if n < 0 && errno == EINTR { continue }
            return n > 0
        }
    }

    // MARK: Opening

    private func open() throws(Failure) -> (Int32, AdminAddress) {
        var tried: [(AdminAddress, Int)] = []
        for address in addresses {
            let fd = connect(address)
            if fd >= 0 {
                addresses = [address]
                return (Int32(fd), address)
            }
            tried.append((address, fd))
        }
        throw Self.unreachable(tried)
    }

    static func unreachable(_ tried: [(AdminAddress, Int)]) -> Failure {
        let hint =
            tried.contains { $0.1 == -Int(EACCES) }
            ? "Become the user that proxyd runs as (sudo), or use an admin location with `--admin http://host:port/prefix`."
            : "Is proxyd running? `--admin unix:/path/admin.sock` or PROXYCTL_ADMIN says where; "
                + "the socket lies in proxyd's state folder, or beside its pid file."
        if let one = tried.first, tried.count == 1 {
            return Failure(.unreachable, "cannot reach \(one.0): \(words(one.1, ofSocket: true))", hint: hint)
        }
        let lines = tried.map { "    \($0.0): \(words($0.1, ofSocket: true))" }
        return Failure(.unreachable, "no admin API answers. Tried:\n" + lines.joined(separator: "\n"), hint: hint)
    }

    /// A connected descriptor, or -errno.
    private func connect(_ address: AdminAddress) -> Int {
        switch address {
        case .unix(let path):
            var name = sockaddr_un()
            name.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8.prefix(AdminAddress.pathBytesMax)) }
            return connect(AF_UNIX, &name, UInt32(MemoryLayout<sockaddr_un>.size))
        case .tcp(let host, let port, _):
            var hints = addrinfo()
            hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
            hints.ai_flags = AI_ADDRCONFIG
            var list: UnsafeMutablePointer<addrinfo>?
            // Numbers need no address family to be configured, names do.
            guard getaddrinfo(host, String(port), &hints, &list) == 0 else { return Self.unknownHost }
            defer { freeaddrinfo(list) }
            var result = Self.unknownHost
            var next = list
            while let entry = next {
                result = connect(entry.pointee.ai_family, entry.pointee.ai_addr, entry.pointee.ai_addrlen)
                if result >= 0 { return result }
                next = entry.pointee.ai_next
            }
            return result
        }
    }

    private func connect(_ family: Int32, _ name: UnsafeRawPointer?, _ length: UInt32) -> Int {
        let fd = clinux_socket(family, Int32(SOCK_STREAM.rawValue))
        if fd < 0 { return Int(fd) }
        var result = clinux_connect(fd, name, length)
        // A unix socket whose queue is full says so at once.
        var patience = connectTimeoutMs / 10
        while result == -EAGAIN && patience > 0 {
            clinux_sleep_ms(10)
            patience -= 1
            result = clinux_connect(fd, name, length)
        }
        if result == -EINPROGRESS {
            result = Self.wait(fd, POLLOUT, Int(connectTimeoutMs)) ? -clinux_get_option(fd, SOL_SOCKET, SO_ERROR) : -ETIMEDOUT
        }
        if result == 0 { return Int(fd) }
        _ = clinux_close(fd)
        return Int(result)
    }

    /// Not an errno: the name has no address.
    private static let unknownHost = -100_000

    static func words(_ result: Int, ofSocket isSocket: Bool = false) -> String {
        switch -result {
        case Int(ENOENT) where isSocket: "no such socket"
        case Int(ECONNREFUSED): "nobody listens there"
        case Int(EACCES): "permission denied"
        case Int(EAGAIN): "no answer in time"
        case 100_000: "no address has that name"
        default: String(cString: strerror(Int32(-result))).lowercased()
        }
    }
}
