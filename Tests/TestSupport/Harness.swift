// Owns what all end-to-end tests share: which binaries are tried, temporary directories, waiting for a condition, locked values.
// Called by every file of this target and by the suites. It must not know what the proxy answers.

import Foundation
import Synchronization

public enum Harness {
    /// The binary under test: SWITCHBACK_PROXY, or `proxyd` in the products directory, where the test program lies too.
    public static let binary: String = {
        if let named = ProcessInfo.processInfo.environment["SWITCHBACK_PROXY"], !named.isEmpty { return named }
        return products + "/proxyd"
    }()

    /// The program that operators use beside it: SWITCHBACK_PROXYCTL, or `proxyctl` in the products directory.
    public static let proxyctl: String = {
        if let named = ProcessInfo.processInfo.environment["SWITCHBACK_PROXYCTL"], !named.isEmpty { return named }
        return products + "/proxyctl"
    }()

    /// True when the reference is tried instead of the product: tests of what only the product does are then skipped.
    public static let isNginx = (binary as NSString).lastPathComponent.hasPrefix("nginx")

    /// True when ::1 can be bound.
    public static let hasIPv6: Bool = {
        guard let fd = try? Sockets.listen(.tcp("::1", 0)) else { return false }
        close(fd)
        return true
    }()

    /// The folder of the package, found from where this file was compiled.
    public static let packageDirectory: String = {
        let here = URL(fileURLWithPath: #filePath)
        return here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
    }()

    private static var products: String {
        let test = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return (test as NSString).deletingLastPathComponent
    }

    /// A fresh directory that every user may read and enter; short, because unix socket paths are bounded by 107 bytes.
    public static func temporaryDirectory() throws -> String {
        var template = Array("/tmp/switchback-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: errno \(errno)") }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        chmod(path, 0o755)
        return path
    }

    /// Polls `condition` until it holds, and fails after `withinMs`, saying what was awaited.
    public static func wait(
        for what: @autoclosure () -> String, withinMs: Int = 60_000, _ condition: () throws -> Bool
    ) throws {
        let deadline = Deadline(ms: withinMs)
        while try !condition() {
            if deadline.hasPassed { throw TestFailure("waited \(withinMs) ms in vain for \(what())") }
            usleep(2000)
        }
    }
}

/// Why a test could not go on.
public struct TestFailure: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// A point of monotonic time.
public struct Deadline: Sendable {
    private let atNs: UInt64
    public init(ms: Int) { atNs = DispatchTime.now().uptimeNanoseconds + UInt64(max(ms, 0)) * 1_000_000 }
    public var hasPassed: Bool { DispatchTime.now().uptimeNanoseconds >= atNs }
    /// Milliseconds left, rounded up, for poll(2).
    public var leftMs: Int32 {
        let now = DispatchTime.now().uptimeNanoseconds
        return now >= atNs ? 0 : Int32(min((atNs - now + 999_999) / 1_000_000, UInt64(Int32.max)))
    }
}

/// Milliseconds that `work` took.
public func elapsedMs(_ work: () throws -> Void) rethrows -> Int {
    let start = DispatchTime.now().uptimeNanoseconds
    try work()
    return Int((DispatchTime.now().uptimeNanoseconds - start) / 1_000_000)
}

/// A value shared by the threads of a test.
public final class Locked<Value: Sendable>: Sendable {
    private let value: Mutex<Value>
    public init(_ initial: Value) { value = Mutex(initial) }
    public func with<R: Sendable>(_ body: (inout Value) throws -> R) rethrows -> R {
        try value.withLock { v in try body(&v) }
    }
    public var current: Value { value.withLock { $0 } }
}

/// Something that happens once and that threads can wait for.
public final class Signal: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)
    public init() {}
    public func fire() { semaphore.signal() }
    /// Waits until `fire` was called; true when it was in time. Any number of waiters may pass.
    @discardableResult
    public func wait(ms: Int = 10_000) -> Bool {
        guard semaphore.wait(timeout: .now() + .milliseconds(ms)) == .success else { return false }
        semaphore.signal()
        return true
    }
}

/// Runs `body` on a thread of its own.
public func onThread(_ body: @escaping @Sendable () -> Void) {
    let thread = Thread { body() }
    thread.stackSize = 512 << 10
    thread.start()
}
