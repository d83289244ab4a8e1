// Owns the rules of the house that the compiler does not know: floors, banned calls, sizes, headers of files, clean lines.
// Each rule names what it found as `file:line`. An exception stands in a list here, with its reason.

import Foundation
import Testing

@Suite("tidy")
struct TidyTests {
    static let sources = SourceFile.all(in: "Sources")
    static let tests = SourceFile.all(in: "Tests")

    /// `file:line: text` for every line of code in which `pattern` is found.
    private func lines(
        of files: [SourceFile], matching pattern: String, unless isAllowed: (SourceFile, String) -> Bool = { _, _ in false }
    )
        -> [String]
    {
        files.flatMap { file in
            file.code.enumerated().compactMap { i, line in
                guard line.range(of: pattern, options: .regularExpression) != nil, !isAllowed(file, line) else { return nil }
                return "\(file.path):\(i + 1): \(line.trimmingCharacters(in: .whitespaces))"
            }
        }
    }

    @Test func thereAreSources() { #expect(Self.sources.count > 100) }

    // MARK: Floors

    /// What each module may import of the project. The kernel's own names come through CLinux.
    static let floors: [String: Set<String>] = [
        "AdminAPI": [], "Bytes": [], "HTTPMessage": ["Bytes"], "ConfigurationFile": [], "Balancing": ["Bytes"],
        "Health": [], "Rollout": ["AdminAPI"], "Deploy": ["AdminAPI"],
        "Engine": ["CLinux", "CNghttp2", "COpenSSL", "CPCRE2", "CZlib", "Bytes", "HTTPMessage", "Balancing"],
        "Control": ["AdminAPI", "CLinux", "Bytes", "HTTPMessage", "ConfigurationFile", "Balancing", "Health", "Rollout", "Engine"],
        "Switchback": ["ConfigurationFile", "Control", "Engine"],
        "proxyctl": ["AdminAPI", "CLinux", "Deploy"],
        "proxyd": ["CLinux", "Control", "Engine", "Switchback"],
    ]
    /// Of the toolchain and of packages: which modules may import what.
    static let toolchain: [String: Set<String>] = [
        "Synchronization": ["Balancing", "Engine", "Control"], "Glibc": ["proxyctl", "proxyd"], "ArgumentParser": ["proxyctl"],
        "Yams": ["proxyctl"],
    ]

    @Test func everyArrowPointsDown() {
        var wrong: [String] = []
        for file in Self.sources {
            guard let allowed = Self.floors[file.module] else {
                wrong.append("\(file.path): a module without a floor")
                continue
            }
            for (i, line) in file.code.enumerated() {
                guard
                    let match = line.firstMatch(
                        of: /^ *(?:@[a-z_()A-Z]+ |public |package )*import (?:struct |enum |func )?([A-Za-z0-9]+)/)
                else { continue }
                let name = String(match.1)
                if !allowed.contains(name), Self.toolchain[name]?.contains(file.module) != true {
                    wrong.append("\(file.path):\(i + 1): \(file.module) may not import \(name)")
                }
            }
        }
        #expect(wrong == [])
    }

    // MARK: Calls

    @Test(
        "no banned call",
        arguments: [
            #"\btry!"#, #"\bfatalError\("#, #"(^|[^.\w])print\("#, #"\bas!"#, #"\bassertionFailure\("#,
            #"\bTask\.detached\b"#, #"\bDispatchQueue\b"#, #"\bNSLock\b"#,
        ])
    func banned(pattern: String) {
        #expect(lines(of: Self.sources, matching: pattern) == [])
    }

    /// `!` behind a value. A pointer to memory that a call was just given cannot be nil; Swift says it may be.
    @Test func noForceUnwrap() {
        let found = lines(of: Self.sources, matching: #"[\w\])]!([^=]|$)"#) { _, line in line.contains(".baseAddress!") }
        #expect(found == [])
    }

    /// Time and chance come from the kernel seam, so that a simulation can replay them.
    @Test func noClockAndNoChanceOutsideTheSeam() {
        let pattern =
            #"\b(clock_gettime|gettimeofday|time\((nil|&)|ContinuousClock|SuspendingClock|Date\(\)|arc4random|getrandom"#
            + #"|SystemRandomNumberGenerator|random\(in:|randomElement\(|shuffled\(\)|shuffle\(\)|clinux_monotonic|clinux_realtime|clinux_random)"#
        // The supervisor's own lines in the error log have the time of the wall; the control side's clock is a seam of its own, and
        // proxyctl has one for its deploys.
        let allowed: Set<String> = [
            "Sources/Control/Supervisor.swift", "Sources/Control/ControlClock.swift", "Sources/proxyctl/Deploy/Clock.swift",
        ]
        let found = lines(of: Self.sources, matching: pattern) { file, _ in
            file.path.hasPrefix("Sources/Engine/Loop/") || allowed.contains(file.path)
        }
        #expect(found == [])
    }

    /// The pure floor calls nothing of C.
    @Test func thePureFloorIsPure() {
        let pure = Self.sources.filter { ["AdminAPI", "Bytes", "HTTPMessage", "ConfigurationFile", "Balancing", "Health", "Rollout", "Deploy"].contains($0.module) }
        #expect(pure.count > 40)
        #expect(lines(of: pure, matching: #"\bclinux_|\bpthread_|\b(malloc|calloc|getenv|errno|strerror)\b"#) == [])
    }

    @Test func aPublicNameBelongsToTheLibraryOrAPureModule() {
        let open = Set(["AdminAPI", "Bytes", "HTTPMessage", "ConfigurationFile", "Balancing", "Health", "Rollout", "Deploy", "Switchback"])
        let pattern = #"^\s*(public|open) (class|func|var|let|struct|enum|final|static|protocol|extension|init)"#
        let found = lines(of: Self.sources, matching: pattern) { file, _ in open.contains(file.module) }
        #expect(found == [])
    }

    // MARK: Sizes

    /// Files over 400 lines, with the reason why.
    static let longFiles: [String: String] = [:]

    @Test func filesAreShort() {
        let long = (Self.sources + Self.tests).filter { $0.lines.count > 400 && Self.longFiles[$0.path] == nil }
        #expect(long.map { "\($0.path): \($0.lines.count) lines" } == [])
        for path in Self.longFiles.keys {
            #expect((Self.sources + Self.tests).contains { $0.path == path && $0.lines.count > 400 }, "\(path)")
        }
    }

    /// Functions over 70 lines, as `file name`, with the reason why.
    static let longFunctions: [String: String] = [:]

    @Test func functionsAreShort() {
        var long: [String] = []
        for file in Self.sources {
            for function in file.functions where function.count > 70 && Self.longFunctions["\(file.path) \(function.name)"] == nil
            {
                long.append("\(file.path):\(function.line): \(function.name) has \(function.count) lines")
            }
        }
        #expect(long == [])
        #expect(Self.sources.reduce(0) { $0 + $1.functions.count } > 500, "the functions are found at all")
    }

    // MARK: Lines

    /// What a file owns, who calls it, what it must not touch.
    @Test func everySourceOpensWithAComment() {
        // The first line of a test may be an import: its name says what it tests.
        #expect(Self.sources.filter { !($0.lines.first?.hasPrefix("// ") ?? false) }.map(\.path) == [])
        let headers = SourceFile.all(in: "Sources", endings: [".c", ".h"])
        #expect(
            headers.filter { !($0.lines.first?.hasPrefix("//") ?? false) && !($0.lines.first?.hasPrefix("/*") ?? false) }.map(
                \.path) == [])
    }

    static let everything = SourceFile.all(
        in: "",
        endings: [
            ".swift", ".c", ".h", ".md", ".conf", ".py", ".yaml", ".json", "Makefile", ".modulemap", "/run", "/compare", "/budget", "/rollout", "/switch", "/releases",
            ".ci/packages",
        ])

    @Test func noLineEndsInASpaceAndNoneHasATab() {
        var found: [String] = []
        for file in Self.everything {
            for (i, line) in file.lines.enumerated() {
                if line.last == " " || line.last == "\t" { found.append("\(file.path):\(i + 1): ends in a space") }
                if line.contains("\t"), file.path != "Makefile" { found.append("\(file.path):\(i + 1): has a tab") }
                if line.contains("\r") { found.append("\(file.path):\(i + 1): has a carriage return") }
            }
        }
        #expect(found == [])
    }

    /// The project knows no machine: no home, no workplace.
    @Test func noPathOfAMachine() {
        // In pieces, so that this line is not found.
        let places = ["/wo" + "rk/", "/ho" + "me/", "/ro" + "ot/", "/o" + "pt/", "/Us" + "ers/"]
        var found: [String] = []
        for file in Self.everything {
            for (i, line) in file.lines.enumerated() where places.contains(where: line.contains) {
                found.append("\(file.path):\(i + 1): \(line.trimmingCharacters(in: .whitespaces))")
            }
        }
        #expect(found == [])
    }

    @Test func theTopLevelIsSwept() throws {
        let allowed: Set<String> = [
            "Package.swift", "Sources", "Tests", "Benchmarks", "conf", "README.md", "Makefile", "LICENSE", ".ci", ".swift-format",
            ".gitignore",
            ".git", "Package.resolved",
        ]
        // What runs leave behind is ignored by git as well.
        let names = try FileManager.default.contentsOfDirectory(atPath: SourceFile.package)
            .filter {
                !$0.hasPrefix(".build") && !$0.hasSuffix(".pid") && !$0.hasSuffix(".profraw") && $0 != "logs" && $0 != ".swiftpm"
            }
        #expect(Set(names).subtracting(allowed).sorted() == [])
    }
}
