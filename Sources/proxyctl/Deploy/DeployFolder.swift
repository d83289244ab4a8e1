// Owns the state folder of deploys: the lock with its owner, a folder with a journal for each deploy, approvals.
// Used by the verbs and the driver. Journals are only ever appended to; a line that was cut off by a crash counts as not written.

import AdminAPI
import CLinux
import Deploy
import Glibc

final class DeployFolder {
    let path: String
    private var lock: Int32 = -1

    init(_ path: String) { self.path = path }

    deinit { if lock >= 0 { _ = clinux_close(lock) } }

    static let deploysMax = 10_000

    /// Makes what is not there.
    func make() throws(Failure) {
        for folder in [path, path + "/deploys", path + "/logs", path + "/pids", path + "/built"] { try Self.make(folder) }
    }

    static func make(_ folder: String, _ mode: mode_t = 0o750) throws(Failure) {
        var parent = ""
        for part in folder.split(separator: "/", omittingEmptySubsequences: false) {
            parent += part + "/"
            if parent == "/" { continue }
            let result = clinux_make_folder(parent, mode)
            if result < 0, result != -EEXIST {
                throw Failure(.refused, "cannot make \(folder): \(AdminClient.words(Int(result)))")
            }
        }
    }

    // MARK: The lock

    /// Takes the lock, which the kernel gives up when this process ends, however it ends. What the file says is for people.
    /// - Returns: who held it and is gone without a word; nil: nobody.
    func takeLock(_ words: String) throws(Failure) -> String? {
        let file = path + "/lock"
        let fd = clinux_open(file, O_RDWR | O_CREAT, 0o640)
        if fd < 0 { throw Failure(.refused, "cannot open \(file): \(AdminClient.words(Int(fd)))") }
        let told = (try? TextFile.read(file)).map { String(decoding: $0, as: UTF8.self).trimmed } ?? ""
        let result = clinux_lock_file(fd)
        if result < 0 {
            _ = clinux_close(fd)
            if result != -EWOULDBLOCK { throw Failure(.refused, "cannot lock \(file): \(AdminClient.words(Int(result)))") }
            throw Failure(
                .refused, "another deploy runs: \(Self.owner(told))",
                hint: "`proxyctl deploy status` shows how far it is. Its lock ends with its process.")
        }
        lock = fd
        let identity = ProcessIdentity.own?.text ?? "\(getpid())"
        _ = clinux_truncate(fd, 0)
        let bytes = Array("\(identity)\n\(words)\n".utf8)
        _ = bytes.withUnsafeBytes { clinux_pwrite(fd, $0.baseAddress, $0.count, 0) }
        return told.isEmpty ? nil : Self.owner(told)
    }

    func releaseLock() {
        if lock < 0 { return }
        _ = clinux_truncate(lock, 0)
        _ = clinux_close(lock)
        lock = -1
    }

    /// Who the lock's file names, and whether that process is still there.
    static func owner(_ text: String) -> String {
        let lines = text.split(separator: "\n", maxSplits: 1).map(String.init)
        guard let first = lines.first, let identity = ProcessIdentity(first) else { return "somebody who has not said who" }
        let words = lines.count > 1 ? Words.printable(lines[1].trimmed) : "somebody"
        return "\(words) (process \(identity.pid)\(identity.isRunning ? "" : ", which is gone"))"
    }

    /// Who holds it now; nil: nobody.
    var lockOwner: String? {
        let fd = clinux_open(path + "/lock", O_RDWR, 0)
        if fd < 0 { return nil }
        defer { _ = clinux_close(fd) }
        if clinux_lock_file(fd) >= 0 { return nil }
        return Self.owner((try? TextFile.read(path + "/lock")).map { String(decoding: $0, as: UTF8.self).trimmed } ?? "")
    }

    // MARK: Deploys

    static func label(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }

    func folder(_ number: Int) -> String { path + "/deploys/" + Self.label(number) }

    /// Of all that have a journal, oldest first.
    var numbers: [Int] {
        guard let directory = opendir(path + "/deploys") else { return [] }
        defer { closedir(directory) }
        var result: [Int] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let number = Int(name), number > 0, access(folder(number) + "/journal", F_OK) == 0 { result.append(number) }
        }
        return result.sorted()
    }

    /// One that is begun, or has been; nil: its journal has no first line.
    func machine(_ number: Int) throws(Failure) -> DeployMachine? {
        let file = folder(number) + "/journal"
        let bytes = try TextFile.read(file)
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        // Behind the last line end is nothing, or a line that was never finished.
        lines.removeLast()
        guard let first = lines.first else { return nil }
        do throws(Problem) {
            let record = try DeployRecord(json: try JSON.parse(Array(first), limits: Self.limits))
            var entries: [DeployEntry] = []
            for line in lines.dropFirst() {
                entries.append(try DeployEntry(json: try JSON.parse(Array(line), limits: Self.limits)))
            }
            return DeployMachine(record, replaying: entries)
        } catch {
            throw Failure(
                .refused, "the journal \(file) is not understood: \(error.detail)",
                hint: "It may be of another version of proxyctl.")
        }
    }

    private static let limits = JSONLimits(depthMax: 64, bytesMax: TextFile.bytesMax, valuesMax: 1_000_000)

    /// All that can be read, oldest first. Of the newest everybody has to know whether it has ended: it must be one of them.
    func machines() throws(Failure) -> [DeployMachine] {
        var result: [DeployMachine] = []
        let numbers = numbers.suffix(Self.deploysMax)
        for number in numbers {
            do throws(Failure) {
                if let machine = try machine(number) { result.append(machine) }
            } catch {
                if number == numbers.last { throw error }
                Output.error("proxyctl: deploy \(number) is passed over: \(Words.printable(error.text))")
            }
        }
        return result
    }
}

/// One deploy's journal, open for writing.
final class DeployJournal {
    private let fd: Int32
    private let file: String

    /// Makes the folder of a new deploy with the record as first line.
    init(new record: DeployRecord, in folder: DeployFolder) throws(Failure) {
        let path = folder.folder(record.number)
        try DeployFolder.make(path + "/steps")
        file = path + "/journal"
        fd = clinux_open(file, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0o600)
        if fd < 0 { throw Failure(.refused, "cannot make \(file): \(AdminClient.words(Int(fd)))") }
        try write(record.json)
        Files.syncFolder(path)
        Files.syncFolder(folder.path + "/deploys")
    }

    /// Goes on; a line that was cut off is taken away.
    init(of number: Int, in folder: DeployFolder) throws(Failure) {
        file = folder.folder(number) + "/journal"
        let bytes = try TextFile.read(file)
        let whole = bytes.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        fd = clinux_open(file, O_WRONLY | O_APPEND, 0)
        if fd < 0 { throw Failure(.refused, "cannot open \(file): \(AdminClient.words(Int(fd)))") }
        if whole < bytes.count { _ = clinux_truncate(fd, Int64(whole)) }
    }

    deinit { _ = clinux_close(fd) }

    /// On the disk when it returns.
    func write(_ json: JSON) throws(Failure) {
        let bytes = json.bytes(pretty: false) + [UInt8(ascii: "\n")]
        let n = bytes.withUnsafeBytes { clinux_write(fd, $0.baseAddress, $0.count) }
        let result = n < 0 ? n : n < bytes.count ? -Int(ENOSPC) : Int(clinux_sync_data(fd))
        if result < 0 { throw Failure(.refused, "cannot write \(file): \(AdminClient.words(result))") }
    }
}

/// Files that are there whole or not at all.
enum Files {
    /// On the disk when it returns.
    static func replace(_ path: String, _ bytes: [UInt8]) throws(Failure) {
        let next = path + ".next"
        try TextFile.write(bytes, to: next, isDurable: true)
        let result = clinux_rename(next, path)
        if result < 0 { throw Failure(.refused, "cannot write \(path): \(AdminClient.words(Int(result)))") }
        syncFolder(path.lastIndex(of: "/").map { String(path[...$0]) } ?? ".")
    }

    static func text(_ path: String) -> String? {
        (try? TextFile.read(path)).map { String(decoding: $0, as: UTF8.self).trimmed }
    }

    static func syncFolder(_ path: String) {
        let fd = clinux_open(path, O_RDONLY | O_DIRECTORY, 0)
        if fd < 0 { return }
        _ = clinux_sync(fd)
        _ = clinux_close(fd)
    }

    /// Where a symbolic link leads; nil: there is nothing, empty: it is no link.
    static func link(_ path: String) -> String? {
        var facts = stat()
        if lstat(path, &facts) != 0 { return nil }
        if facts.st_mode & S_IFMT != S_IFLNK { return "" }
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let n = buffer.withUnsafeMutableBytes { readlink(path, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count) }
        return n > 0 ? String(decoding: buffer[..<n], as: UTF8.self) : ""
    }

    static func isFolder(_ path: String) -> Bool {
        var facts = stat()
        return stat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFDIR
    }

    /// Absolute, from where we are.
    static func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        guard getcwd(&buffer, buffer.count) != nil else { return path }
        let here = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return here + "/" + path
    }
}
