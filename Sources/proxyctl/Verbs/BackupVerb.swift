// `proxyctl backup FILE`: what the proxy knows, in one file that can be verified: pools, splits, history, policies.

import AdminAPI
import ArgumentParser
import CLinux
import Glibc

struct BackupVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Write what the proxy knows into one file with a manifest and checksums.",
        discussion: """
            In it are pools, splits, history, policies and rollouts, and with --folder the files of a state folder, so that
            `restore --into` makes one of it on another machine. Keys of certificates are only in a state folder.
              proxyctl backup proxy.tar
              proxyctl backup --keep 14 backups/            (a name by time; the oldest go)
              proxyctl backup --verify proxy.tar
            """)

    @Argument(help: "A file, or a folder that ends with /.", completion: .file())
    var file: String

    @Option(help: ArgumentHelp("Also the files of this state folder.", valueName: "folder"), completion: .directory)
    var folder: String?

    @Option(help: ArgumentHelp("With a folder: how many backups stay.", valueName: "count"))
    var keep: Int?

    @Flag(help: "Only look whether the file is a whole backup.")
    var verify = false

    @OptionGroup var server: ServerOptions

    func validate() throws {
        if let keep, keep < 1 || !file.hasSuffix("/") {
            throw ValidationError("--keep is a count of at least 1, of backups in a folder/")
        }
    }

    func run() throws {
        if verify { return Output.lines(BackupText.lines(try BackupFile.read(file))) }
        var archive = try BackupFile.gather(try server.client())
        if let folder { try BackupFile.add(folder, to: &archive) }
        var path = file
        if file.hasSuffix("/") {
            try DeployFolder.make(file)
            let name = Timestamp.text(ms: Clock.wallMs).filter { $0.isNumber || $0 == "T" }
            path = file + "switchback-\(name).tar"
        }
        let bytes = archive.bytes
        try Files.replace(path, bytes)
        // What cannot be read back is no backup.
        _ = try Archive(reading: try BackupFile.bytes(path))
        if let keep { BackupFile.prune(file, keep) }
        Output.line("\(path): \(archive.files.count) files, \(bytes.count) bytes")
    }
}

enum BackupText {
    static func lines(_ archive: Archive) -> [String] {
        let facts = archive.facts.map { "\($0.name): \($0.value.string ?? $0.value.integer.map(String.init) ?? "")" }
        let files = archive.files.map { "    \($0.name)  \($0.bytes.count) bytes" }
        return (["A whole backup."] + facts + files).map(Words.printable)
    }
}

enum BackupFile {
    /// What every proxy has, and what later ones have.
    private static let parts: [(name: String, segments: [String], isOptional: Bool)] = [
        ("state.json", ["upstreams"], false), ("export.conf", ["export"], false), ("history.json", ["revisions"], false),
        ("certificates.json", ["certificates"], true), ("policies.json", ["policies"], true),
        ("rollouts.json", ["rollouts"], true),
        ("flags.json", ["feature-flags"], true),
    ]

    static func gather(_ client: AdminClient) throws(Failure) -> Archive {
        var archive = Archive()
        var revision: UInt64?
        for part in parts {
            let answer = try client.send(AdminRequest("GET", part.segments))
            if part.isOptional, answer.status == 404 { continue }
            archive.files.append(Archive.File(name: part.name, bytes: try answer.orProblem().body))
            revision = revision ?? answer.revision
        }
        let status = try client.send(AdminRequest("GET", ["status"])).orProblem().decoded(Status.self)
        archive.facts = [
            JSON.Member("made", .string(Timestamp.text(ms: Clock.wallMs))), JSON.Member("by", .string(DeployDesk.who)),
            JSON.Member("proxy", .string(status.version)),
            JSON.Member("revision", .integer(Int64(clamping: revision ?? status.revision))),
        ]
        return archive
    }

    /// The regular files of a folder, without those below it that only a running proxy has.
    static func add(_ folder: String, to archive: inout Archive) throws(Failure) {
        for name in try names(folder, below: "").sorted() {
            if name.utf8.count > 90 { throw Failure(.refused, "the name \(name) is too long for an archive") }
            archive.files.append(Archive.File(name: "folder/" + name, bytes: try bytes(folder + "/" + name)))
        }
    }

    private static func names(_ folder: String, below prefix: String) throws(Failure) -> [String] {
        guard let directory = opendir(folder + "/" + prefix) else {
            throw Failure(.refused, "cannot read the folder \(folder)/\(prefix): \(AdminClient.words(-Int(errno)))")
        }
        defer { closedir(directory) }
        var result: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            var facts = stat()
            let path = prefix + name
            guard lstat(folder + "/" + path, &facts) == 0 else { continue }
            if facts.st_mode & S_IFMT == S_IFDIR { result += try names(folder, below: path + "/") }
            if facts.st_mode & S_IFMT == S_IFREG { result.append(path) }
        }
        return result
    }

    static func bytes(_ path: String) throws(Failure) -> [UInt8] { try TextFile.read(path, bytesMax: Archive.bytesMax) }

    static func read(_ path: String) throws(Failure) -> Archive { try Archive(reading: try bytes(path)) }

    /// The oldest go; only files that have our names.
    static func prune(_ folder: String, _ keep: Int) {
        let all = ((try? names(String(folder.dropLast()), below: "")) ?? []).filter {
            $0.hasPrefix("switchback-") && $0.hasSuffix(".tar") && !$0.contains("/")
        }
        for name in all.sorted().dropLast(keep) { unlink(folder + name) }
    }
}
