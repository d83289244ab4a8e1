// The log files a configuration names: each opened once, shared by all that name it, kept over reloads, reopened at USR1.
// Owned by the supervisor; asked by the log directives while a configuration is built.

import CLinux
import ConfigurationFile
import Engine
import Synchronization

package final class LogFiles: @unchecked Sendable {
    private let system: any SystemFiles
    private let prefix: String
    /// Where the configuration file lies; ends in "/".
    private let configurationFolder: String
    /// `-e`: where the main error log goes when the configuration does not say.
    package let defaultErrorLog: String
    private let files = Mutex<[String: OpenLogFile]>([:])

    package init(system: any SystemFiles, prefix: String, defaultErrorLog: String, configurationFolder: String? = nil) {
        self.system = system
        self.prefix = prefix
        self.configurationFolder = configurationFolder ?? prefix
        self.defaultErrorLog = defaultErrorLog
    }

    /// Where `path` of the configuration lies: relative ones start at the prefix.
    package func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : prefix + path }

    /// Where a certificate or a key lies: relative ones start beside the configuration file.
    package func besideConfiguration(_ path: String) -> String { path.hasPrefix("/") ? path : configurationFolder + path }

    package var opened: [OpenLogFile] { files.withLock { Array($0.values) } }

    func file(_ path: String, at word: Word, of directive: String) throws(Diagnostic) -> OpenLogFile {
        let full = path == "stderr" ? "/dev/stderr" : absolute(path)
        if let known = files.withLock({ $0[full] }) { return known }
        let fd = system.openLog(full)
        if fd < 0 {
            throw Diagnostic(
                at: word.position, directive: directive, "open() \"\(full)\" failed (\(errnoWords(-fd)))", found: full,
                expected: "a file that can be written")
        }
        let file = OpenLogFile(path: full, descriptor: fd)
        files.withLock { $0[full] = file }
        return file
    }

    /// USR1: every file anew, so that a rotated one is let go. A file that cannot be opened keeps its old descriptor.
    package func reopen() -> [String] {
        opened.compactMap { file in
            let fd = system.openLog(file.path)
            let r = fd < 0 ? fd : file.replace(with: fd)
            return r < 0 ? "open() \"\(file.path)\" failed (\(errnoWords(-r)))" : nil
        }
    }
}
