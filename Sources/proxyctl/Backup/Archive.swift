// Writes and reads archives of a backup: tar files (POSIX ustar), so that `tar` can look into them too, with a manifest in front.
// Used by the verbs `backup` and `restore`. What is not exactly as the manifest says is refused whole.

import AdminAPI

/// Files by name, and what is known of them.
struct Archive {
    struct File: Equatable {
        var name: String
        var bytes: [UInt8]
    }
    var files: [File] = []
    /// When it was made, and of what.
    var facts: [JSON.Member] = []

    static let manifestName = "manifest.json"
    static let format = "switchback-backup-1"
    static let filesMax = 10_000
    /// What is read at most; larger ones are not ours.
    static let bytesMax = 1 << 30

    subscript(_ name: String) -> [UInt8]? { files.first { $0.name == name }?.bytes }

    // MARK: Writing

    var bytes: [UInt8] {
        var out: [UInt8] = []
        Self.append(File(name: Self.manifestName, bytes: manifest.bytes()), to: &out)
        for file in files { Self.append(file, to: &out) }
        return out + [UInt8](repeating: 0, count: 1024)
    }

    private var manifest: JSON {
        let list = files.map { file in
            JSON.members([
                "bytes": .integer(Int64(file.bytes.count)), "name": .string(file.name),
                "sha256": .string(SHA256.digest(file.bytes)),
            ])
        }
        let members = [JSON.Member("format", .string(Self.format))] + facts + [JSON.Member("files", .array(list))]
        return .object([JSON.Member("sha256", .string(Self.digest(members)))] + members)
    }

    /// What the manifest says of itself: the digest of its other members.
    private static func digest(_ members: [JSON.Member]) -> String { SHA256.digest(JSON.object(members).bytes()) }

    private static func append(_ file: File, to out: inout [UInt8]) {
        var head = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) { for (i, byte) in text.utf8.enumerated() { head[offset + i] = byte } }
        func octal(_ value: Int, _ digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
        }
        put(String(file.name.prefix(100)), at: 0)
        put(octal(0o600, 7), at: 100)
        put(octal(0, 7), at: 108)
        put(octal(0, 7), at: 116)
        put(octal(file.bytes.count, 11), at: 124)
        put(octal(0, 11), at: 136)
        put("        ", at: 148)
        put("0", at: 156)
        put("ustar", at: 257)
        put("00", at: 263)
        put(octal(head.reduce(0) { $0 + Int($1) }, 6), at: 148)
        head[154] = 0
        out += head + file.bytes
        out += [UInt8](repeating: 0, count: (512 - file.bytes.count % 512) % 512)
    }

    // MARK: Reading

    /// - Throws: what is wrong with it; nothing of it is to be used then.
    init(reading bytes: [UInt8]) throws(Failure) {
        var found = try Self.unpacked(bytes)
        guard let first = found.first, first.name == Self.manifestName, let manifest = try? JSON.parse(first.bytes) else {
            throw Self.broken("it does not begin with a manifest")
        }
        guard manifest["format"]?.string == Self.format else {
            throw Self.broken("its format is \(manifest["format"]?.string ?? "unknown"), expected \(Self.format)")
        }
        let members = (manifest.object ?? []).filter { $0.name != "sha256" }
        if manifest["sha256"]?.string != Self.digest(members) { throw Self.broken("the checksum of its manifest is wrong") }
        found.removeFirst()
        let list = manifest["files"]?.array ?? []
        if list.count != found.count { throw Self.broken("it has \(found.count) files, its manifest \(list.count)") }
        for (file, told) in zip(found, list) {
            guard told["name"]?.string == file.name, told["bytes"]?.integer == Int64(file.bytes.count) else {
                throw Self.broken("\(Words.printable(file.name)) is not what the manifest says")
            }
            if told["sha256"]?.string != SHA256.digest(file.bytes) { throw Self.broken("the checksum of \(file.name) is wrong") }
        }
        files = found
        facts = members.filter { $0.name != "files" && $0.name != "format" }
    }

    init() {}

    private static func broken(_ why: String) -> Failure {
        Failure(.refused, "this is no whole backup: \(why)", hint: "Nothing was changed.")
    }

    private static func unpacked(_ bytes: [UInt8]) throws(Failure) -> [File] {
        var files: [File] = []
        var at = 0
        while true {
            if at + 512 > bytes.count { throw broken("it is cut off") }
            let head = Array(bytes[at..<(at + 512)])
            at += 512
            if head.allSatisfy({ $0 == 0 }) { return files }
            let sum = head.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 32 : Int($1.element)) }
            guard let told = number(head[148..<156]), told == sum, let size = number(head[124..<136]),
                head[156] == UInt8(ascii: "0")
            else {
                throw broken("a head of it is damaged")
            }
            if at + size > bytes.count { throw broken("it is cut off") }
            files.append(
                File(
                    name: String(decoding: head[..<100].prefix { $0 != 0 }, as: UTF8.self), bytes: Array(bytes[at..<(at + size)]))
            )
            if files.count > filesMax { throw broken("it has more than \(filesMax) files") }
            at += (size + 511) / 512 * 512
        }
    }

    private static func number(_ field: ArraySlice<UInt8>) -> Int? {
        let text = String(decoding: field.prefix { $0 != 0 && $0 != UInt8(ascii: " ") }, as: UTF8.self)
        guard let value = Int(text, radix: 8), value >= 0 else { return nil }
        return value
    }
}
