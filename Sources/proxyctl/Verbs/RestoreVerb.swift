// `proxyctl restore N|FILE`: goes back to an earlier revision, or to what a backup holds.

import AdminAPI
import ArgumentParser
import Glibc

struct RestoreVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Go back to the pools and splits of an earlier revision, or of a backup.",
        discussion: """
            A backup is verified first: one that is not whole changes nothing. What it changes is a revision like any other, and
            `proxyctl undo` takes it back. With --into it becomes the state folder of a proxy that does not run.
              proxyctl restore 42
              proxyctl restore proxy.tar --dry-run
            """)

    @Argument(help: "A number of `proxyctl history`, or a file of `proxyctl backup`.", completion: .file(extensions: ["tar"]))
    var what: String

    @Option(help: ArgumentHelp("Unpack the backup's state folder there; it must be empty or missing.", valueName: "folder"))
    var into: String?

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var write: WriteOptions

    func run() throws {
        if let into { return try unpack(try BackupFile.read(what), into) }
        let client = try write.server.client()
        if let revision = UInt64(what) {
            let request = write.request("POST", ["revisions", String(revision), "restore"])
            return try waiting.finish(try write.perform(request, client), write.server, client)
        }
        let archive = try BackupFile.read(what)
        guard let state = archive["state.json"] else {
            throw Failure(.refused, "the backup has no state", hint: "Nothing was changed.")
        }
        let names = try RunningNames.read(client)
        var request = write.request("PUT", ["upstreams"], readAt: names.revision)
        if write.reason == nil { request.query.append(("reason", "restored from \(what)")) }
        request.body = StateDocument(state).bytes
        let written = try write.perform(request, client)
        if !write.dryRun { try putPolicies(archive, client) }
        try waiting.finish(written, write.server, client)
    }

    /// What the running proxy has under other names stays.
    private func putPolicies(_ archive: Archive, _ client: AdminClient) throws(Failure) {
        guard let bytes = archive["policies.json"], let json = try? JSON.parse(bytes) else { return }
        for policy in json.array ?? json["policies"]?.array ?? [] {
            guard let name = policy["name"]?.string else { continue }
            var request = AdminRequest("PUT", ["policies", name])
            request.body = policy.bytes(pretty: false)
            _ = try client.send(request).orProblem()
        }
    }

    private func unpack(_ archive: Archive, _ folder: String) throws(Failure) {
        let files = archive.files.filter { $0.name.hasPrefix("folder/") }
        if files.isEmpty {
            throw Failure(.refused, "the backup has no state folder in it", hint: "`proxyctl backup --folder` puts one in.")
        }
        if let directory = opendir(folder) {
            defer { closedir(directory) }
            var count = 0
            while readdir(directory) != nil { count += 1 }
            if count > 2 { throw Failure(.refused, "\(folder) is not empty", hint: "Nothing was changed.") }
        }
        for file in files {
            let parts = file.name.split(separator: "/").dropFirst()
            if parts.contains("..") {
                throw Failure(.refused, "the backup has a name that leads elsewhere", hint: "Nothing was changed.")
            }
        }
        for file in files {
            let path = folder + "/" + file.name.dropFirst(7)
            if let slash = path.lastIndex(of: "/") { try DeployFolder.make(String(path[..<slash]), 0o700) }
            try Files.replace(path, file.bytes)
        }
        Output.line("\(folder): \(files.count) files")
    }
}
