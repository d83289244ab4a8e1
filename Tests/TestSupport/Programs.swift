// Owns the making of programs that tests run: scripts, and folders with scripts in them.
// Another process writes them. What this one has open for writing is for a moment also open in a child that another test is starting, and
// a program that anybody has open for writing cannot be run ("Text file busy").

import Foundation

public enum Programs {
    /// Writes `text` to `path`; `mode` nil: as it was.
    public static func write(_ text: String, to path: String, mode: String? = nil) throws {
        try text.write(toFile: path + ".text", atomically: false, encoding: .utf8)
        let rights = mode.map { "chmod \($0) \"$1\"" } ?? ":"
        try run("cat \"$1.text\" > \"$1\" && rm \"$1.text\" && \(rights)", path)
    }

    /// The folder and all in it.
    public static func copy(_ folder: String, to path: String) throws { try run("cp -R \"$1\" \"$2\"", folder, path) }

    private static func run(_ script: String, _ words: String...) throws {
        let process = try ChildProcess("/bin/sh", ["-c", script, "sh"] + words, stdout: nil, stderr: "/dev/null")
        guard process.waitForEnd(withinMs: 60_000) == .exited(0) else { throw TestFailure("in vain: \(script) \(words)") }
    }
}
