// A folder in memory for the journal, on a machine that can lose its power between any two calls or fail any of them.
// What was not synced is then there, gone, or there in part, as the test chooses.

import CLinux

@testable import Control

final class MemoryDisk: JournalDisk {
    final class Inode {
        var bytes: [UInt8] = []
        /// What is on stable storage.
        var durable: [UInt8] = []
        /// Since the last sync nothing but appends: a long file is then not copied for each.
        var isAppended = false
    }

    /// What a power loss leaves of the bytes of a file that was not synced.
    enum Left: Equatable {
        case old, new
        /// So many bytes of what was written since, from where it differs.
        case part(Int)
        /// The new size, but zeros where it differs.
        case zeros
    }

    let folder = "state"
    private(set) var names: [String: Inode] = [:]
    private var durableNames: [String: Inode] = [:]
    /// Changes of names since the folder was synced, in order.
    private var pendingNames: [(name: String, inode: Inode?)] = []
    private var handles: [Int32: Inode] = [:]
    private var nextHandle: Int32 = 3

    /// Calls so far that change something.
    private(set) var steps = 0
    /// The power goes in this step: it takes effect in memory alone, and no later call does anything.
    var diesAt: Int?
    private(set) var isDead = false
    /// What a step answers instead of doing its work; nil: it works. A write that fails has written half.
    var fault: ((_ step: Int, _ call: String) -> Int32?)?

    init() {}

    /// The file of that name as it is now.
    func bytes(_ name: String) -> [UInt8]? { names[name]?.bytes }

    func put(_ name: String, _ bytes: [UInt8]) {
        let inode = Inode()
        inode.bytes = bytes
        inode.durable = bytes
        names[name] = inode
        durableNames[name] = inode
    }

    var pendingCount: Int { pendingNames.count }
    /// The bytes of the journal that are not synced.
    var unsyncedCount: Int {
        guard let file = names["journal"] else { return 0 }
        return max(0, file.bytes.count - file.durable.count)
    }

    /// The machine after a power loss: `left` of every file, and the first `pending` changes of names.
    func rebooted(_ left: Left, pending: Int) -> MemoryDisk {
        var kept = durableNames
        for change in pendingNames.prefix(pending) { kept[change.name] = change.inode }
        let disk = MemoryDisk()
        for (name, inode) in kept { disk.put(name, Self.left(left, of: inode)) }
        return disk
    }

    private static func left(_ left: Left, of inode: Inode) -> [UInt8] {
        let common = zip(inode.bytes, inode.durable).prefix { $0 == $1 }.count
        switch left {
        case .old: return inode.durable
        case .new: return inode.bytes
        case .part(let n): return Array(inode.bytes.prefix(common + n))
        case .zeros: return inode.bytes.prefix(common) + [UInt8](repeating: 0, count: inode.bytes.count - common)
        }
    }

    /// -errno of a step that fails or comes too late.
    private func step(_ call: String) -> Int32? {
        if isDead { return -EIO }
        steps += 1
        if steps == diesAt { isDead = true }
        return fault?(steps, call).map { -$0 }
    }

    private func set(_ name: String, _ inode: Inode?) {
        names[name] = inode
        pendingNames.append((name, inode))
    }

    func open(_ name: String, _ way: JournalOpening) -> Int32 {
        let found = names[name]
        if way == .existing {
            if isDead { return -EIO }
            if found == nil { return -ENOENT }
        } else if let failure = step("open") {
            return failure
        }
        if way == .fresh, found != nil { return -EEXIST }
        let inode = found ?? Inode()
        if found == nil { set(name, inode) }
        if way == .empty {
            inode.bytes = []
            inode.isAppended = false
        }
        nextHandle += 1
        handles[nextHandle] = inode
        return nextHandle
    }

    func close(_ file: Int32) { handles[file] = nil }

    func size(_ file: Int32) -> Int { handles[file]?.bytes.count ?? -Int(EBADF) }

    func read(_ file: Int32, at offset: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        guard let inode = handles[file], !isDead else { return -Int(EIO) }
        let part = inode.bytes.dropFirst(offset).prefix(buffer.count)
        buffer.copyBytes(from: part)
        return part.count
    }

    func write(_ file: Int32, at offset: Int, _ bytes: UnsafeRawBufferPointer) -> Int {
        guard let inode = handles[file] else { return -Int(EBADF) }
        let failure = step("write")
        if failure != nil, isDead { return -Int(EIO) }
        var part = Array(bytes)
        if let failure {
            part = Array(part.prefix(part.count / 2))
            if part.isEmpty { return Int(failure) }
        }
        precondition(offset <= inode.bytes.count, "a hole")
        if offset == inode.bytes.count {
            inode.bytes += part
        } else {
            inode.bytes = inode.bytes.prefix(offset) + part + inode.bytes.dropFirst(offset + part.count)
            inode.isAppended = false
        }
        return part.count
    }

    func truncate(_ file: Int32, to size: Int) -> Int32 {
        guard let inode = handles[file] else { return -EBADF }
        if let failure = step("truncate") { return failure }
        inode.bytes = Array(inode.bytes.prefix(size))
        inode.isAppended = false
        return 0
    }

    func sync(_ file: Int32) -> Int32 {
        guard let inode = handles[file] else { return -EBADF }
        if let failure = step("sync") { return failure }
        if isDead { return -EIO }
        if inode.isAppended { inode.durable += inode.bytes[inode.durable.count...] } else { inode.durable = inode.bytes }
        inode.isAppended = true
        return 0
    }

    func leads(_ name: String, to file: Int32) -> Int32 {
        guard let inode = names[name] else { return -ENOENT }
        return inode === handles[file] ? 1 : 0
    }

    func rename(_ from: String, to: String) -> Int32 {
        if let failure = step("rename") { return failure }
        guard let inode = names[from] else { return -ENOENT }
        // One change: a power loss leaves both names as they were or neither.
        names[from] = nil
        names[to] = inode
        pendingNames.append((to, inode))
        return 0
    }

    func remove(_ name: String) -> Int32 {
        if let failure = step("remove") { return failure }
        if names[name] == nil { return -ENOENT }
        set(name, nil)
        return 0
    }

    func syncFolder() -> Int32 {
        if let failure = step("syncFolder") { return failure }
        if isDead { return -EIO }
        durableNames = names
        pendingNames = []
        return 0
    }
}
