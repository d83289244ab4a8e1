// Files in memory: what the engine serves, logs to and spills into. Paths are absolute; `..` and links are not resolved.
// Called by the kernel for the engine; tests put files in and read them back.

import CLinux
import Engine

package final class FileSystem {
    final class Node {
        enum Kind { case file, directory, socket }
        let kind: Kind
        var bytes: [UInt8] = []
        var modifiedSeconds: Int64 = 0
        var permissions: UInt32
        var isLinked = true
        var openCount = 0

        init(_ kind: Kind, permissions: UInt32) {
            self.kind = kind
            self.permissions = permissions
        }

        var mode: UInt32 {
            switch kind {
            case .file: permissions | UInt32(S_IFREG)
            case .directory: permissions | UInt32(S_IFDIR)
            case .socket: permissions | UInt32(S_IFSOCK)
            }
        }
    }

    private var nodes: [String: Node] = [:]
    /// How many bytes all files together may hold; beyond, writing answers -ENOSPC. nil: no limit.
    package var bytesMax: Int?
    /// Bytes held by all files, unlinked ones that are still open included.
    package private(set) var usedBytes = 0

    init() { makeDirectory("/tmp") }

    // MARK: For tests

    /// Puts a file there, with the directories above it.
    package func put(_ path: String, _ bytes: [UInt8], modifiedSeconds: Int64 = 0) {
        makeDirectory(Self.directory(of: path))
        let node = Node(.file, permissions: 0o644)
        node.bytes = bytes
        node.modifiedSeconds = modifiedSeconds
        usedBytes += bytes.count - (nodes[path]?.bytes.count ?? 0)
        nodes[path] = node
    }

    package func put(_ path: String, _ text: String) { put(path, Array(text.utf8)) }

    package func makeDirectory(_ path: String) {
        var path = path
        while nodes[path] == nil {
            nodes[path] = Node(.directory, permissions: 0o755)
            if path == "/" { return }
            path = Self.directory(of: path)
        }
    }

    package func bytes(_ path: String) -> [UInt8]? { nodes[path].flatMap { $0.kind == .file ? $0.bytes : nil } }
    package func text(_ path: String) -> String? { bytes(path).map { String(decoding: $0, as: UTF8.self) } }
    package func exists(_ path: String) -> Bool { nodes[path] != nil }
    package func remove(_ path: String) { _ = unlink(path) }
    package func rename(_ old: String, to new: String) {
        nodes[new] = nodes[old]
        nodes[old] = nil
    }
    /// False: as a file system that makes no files without a name.
    package var knowsUnnamed = true

    /// The paths that begin with `prefix`, sorted.
    package func paths(under prefix: String) -> [String] { nodes.keys.filter { $0.hasPrefix(prefix) }.sorted() }

    // MARK: For the kernel

    /// O_TMPFILE of Linux, which the C headers hide without _GNU_SOURCE.
    static let temporary: Int32 = 0o20_000_000 | Int32(O_DIRECTORY)

    /// What an open descriptor of a file knows.
    final class OpenFile {
        let node: Node
        let flags: Int32
        var position = 0
        init(node: Node, flags: Int32) {
            self.node = node
            self.flags = flags
            node.openCount += 1
        }
        var canRead: Bool { flags & O_ACCMODE != O_WRONLY }
        var canWrite: Bool { flags & O_ACCMODE != O_RDONLY }
    }

    func open(_ path: String, flags: Int32, permissions: UInt32, nowSeconds: Int64) -> (file: OpenFile?, error: Int32) {
        let path = Self.normal(path)
        if flags & Self.temporary == Self.temporary {
            if !knowsUnnamed { return (nil, -EOPNOTSUPP) }
            guard let parent = nodes[path] else { return (nil, -ENOENT) }
            if parent.kind != .directory { return (nil, -ENOTDIR) }
            let node = Node(.file, permissions: permissions)
            node.isLinked = false
            node.modifiedSeconds = nowSeconds
            return (OpenFile(node: node, flags: flags), 0)
        }
        if let node = nodes[path] {
            if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL { return (nil, -EEXIST) }
            if node.kind == .socket { return (nil, -ENXIO) }
            if node.kind == .directory, flags & O_ACCMODE != O_RDONLY || flags & O_CREAT != 0 { return (nil, -EISDIR) }
            if node.kind == .file, flags & O_DIRECTORY != 0 { return (nil, -ENOTDIR) }
            if node.permissions & 0o444 == 0, flags & O_ACCMODE != O_WRONLY { return (nil, -EACCES) }
            if flags & O_TRUNC != 0 {
                usedBytes -= node.bytes.count
                node.bytes = []
                node.modifiedSeconds = nowSeconds
            }
            return (OpenFile(node: node, flags: flags), 0)
        }
        guard let parent = nodes[Self.directory(of: path)] else { return (nil, -ENOENT) }
        if parent.kind != .directory { return (nil, -ENOTDIR) }
        if flags & O_CREAT == 0 { return (nil, -ENOENT) }
        let node = Node(.file, permissions: permissions)
        node.modifiedSeconds = nowSeconds
        nodes[path] = node
        return (OpenFile(node: node, flags: flags), 0)
    }

    /// Writes at `offset`; a file system without room takes what fits, and then nothing.
    func write(_ file: OpenFile, _ buffer: UnsafeRawPointer, _ count: Int, offset: Int, nowSeconds: Int64) -> Int {
        if !file.canWrite { return Int(-EBADF) }
        let node = file.node
        var end = offset + count
        if let bytesMax, end > node.bytes.count {
            let room = max(0, bytesMax - usedBytes)
            end = min(end, node.bytes.count + room)
            if end <= offset && count > 0 { return Int(-ENOSPC) }
        }
        if end > node.bytes.count {
            usedBytes += end - node.bytes.count
            node.bytes.append(contentsOf: repeatElement(0, count: end - node.bytes.count))
        }
        let length = end - offset
        if length > 0 {
            node.bytes.withUnsafeMutableBytes { bytes in
                let target = UnsafeMutableRawBufferPointer(rebasing: bytes[offset..<end])
                target.copyMemory(from: UnsafeRawBufferPointer(start: buffer, count: length))
            }
        }
        node.modifiedSeconds = nowSeconds
        return length
    }

    func read(_ file: OpenFile, offset: Int, _ count: Int, _ body: (UnsafeRawBufferPointer) -> Int) -> Int {
        if !file.canRead { return Int(-EBADF) }
        if file.node.kind == .directory { return Int(-EISDIR) }
        if offset < 0 { return Int(-EINVAL) }
        let start = min(offset, file.node.bytes.count)
        let end = start + min(count, file.node.bytes.count - start)
        return file.node.bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[start..<end])) }
    }

    func unlink(_ path: String) -> Int32 {
        let path = Self.normal(path)
        guard let node = nodes[path] else { return -ENOENT }
        if node.kind == .directory { return -EISDIR }
        nodes[path] = nil
        node.isLinked = false
        if node.openCount == 0 { usedBytes -= node.bytes.count }
        return 0
    }

    /// The same open file under another descriptor.
    func again(_ file: OpenFile) -> OpenFile {
        file.node.openCount += 1
        return file
    }

    func close(_ file: OpenFile) {
        file.node.openCount -= 1
        if file.node.openCount == 0 && !file.node.isLinked { usedBytes -= file.node.bytes.count }
    }

    func makeSocket(_ path: String) -> Int32 {
        if nodes[path] != nil { return -EADDRINUSE }
        guard nodes[Self.directory(of: path)]?.kind == .directory else { return -ENOENT }
        nodes[path] = Node(.socket, permissions: 0o755)
        return 0
    }

    func isSocket(_ path: String) -> Bool { nodes[path]?.kind == .socket }

    /// Without the slashes at the end, which a path of a directory may have.
    private static func normal(_ path: String) -> String {
        var path = Substring(path)
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return String(path)
    }

    private static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }
}
