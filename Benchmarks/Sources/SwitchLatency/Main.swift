// Owns the program: SwitchLatency starts upstreams and load, switches a running proxy to and fro, and prints JSON on standard
// output. `Benchmarks/switch` starts the proxy, calls it and reads that. Exit status: 2 if it could not measure, else 0.

import CKernel
import Glibc

@main
enum SwitchLatency {
    static func main() {
        do {
            let options = try Options(Array(CommandLine.arguments.dropFirst()))
            let (results, board) = try measure(options)
            emit(report(results, board), to: 1)
        } catch let error as UsageError {
            emit("SwitchLatency: \(error.text)\n", to: 2)
            exit(2)
        } catch let error as CommandFailure {
            emit("SwitchLatency: \(error.text)\n", to: 2)
            exit(2)
        } catch {
            exit(2)
        }
    }

    private static func measure(_ options: Options) throws -> (Results, Board) {
        kernel_exact_sleeps()
        let board = Board(epochsMax: Commander.epochsMax(options))
        // Made here, so that a port in use is an error of this thread; used by its own thread alone from then on.
        nonisolated(unsafe) let traffic = try Traffic(options: options, board: board)
        let commander = try Commander(options: options, board: board)
        try waitForProxy(options)
        guard let thread = Thread({ traffic.run() }) else { throw UsageError(text: "cannot start a thread") }
        let results = try commander.run { thread.join() }
        return (results, board)
    }

    /// Until the proxy takes connections, ten seconds at most.
    private static func waitForProxy(_ options: Options) throws(UsageError) {
        for _ in 0..<1000 {
            let fd = kernel_connect(options.proxyPort)
            if fd >= 0 { return kernel_close(fd) }
            kernel_sleep_until_ns(kernel_now_ns() + 10_000_000)
        }
        throw UsageError(text: "nothing listens on port \(options.proxyPort)")
    }

    static func emit(_ text: String, to fd: Int32) {
        let bytes = Array(text.utf8)
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { write(fd, $0.baseAddress! + written, $0.count - written) }
            guard count > 0 else { return }
            written += count
        }
    }
}
