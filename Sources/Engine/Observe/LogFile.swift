// Log files: opened by Control, written by workers, reopened at USR1 without telling them.
// A `LogFile` names a file for the hot path; `OpenLogFile` owns its descriptor. A log that cannot be written never stops an exchange.

import Bytes
import CLinux
import Synchronization

/// The descriptor of one log file, shared by all workers. It stays when logs are reopened, and means the new file then.
package final class OpenLogFile: Sendable {
    package let path: String
    let descriptor: Atomic<Int32>
    /// Lines that could not be written (a full disk), for the counters.
    package let lostLines = Atomic<UInt64>(0)

    package init(path: String, descriptor: Int32) {
        self.path = path
        self.descriptor = Atomic(descriptor)
    }

    /// What is written from here on goes to `fresh`, which is taken over. The number stays: whoever is about to write to it must not meet
    /// another file, or a client, under it. Returns -errno when all stays as it was.
    package func replace(with fresh: Int32) -> Int32 {
        let old = current
        if old < 0 {
            descriptor.store(fresh, ordering: .releasing)
            return 0
        }
        defer { _ = clinux_close(fresh) }
        return min(clinux_replace(fresh, old), 0)
    }

    /// Appends from outside a worker.
    package func append(_ bytes: [UInt8]) {
        if clinux_write(current, bytes, bytes.count) != bytes.count { _ = lostLines.add(1, ordering: .relaxed) }
    }

    package var current: Int32 { descriptor.load(ordering: .acquiring) }
}

/// A log file as the hot path sees it. The snapshot owns the object.
package struct LogFile: BitwiseCopyable, Equatable {
    private let file: Unmanaged<OpenLogFile>
    package init(_ file: OpenLogFile) { self.file = .passUnretained(file) }
    @inline(__always) var descriptor: Int32 { file._withUnsafeGuaranteedRef { $0.current } }
    package static func == (a: LogFile, b: LogFile) -> Bool { a.file.toOpaque() == b.file.toOpaque() }
    /// Appends from outside a worker.
    package func append(_ bytes: [UInt8]) { file._withUnsafeGuaranteedRef { $0.append(bytes) } }
    func countLost() { file._withUnsafeGuaranteedRef { _ = $0.lostLines.add(1, ordering: .relaxed) } }
}

/// One `access_log`: where, in what form, under what condition.
package struct AccessLogSpec: BitwiseCopyable {
    /// Place in `SnapshotRoot.logFiles`; -1: the path has variables and is opened for each line.
    package var file: Int32
    package var path: Template
    package var format: Template
    package var escaping: Escaping
    /// `if=`: logged unless the value is empty or "0".
    package var condition: Template
    package var hasCondition = false
    /// `buffer=`: lines wait until this many bytes are there ...
    package var bufferBytes = 0
    /// ... or this long.
    package var flushMs: Int64 = 0
    /// `gzip`: what is written at once is a gzip member, made at this level; 0: plain lines.
    package var gzipLevel: Int32 = 0
    package init(file: Int32, path: Template, format: Template, escaping: Escaping, condition: Template) {
        self.file = file
        self.path = path
        self.format = format
        self.escaping = escaping
        self.condition = condition
    }
}

/// Levels of `error_log`, most severe first.
package enum LogLevel: UInt8, BitwiseCopyable, CaseIterable, Comparable, Sendable {
    case emerg, alert, crit, error, warn, notice, info, debug
    package static func < (a: LogLevel, b: LogLevel) -> Bool { a.rawValue < b.rawValue }
    package var word: StaticString {
        switch self {
        case .emerg: "emerg"
        case .alert: "alert"
        case .crit: "crit"
        case .error: "error"
        case .warn: "warn"
        case .notice: "notice"
        case .info: "info"
        case .debug: "debug"
        }
    }
}

/// Where a location's errors go: up to two files (`error_log` may stand twice), each with a level.
package struct ErrorLogTarget: BitwiseCopyable {
    package var file: LogFile?
    package var level = LogLevel.error
    package var secondFile: LogFile?
    package var secondLevel = LogLevel.error
    package init() {}
}
