// Runs a program and takes what it prints, before a deadline; what takes longer is killed.
// Sent by rollouts for their metrics, from threads of `ErrandThreads`. Only programs of one folder are run.

import CLinux

struct CommandErrand: Sendable {
    struct Failure: Error { var words: String }

    let path: String
    let words: [String]
    let timeoutNs: UInt64

    /// - Parameters:
    ///   - folder: of `rollout_commands`.
    ///   - words: the program's name in it, and arguments.
    init(folder: String, _ words: [String], timeoutNs: UInt64) {
        path = folder + "/" + (words.first ?? "")
        self.words = words
        self.timeoutNs = timeoutNs
    }

    func run() -> Result<String, Failure> {
        guard let name = words.first, !name.isEmpty, !name.contains("/"), name != ".", name != ".." else {
            return .failure(Failure(words: "a program of the folder must be named"))
        }
        let texts: [UInt8] = ([path] + words.dropFirst()).flatMap { Array($0.utf8) + [UInt8(0)] }
        var output: Int32 = -1
        let pid = clinux_run(texts, Int32(words.count), &output)
        if pid < 0 { return .failure(Failure(words: "\(name) cannot be run (\(errnoWords(-pid)))")) }
        defer { _ = clinux_close(output) }
        let (text, isInTime) = read(output)
        // A program that is still there has had its time.
        let status = clinux_reap(pid, isInTime ? 1000 : 0)
        if !isInTime { return .failure(Failure(words: "\(name) took too long")) }
        if status != 0 { return .failure(Failure(words: "\(name) failed (\(status))")) }
        return .success(text)
    }

    private func read(_ fd: Int32) -> (String, Bool) {
        let deadline = ControlClock.system.monotonicNs() + timeoutNs
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let now = ControlClock.system.monotonicNs()
            if now >= deadline || clinux_wait_readable(fd, Int32(clamping: (deadline - now) / 1_000_000 + 1)) == 0 { return ("", false) }
            let n = clinux_read(fd, &chunk, chunk.count)
            if n == -Int(EINTR) { continue }
            if n <= 0 { return (String(decoding: all, as: UTF8.self), true) }
            if all.count < 64 << 10 { all += chunk[..<n] }
        }
    }
}
