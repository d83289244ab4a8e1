// Owns standard output and error, and whether there are colours.
// Called by verbs and by Proxyctl. Nothing else writes to a descriptor of a person.

import Glibc

enum Output {
    /// On a terminal, unless NO_COLOR is set or the terminal can do nothing.
    static let isColoured: Bool = isTerminal && environment("NO_COLOR") == nil && environment("TERM") != "dumb"
    static let isTerminal: Bool = isatty(1) == 1

    static func lines(_ lines: [String]) { write(1, lines.map { $0 + "\n" }.joined()) }
    static func line(_ text: String) { write(1, text + "\n") }
    /// A piece of a line.
    static func part(_ text: String) { write(1, text) }
    static func error(_ text: String) { write(2, text + "\n") }

    /// Bytes of the server, unchanged; a line end only where there is none.
    static func document(_ bytes: [UInt8]) {
        write(1, bytes)
        if let last = bytes.last, last != UInt8(ascii: "\n") { write(1, "\n") }
    }

    /// Takes away what a terminal shows, so that the next table stands in the same place.
    static func clear() { if isTerminal { write(1, "\u{1b}[H\u{1b}[2J") } }

    /// The value of a variable that is set to something.
    static func environment(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        let text = String(cString: value)
        return text.isEmpty ? nil : text
    }

    nonisolated(unsafe) private static var failed: Int32 = 0

    /// Why standard output has not taken everything, as a file on a full disk. A reader or a terminal that is gone is no such reason.
    static var failure: String? { failed == 0 ? nil : AdminClient.words(-Int(failed)) }

    private static func write(_ fd: Int32, _ text: String) { write(fd, Array(text.utf8)) }

    private static func write(_ fd: Int32, _ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let n = rest.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
            if n < 0 && errno == EINTR { continue }
            if n < 0 && errno == EAGAIN {
                var wanted = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
                _ = poll(&wanted, 1, -1)
                continue
            }
            if n < 0 && fd == 1 && errno != EPIPE && errno != EIO { failed = errno }
            if n <= 0 { return }
            rest = rest.dropFirst(n)
        }
    }
}
