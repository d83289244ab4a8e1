// `proxyctl upstreams edit`: all pools and splits in an editor. An edit that the server does not take is never lost.

import AdminAPI
import ArgumentParser
import CLinux
import Glibc

struct UpstreamsEditVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "edit", abstract: "Edit all pools and splits in an editor.",
        discussion: """
            Opens VISUAL, EDITOR or vi. What the server refuses comes up again, with its reason in the first lines. Leave it as it
            is then, and the edit is kept in a file; `proxyctl upstreams put FILE` takes it.
            """)

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var write: WriteOptions

    /// An editor that is a script would never leave an edit as it is.
    static let roundsMax = 20

    func run() throws {
        let client = try write.server.client()
        let answer = try client.send(AdminRequest("GET", ["upstreams"])).orProblem()
        let read = StateDocument(answer.body, revision: answer.revision)
        let path = try Editor.makeFile(read.bytes)
        guard let written = try edit(path, read, client) else { return }
        try waiting.finish(written, write.server, client)
    }

    /// Rounds of editor and server, until one of them has enough. Nil: nothing was changed.
    private func edit(_ path: String, _ read: StateDocument, _ client: AdminClient) throws(Failure) -> WriteAnswer? {
        var shown = read.bytes
        for _ in 0..<Self.roundsMax {
            do throws(Failure) { try Editor.open(path) } catch { throw try ended(path, unlessStill: read, error) }
            let edited = try TextFile.read(path)
            let document = StateDocument(edited)
            if document.bytes == read.bytes {
                unlink(path)
                Output.line("Nothing was edited, nothing is changed.")
                return nil
            }
            if edited == shown { throw kept(path, Failure(.refused, "the edit was not taken")) }
            do throws(Failure) {
                var request = write.request("PUT", ["upstreams"], readAt: read.revision)
                request.body = document.bytes
                let written = try write.perform(request, client)
                if written == nil { Output.error("The edit is kept in \(path)") } else { unlink(path) }
                return written
            } catch {
                // Only what is wrong with the text can be mended in it.
                guard error.status == .refused else { throw kept(path, error) }
                shown = document.below(
                    error.text + (error.hint.isEmpty ? "" : "\n" + error.hint) + "\nMend it, or leave it as it is to stop.")
                try TextFile.write(shown, to: path)
                Output.error("proxyctl: " + error.text)
            }
        }
        throw kept(path, Failure(.refused, "the edit was not taken in \(Self.roundsMax) rounds"))
    }

    private func kept(_ path: String, _ failure: Failure) -> Failure {
        var failure = failure
        failure.text += "\nThe edit is kept in \(path)"
        failure.hint =
            failure.status == .lostRace
            ? "`proxyctl history` shows who was faster. "
                + "`proxyctl upstreams put \(path) --any-revision` takes it, and undoes what they did."
            : "`proxyctl upstreams put \(path)` takes it."
        return failure
    }

    /// The editor failed: what was written by then is kept, and a file without an edit is not.
    private func ended(_ path: String, unlessStill read: StateDocument, _ failure: Failure) throws(Failure) -> Failure {
        if StateDocument(try TextFile.read(path)).bytes != read.bytes { return kept(path, failure) }
        unlink(path)
        return failure
    }
}

enum Editor {
    /// A file that only we may read, with a name that editors know for JSON.
    static func makeFile(_ bytes: [UInt8]) throws(Failure) -> String {
        let folder = Output.environment("TMPDIR") ?? "/tmp"
        var name = Array((folder + "/proxyctl-XXXXXX.json").utf8CString)
        let fd = mkstemps(&name, 5)
        if fd < 0 { throw Failure(.usage, "cannot make a file in \(folder): \(AdminClient.words(-Int(errno)))") }
        _ = clinux_close(fd)
        let path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        try TextFile.write(bytes, to: path)
        return path
    }

    /// Runs the editor on `path` to its end. The shell reads its words, as git and crontab have it: `code --wait`.
    static func open(_ path: String) throws(Failure) {
        let editor = Output.environment("VISUAL") ?? Output.environment("EDITOR") ?? "vi"
        let words = ["sh", "-c", editor + " \"$1\"", "sh", path]
        var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for word in argv { free(word) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, "/bin/sh", nil, nil, &argv, environ)
        if failure != 0 { throw Failure(.usage, "cannot start the editor \(editor): \(AdminClient.words(-Int(failure)))") }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        if status != 0 {
            throw Failure(
                .usage, "the editor ended with an error, nothing is changed: \(editor)", hint: "EDITOR says which one is opened.")
        }
    }
}
