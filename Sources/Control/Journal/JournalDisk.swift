// What the journal asks of a folder, call by call, and the Linux that does it. One seam, so that tests can play a machine that
// loses its power between any two calls. Used by JournalStorage alone; it decides nothing.

import CLinux

/// Files of one folder. Every call answers like the kernel: what it returns, or `-errno`.
package protocol JournalDisk: AnyObject {
    /// The folder as the configuration names it, for messages.
    var folder: String { get }
    /// A descriptor of the file `name`, for reading and writing.
    func open(_ name: String, _ way: JournalOpening) -> Int32
    func close(_ file: Int32)
    /// The bytes in the file.
    func size(_ file: Int32) -> Int
    /// Bytes from `offset` on into the front of `buffer`; 0: the end.
    func read(_ file: Int32, at offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int
    /// May write less than it was given.
    func write(_ file: Int32, at offset: Int, _ bytes: UnsafeRawBufferPointer) -> Int
    func truncate(_ file: Int32, to size: Int) -> Int32
    /// Returns when bytes and size are on stable storage.
    func sync(_ file: Int32) -> Int32
    func rename(_ from: String, to: String) -> Int32
    /// 1: `name` is the name of `file`; 0: of another one.
    func leads(_ name: String, to file: Int32) -> Int32
    func remove(_ name: String) -> Int32
    /// Returns when the names in the folder are on stable storage.
    func syncFolder() -> Int32
}

package enum JournalOpening: Sendable {
    /// It must be there.
    case existing
    /// Empty, whether it was there or not.
    case empty
    /// It must not be there.
    case fresh
}

/// Why the journal cannot be opened, or a change not be kept. Nothing has changed then.
package struct JournalFailure: Error, Equatable, CustomStringConvertible, Sendable {
    package enum Kind: Sendable {
        /// The folder cannot be made, read or written: no start.
        case folder
        /// Another process (or another server of this one) has the folder: no start.
        case locked
        /// This change could not be made durable. The next may be.
        case writing
    }
    package let kind: Kind
    /// One line: what failed, with the path and the errno, and what to do.
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// A folder of the file system, locked for as long as this lives.
package final class LinuxJournalDisk: JournalDisk {
    package let folder: String
    private let lock: Int32
    private let folderFile: Int32

    /// Makes the folder (mode 0700) if its parent is there and it is not, and locks it.
    package init(folder: String) throws(JournalFailure) {
        self.folder = folder
        let made = clinux_make_folder(folder, 0o700)
        if made < 0, made != -EEXIST {
            throw JournalFailure(.folder, "mkdir() \"\(folder)\" failed (\(errnoWords(-made))): the folder of \"state\" cannot be made")
        }
        if made == 0 { Self.syncParent(of: folder) }
        folderFile = clinux_open(folder, O_RDONLY | O_DIRECTORY, 0)
        if folderFile < 0 {
            throw JournalFailure(
                .folder, "open() \"\(folder)\" failed (\(errnoWords(-folderFile))): \"state\" must name a folder that can be read and written")
        }
        let path = "\(folder)/lock"
        lock = clinux_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600)
        if lock < 0 {
            _ = clinux_close(folderFile)
            throw JournalFailure(.folder, "open() \"\(path)\" failed (\(errnoWords(-lock))): the folder of \"state\" must be writable")
        }
        let locked = clinux_lock_file(lock)
        if locked < 0 {
            let failure = Self.refusal(folder, locked, holder: Self.holder(lock))
            _ = clinux_close(folderFile)
            _ = clinux_close(lock)
            throw failure
        }
        // For the message of the next who comes; the lock itself is the kernel's.
        let text = Array("\(getpid())\n".utf8)
        _ = clinux_truncate(lock, 0)
        _ = clinux_pwrite(lock, text, text.count, 0)
    }

    deinit {
        _ = clinux_close(folderFile)
        _ = clinux_close(lock)
    }

    private static func refusal(_ folder: String, _ locked: Int32, holder: String) -> JournalFailure {
        if locked != -EWOULDBLOCK {
            return JournalFailure(.folder, "flock() \"\(folder)/lock\" failed (\(errnoWords(-locked)))")
        }
        return JournalFailure(
            .locked,
            "the state folder \"\(folder)\" is in use by another proxyd\(holder): stop that one first, or name another folder with \"state\"")
    }

    private static func holder(_ lock: Int32) -> String {
        var text = [UInt8](repeating: 0, count: 32)
        let n = clinux_pread(lock, &text, text.count, 0)
        let digits = text.prefix(max(0, n)).prefix { $0 >= 0x30 && $0 <= 0x39 }
        return digits.isEmpty ? "" : " (process \(String(decoding: digits, as: UTF8.self)))"
    }

    /// A folder that was just made must outlive a power loss like what is in it.
    private static func syncParent(of folder: String) {
        var path = Substring(folder)
        while path.last == "/" { path.removeLast() }
        let parent = path.lastIndex(of: "/").map { path[...$0] } ?? "."
        let file = clinux_open(String(parent), O_RDONLY | O_DIRECTORY, 0)
        if file < 0 { return }
        _ = clinux_sync(file)
        _ = clinux_close(file)
    }

    /// What a file has now, for one who only looks; nil: it cannot be read.
    static func bytes(ofFile path: String) -> [UInt8]? {
        let file = clinux_open(path, O_RDONLY | O_NOFOLLOW, 0)
        if file < 0 { return nil }
        defer { _ = clinux_close(file) }
        var facts = clinux_file_facts()
        if clinux_file_facts(file, &facts) < 0 { return nil }
        return [UInt8](unsafeUninitializedCapacity: Int(facts.size)) { buffer, count in
            while count < buffer.count, let start = buffer.baseAddress {
                let n = clinux_pread(file, start + count, buffer.count - count, Int64(count))
                if n == -Int(EINTR) { continue }
                if n <= 0 { return }
                count += n
            }
        }
    }

    private func path(_ name: String) -> String { "\(folder)/\(name)" }

    package func open(_ name: String, _ way: JournalOpening) -> Int32 {
        let flags =
            switch way {
            case .existing: O_RDWR
            case .empty: O_RDWR | O_CREAT | O_TRUNC
            case .fresh: O_RDWR | O_CREAT | O_EXCL
            }
        return clinux_open(path(name), flags | O_NOFOLLOW, 0o600)
    }

    package func close(_ file: Int32) { _ = clinux_close(file) }

    package func size(_ file: Int32) -> Int {
        var facts = clinux_file_facts()
        let r = clinux_file_facts(file, &facts)
        return r < 0 ? Int(r) : Int(facts.size)
    }

    package func read(_ file: Int32, at offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        while true {
            let n = clinux_pread(file, buffer.baseAddress, buffer.count, Int64(offset))
            if n != -Int(EINTR) { return n }
        }
    }

    package func write(_ file: Int32, at offset: Int, _ bytes: UnsafeRawBufferPointer) -> Int {
        while true {
            let n = clinux_pwrite(file, bytes.baseAddress, bytes.count, Int64(offset))
            if n != -Int(EINTR) { return n }
        }
    }

    package func truncate(_ file: Int32, to size: Int) -> Int32 { clinux_truncate(file, Int64(size)) }
    package func sync(_ file: Int32) -> Int32 { clinux_sync_data(file) }
    package func rename(_ from: String, to: String) -> Int32 { clinux_rename(path(from), path(to)) }
    package func leads(_ name: String, to file: Int32) -> Int32 { clinux_leads(path(name), file) }
    package func remove(_ name: String) -> Int32 { clinux_unlink(path(name)) }
    package func syncFolder() -> Int32 { clinux_sync(folderFile) }
}
