// What building a configuration needs of the machine: files, globs, names of hosts. One seam, so that tests can play the machine.
// Called by the supervisor and the builder; never by the data path.

import Bytes
import CLinux
import ConfigurationFile

package protocol SystemFiles: AnyObject {
    var isRoot: Bool { get }
    var hostname: String { get }
    func makeFolder(_ path: String)
    func read(_ path: String) throws(ReadFailure) -> [UInt8]
    func glob(_ pattern: String) -> [String]
    /// The addresses of a host by the system's resolver, as texts of `sockaddr` with the port put in.
    func resolve(_ host: String, port: UInt16) -> [(bytes: [UInt8], text: String)]
    /// Opens a log for appending; -errno when it cannot.
    func openLog(_ path: String) -> Int32
}

package final class LinuxSystemFiles: SystemFiles {
    package init() {}

    package var isRoot: Bool { geteuid() == 0 }

    package var hostname: String {
        var name = [CChar](repeating: 0, count: 256)
        return gethostname(&name, 255) == 0 ? String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : "localhost"
    }

    package func makeFolder(_ path: String) { _ = mkdir(path, 0o700) }

    package func read(_ path: String) throws(ReadFailure) -> [UInt8] {
        let fd = clinux_open(path, O_RDONLY, 0)
        if fd < 0 { throw ReadFailure(errnoWords(-fd)) }
        defer { _ = clinux_close(fd) }
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let n = clinux_read(fd, &chunk, chunk.count)
            if n < 0 { throw ReadFailure(errnoWords(Int32(-n))) }
            if n == 0 { return all }
            all += chunk[..<n]
            // A device that never ends is no configuration.
            if all.count > ConfigurationLimits().fileBytesMax { return all }
        }
    }

    package func glob(_ pattern: String) -> [String] {
        var found = glob_t()
        defer { globfree(&found) }
        guard CLinux.glob(pattern, 0, nil, &found) == 0, let paths = found.gl_pathv else { return [] }
        return (0..<Int(found.gl_pathc)).compactMap { paths[$0].map { String(cString: $0) } }
    }

    package func resolve(_ host: String, port: UInt16) -> [(bytes: [UInt8], text: String)] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &first) == 0 else { return [] }
        defer { freeaddrinfo(first) }
        var result: [(bytes: [UInt8], text: String)] = []
        var next = first
        while let entry = next {
            defer { next = entry.pointee.ai_next }
            guard let address = entry.pointee.ai_addr else { continue }
            var bytes = Array(UnsafeRawBufferPointer(start: address, count: Int(entry.pointee.ai_addrlen)))
            guard bytes.count >= 4 else { continue }
            bytes[2] = UInt8(port >> 8)
            bytes[3] = UInt8(port & 255)
            let text = addressText(bytes)
            if !result.contains(where: { $0.bytes == bytes }) { result.append((bytes, text)) }
        }
        return result
    }

    package func openLog(_ path: String) -> Int32 {
        if path == "/dev/stdout" { return clinux_duplicate(1) }
        if path == "/dev/stderr" { return clinux_duplicate(2) }
        return clinux_open(path, O_WRONLY | O_APPEND | O_CREAT, 0o644)
    }
}

/// `2: No such file or directory`, as nginx puts it in parentheses.
package func errnoWords(_ errno: Int32) -> String { "\(errno): \(String(cString: strerror(errno)))" }

/// The text of `sockaddr` bytes: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
func addressText(_ bytes: [UInt8]) -> String {
    guard bytes.count >= 4 else { return "" }
    let family = Int32(bytes[0]) | Int32(bytes[1]) << 8
    let port = Int(bytes[2]) << 8 | Int(bytes[3])
    var text = [CChar](repeating: 0, count: 64)
    if family == AF_INET, bytes.count >= 8 {
        return bytes.withUnsafeBytes { raw in
            guard let base = raw.baseAddress, inet_ntop(AF_INET, base + 4, &text, 64) != nil else { return "" }
            return "\(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)):\(port)"
        }
    }
    if family == AF_INET6, bytes.count >= 24 {
        return bytes.withUnsafeBytes { raw in
            guard let base = raw.baseAddress, inet_ntop(AF_INET6, base + 8, &text, 64) != nil else { return "" }
            return "[\(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))]:\(port)"
        }
    }
    return "unix:" + String(decoding: bytes.dropFirst(2).prefix { $0 != 0 }, as: UTF8.self)
}

/// `sockaddr_un` for a path, or nil when it is too long.
func unixAddress(_ path: String) -> [UInt8]? {
    let utf8 = Array(path.utf8)
    if utf8.isEmpty || utf8.count > 107 { return nil }
    return [UInt8(AF_UNIX), 0] + utf8 + [0]
}

/// The `sockaddr` bytes of an address in digits, without brackets, or nil.
func numericAddress(_ host: String, port: UInt16) -> [UInt8]? {
    let ports = [UInt8(port >> 8), UInt8(port & 255)]
    var four = [UInt8](repeating: 0, count: 4)
    if inet_pton(AF_INET, host, &four) == 1 { return [UInt8(AF_INET), 0] + ports + four + [UInt8](repeating: 0, count: 8) }
    var sixteen = [UInt8](repeating: 0, count: 16)
    if inet_pton(AF_INET6, host, &sixteen) == 1 { return [UInt8(AF_INET6), 0] + ports + [0, 0, 0, 0] + sixteen + [0, 0, 0, 0] }
    return nil
}
