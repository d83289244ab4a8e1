// Owns the machine that configurations are read on in tests: files, globs and names of hosts are what the test says.
// Used by every file of this target. Nothing here touches the disk or the network.

import CLinux
import ConfigurationFile

@testable import Control

final class PlayedSystem: SystemFiles, @unchecked Sendable {
    var isRoot = false
    var hostname = "Machine.Example"
    var files: [String: String] = [:]
    /// Addresses in digits of each host that resolves.
    var hosts: [String: [String]] = ["localhost": ["127.0.0.1"]]
    /// Paths of logs that cannot be opened.
    var lockedLogs: Set<String> = []
    private(set) var openedLogs: [String] = []
    private(set) var madeFolders: [String] = []

    func makeFolder(_ path: String) { madeFolders.append(path) }

    func read(_ path: String) throws(ReadFailure) -> [UInt8] {
        guard let text = files[path] else { throw ReadFailure("2: No such file or directory") }
        return Array(text.utf8)
    }

    /// Of patterns only a star before the last suffix is understood, as in `sites/*.conf`.
    func glob(_ pattern: String) -> [String] {
        let parts = pattern.split(separator: "*", omittingEmptySubsequences: false)
        return files.keys.filter { $0.hasPrefix(parts[0]) && $0.hasSuffix(parts[parts.count - 1]) }
    }

    func resolve(_ host: String, port: UInt16) -> [(bytes: [UInt8], text: String)] {
        (hosts[host] ?? []).compactMap { digits in
            guard let bytes = numericAddress(digits, port: port) else { return nil }
            return (bytes, addressText(bytes))
        }
    }

    func openLog(_ path: String) -> Int32 {
        openedLogs.append(path)
        // A number that is no descriptor: nothing is written while a configuration is built.
        return lockedLogs.contains(path) ? -EACCES : 1_000_000
    }
}
