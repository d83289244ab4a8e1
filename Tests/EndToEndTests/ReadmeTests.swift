// Owns the promise of README.md: its commands, typed in their order into two shells, print what is written below them.
// Blocks behind `<!-- shell 1 -->` end with a program that stays in the foreground; those behind `<!-- shell 2 -->` are checked.
// Only ports are replaced. An answer may take a moment (a reload does), so a command is repeated until it prints what it should.

import Foundation
import TestSupport
import Testing

@Suite("the README", .ownThread)
struct ReadmeTests {
    struct Block {
        var shell: Int
        var line: Int
        /// Each command with the lines it prints.
        var commands: [(command: String, output: [String])] = []
    }

    /// The blocks that are marked, in their order.
    static func blocks(of text: String) throws -> [Block] {
        var blocks: [Block] = []
        var marked: Int?
        var isInside = false
        for (i, line) in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init).enumerated() {
            if let shell = line.wholeMatch(of: /<!-- shell ([12]) -->/) {
                marked = Int(shell.1)
            } else if isInside {
                if line == "```" {
                    isInside = false
                } else if line.hasPrefix("$ ") {
                    blocks[blocks.count - 1].commands.append((String(line.dropFirst(2)), []))
                } else {
                    guard let last = blocks.last?.commands.indices.last else {
                        throw TestFailure("line \(i + 1): output before a command")
                    }
                    blocks[blocks.count - 1].commands[last].output.append(line)
                }
            } else if line.hasPrefix("```") {
                if line == "```console", marked == nil { throw TestFailure("line \(i + 1): a console block that no test runs") }
                if line == "```console", let shell = marked {
                    blocks.append(Block(shell: shell, line: i + 1))
                    isInside = true
                }
                marked = nil
            }
        }
        return blocks
    }

    /// A folder with `conf/` and the program, ports replaced; what runs in it ends with it.
    final class Desk {
        let directory: String
        private var ports: [String: String] = [:]
        private var running: [Process] = []

        init() throws {
            directory = try Harness.temporaryDirectory()
            let files = FileManager.default
            try files.createDirectory(atPath: directory + "/.build/release", withIntermediateDirectories: true)
            try files.createDirectory(atPath: directory + "/conf", withIntermediateDirectories: true)
            try files.createSymbolicLink(atPath: directory + "/.build/release/proxyd", withDestinationPath: Harness.binary)
            try files.createSymbolicLink(atPath: directory + "/.build/release/proxyctl", withDestinationPath: Harness.proxyctl)
            for name in try files.contentsOfDirectory(atPath: Harness.packageDirectory + "/conf") where name.hasSuffix(".conf") {
                let text = try String(contentsOfFile: Harness.packageDirectory + "/conf/" + name, encoding: .utf8)
                try replacingPorts(text).write(toFile: directory + "/conf/" + name, atomically: false, encoding: .utf8)
            }
            try Programs.copy(Harness.packageDirectory + "/conf/deploy", to: directory + "/conf/deploy")
            try? files.removeItem(atPath: directory + "/conf/deploy/.deploy")
            for name in try files.contentsOfDirectory(atPath: directory + "/conf/deploy") where name.hasSuffix(".conf") || name.hasSuffix(".yaml") {
                let path = directory + "/conf/deploy/" + name
                try replacingPorts(try String(contentsOfFile: path, encoding: .utf8)).write(toFile: path, atomically: false, encoding: .utf8)
            }
        }

        deinit {
            for process in running where process.isRunning {
                process.terminate()
                process.waitUntilExit()
            }
            try? FileManager.default.removeItem(atPath: directory)
        }

        func replacingPorts(_ text: String) throws -> String {
            var result = text
            for match in text.matches(of: /\b(8080|8443|300\d|400\d)\b/) where ports[String(match.1)] == nil {
                ports[String(match.1)] = String(try Ports.reserve())
            }
            // Reserved ports are above 9999: none is taken for one that is still to be replaced.
            for (old, new) in ports { result.replace(try Regex("\\b\(old)\\b"), with: new) }
            return result
        }

        private func process(_ command: String, output: String) throws -> Process {
            _ = FileManager.default.createFile(atPath: output, contents: nil)
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/bin/bash")
            process.arguments = ["-c", command]
            process.currentDirectoryURL = URL(fileURLWithPath: directory)
            process.environment = ["PATH": "/usr/local/bin:/usr/bin:/bin"]
            let file = FileHandle(forWritingAtPath: output)
            process.standardOutput = file
            process.standardError = file
            process.standardInput = FileHandle.nullDevice
            return process
        }

        func run(_ command: String) throws -> [String] {
            let path = directory + "/output"
            // What curl says about its progress belongs to a terminal.
            let quiet = try replacingPorts(command).replacing("curl ", with: "curl -sS --max-time 10 ")
            let process = try process(quiet, output: path)
            try process.run()
            process.waitUntilExit()
            return try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
        }

        /// Starts a server, and returns when its pid file says that it listens.
        func start(_ command: String) throws {
            guard let name = command.firstMatch(of: /-c (conf\/[a-z\/-]+\.conf)/)?.1 else {
                throw TestFailure("no server: \(command)")
            }
            let text = try String(contentsOfFile: directory + "/" + name, encoding: .utf8)
            guard let pid = text.firstMatch(of: /\npid ([a-z.-]+);/)?.1 else { throw TestFailure("\(name) names no pid file") }
            let path = directory + "/log-\(running.count)"
            let process = try process("exec " + command, output: path)
            try process.run()
            running.append(process)
            try Harness.wait(for: "\(command) to start: \((try? String(contentsOfFile: path, encoding: .utf8)) ?? "")") {
                if !process.isRunning {
                    throw TestFailure("\(command) ended: \(try String(contentsOfFile: path, encoding: .utf8))")
                }
                return FileManager.default.fileExists(atPath: directory + "/" + pid)
            }
        }

        var runningCount: Int { running.count { $0.isRunning } }
    }

    @Test(.enabled(if: !Harness.isNginx)) func everyCommandPrintsWhatTheReadmeSays() throws {
        let text = try String(contentsOfFile: Harness.packageDirectory + "/README.md", encoding: .utf8)
        let blocks = try Self.blocks(of: text)
        #expect(blocks.count { $0.shell == 2 } > 5)
        let desk = try Desk()
        for block in blocks {
            for (i, step) in block.commands.enumerated() {
                if block.shell == 1, i == block.commands.count - 1 {
                    try desk.start(step.command)
                    continue
                }
                let wanted = try step.output.map { try desk.replacingPorts($0) }
                var printed = try desk.run(step.command)
                let deadline = Deadline(ms: 5000)
                while printed != wanted, step.command.hasPrefix("curl "), !deadline.hasPassed {
                    printed = try desk.run(step.command)
                }
                #expect(printed == wanted, "README.md, the block at line \(block.line): \(step.command)")
            }
        }
        try Harness.wait(for: "every server that the README starts to have been stopped by it") { desk.runningCount == 0 }
    }
}
