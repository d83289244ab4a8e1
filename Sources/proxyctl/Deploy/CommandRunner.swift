// Runs the commands of steps to their end: with a timeout, into a log, their exit status in a file that outlives this program.
// Used by StepDoer. After a crash it waits for what still runs, and reads what has ended: nothing is run twice by mistake.

import CLinux
import Deploy
import Glibc

struct CommandRunner {
    /// How a command ended.
    enum End: Equatable {
        case status(Int)
        case signal(Int32)
        case timeout
        /// The operator broke it off.
        case interrupted
    }

    /// What a crash has left of a command.
    enum Left: Equatable {
        case nothing
        case running(ProcessIdentity)
        case ended(status: Int)
        /// It began, runs no more, and has left no status: the machine went down, or somebody killed it.
        case lost
    }

    /// Signals before the end of a command that takes too long.
    static let patienceMs: Int64 = 5000

    /// Its files: `base.log`, `base.pid`, `base.status`.
    let base: String
    let isInterrupted: () -> Bool

    var log: String { base + ".log" }
    private var pidFile: String { base + ".pid" }
    private var statusFile: String { base + ".status" }

    /// The shell around a command: it waits for the gate, and writes the status down in one move.
    private static let script = """
        keep() { echo "$1" > "$2.tmp" && mv -f "$2.tmp" "$2"; }
        read -r go <&3 || { keep gate "$2"; exit 125; }
        exec 3<&-
        cd "$3" || { keep 126 "$2"; exit 126; }
        ( eval "$1" )
        code=$?
        keep $code "$2"
        exit $code
        """

    func run(_ work: CommandWork) throws(Failure) -> End {
        forget()
        let spawned = try Spawn.shell(
            Self.script, [work.run, statusFile, work.directory], env: work.env, log: log, isSession: false)
        guard let identity = ProcessIdentity(running: spawned.pid) else {
            spawned.close()
            throw Failure(.refused, "a shell ended before it began")
        }
        do throws(Failure) { try TextFile.write(Array((identity.text + "\n").utf8), to: pidFile) } catch {
            spawned.close()
            _ = identity.waitForEnd(ms: Self.patienceMs)
            throw error
        }
        spawned.open()
        return wait(identity, work.timeoutMs)
    }

    /// An earlier run is none any more; what it said stays.
    func forget() { for file in [pidFile, statusFile] { unlink(file) } }

    /// What there is of an earlier run.
    var left: Left {
        guard let identity = ProcessIdentity(file: pidFile) else { return .nothing }
        if identity.isRunning { return .running(identity) }
        // It may have ended between the two looks.
        guard let bytes = try? TextFile.read(statusFile) else { return .lost }
        let text = String(decoding: bytes, as: UTF8.self).trimmed
        if text == "gate" { return .nothing }
        return Int(text).map { .ended(status: $0) } ?? .lost
    }

    /// Waits for the end of what an earlier proxyctl has begun.
    func takeUp(_ identity: ProcessIdentity, _ timeoutMs: Int64) -> End? {
        let end = wait(identity, timeoutMs)
        switch end {
        case .timeout, .interrupted: return end
        case .status, .signal:
            // Another's child tells its status only by its file.
            if case .ended(let status) = left { return .status(status) }
            return nil
        }
    }

    private func wait(_ identity: ProcessIdentity, _ timeoutMs: Int64) -> End {
        let endMs = Clock.monotonicMs + timeoutMs
        var pauseMs: Int32 = 1
        while true {
            var status: Int32 = 0
            let n = waitpid(identity.pid, &status, WNOHANG)
            if n == identity.pid { return status & 0x7f == 0 ? .status(Int(status >> 8) & 0xff) : .signal(status & 0x7f) }
            if n < 0, !identity.isRunning { return .status(-1) }
            let isTooLate = Clock.monotonicMs >= endMs
            if isTooLate || isInterrupted() {
                Self.kill(identity)
                return isTooLate ? .timeout : .interrupted
            }
            clinux_sleep_ms(pauseMs)
            pauseMs = min(pauseMs * 2, 20)
        }
    }

    /// The whole group: first asked, then made to.
    static func kill(_ identity: ProcessIdentity) { _ = identity.end(SIGTERM, graceMs: patienceMs, patienceMs: patienceMs) }

    /// The last lines that it said.
    func tail(_ count: Int = 8) -> [String] { LogTail.lines(log, count) }
}

enum LogTail {
    static let bytesMax: Int64 = 16 << 10

    static func lines(_ path: String, _ count: Int = 8) -> [String] {
        let fd = clinux_open(path, O_RDONLY, 0)
        if fd < 0 { return [] }
        defer { _ = clinux_close(fd) }
        let size = Int64(lseek(fd, 0, SEEK_END))
        var buffer = [UInt8](repeating: 0, count: Int(min(max(size, 0), bytesMax)))
        let n = buffer.withUnsafeMutableBytes { clinux_pread(fd, $0.baseAddress, $0.count, max(0, size - bytesMax)) }
        if n <= 0 { return [] }
        let text = String(decoding: buffer[..<n], as: UTF8.self)
        return text.split(separator: "\n").suffix(count).map { Words.printable(String($0.prefix(300))) }
    }
}
