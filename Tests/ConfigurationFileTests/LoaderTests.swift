import ConfigurationFile
import Testing

@Suite struct LoaderTests {
    private let main = "/etc/p/main.conf"

    /// The shape, or what was refused. `globs`: what each pattern answers.
    private func load(_ files: [String: String], globs: [String: [String]] = [:], folder: String? = nil) -> String {
        told { shape(try configuration(files, globs: globs, folder: folder).directives) }
    }

    private func configuration(
        _ files: [String: String], globs: [String: [String]] = [:], folder: String? = nil
    ) throws(Diagnostic) -> ParsedConfiguration {
        try parse(
            file: main, folder: folder,
            reading: { (name) throws(ReadFailure) in
                guard let text = files[name] else { throw ReadFailure("2: No such file or directory") }
                return Array(text.utf8)
            },
            globbing: { globs[$0] ?? [] })
    }

    @Test func anIncludeIsReplacedByWhatItBrings() throws {
        let files = [
            main: "a;include sub/b.conf;types{include /abs/t;}'include' \"sub/b.conf\";c;",
            "/etc/p/sub/b.conf": "b{include sub/d.conf;}", "/etc/p/sub/d.conf": "d;", "/abs/t": "text/html html;",
        ]
        let loaded = try configuration(files)
        #expect(shape(loaded.directives) == "[a];[b]{[d];}[types]{[text/html][html];}[b]{[d];}[c];")
        #expect(loaded.files.map(\.name) == [main, "/etc/p/sub/b.conf", "/etc/p/sub/d.conf", "/abs/t"])
        #expect(loaded.files.allSatisfy { $0.bytes == Array((files[$0.name] ?? "").utf8) })
        #expect(loaded.directives[1].position.file == "/etc/p/sub/b.conf")
    }

    @Test func relativeNamesStartFromOneFolder() {
        #expect(load([main: "include a;", "/srv/a": "x;"], folder: "/srv") == "[x];")
        #expect(load([main: "include a;", "/srv/a": "x;"], folder: "/srv/") == "[x];")
        #expect(load([main: "include a;", "a": "x;"], folder: "") == "[x];")
        #expect(
            told {
                try parse(
                    file: "/m", reading: { name in Array((name == "/m" ? "include a;" : "\(name);").utf8) },
                    globbing: { _ in [] }
                ).directives[0].name.text
            } == "/a")
    }

    @Test(arguments: ["*.conf", "[ab].conf", "?.conf"])
    func aPatternBringsItsFilesInTheOrderOfTheirBytes(_ pattern: String) {
        let files = [main: "x;include \(pattern);y;", "/etc/p/a.conf": "a;", "/etc/p/B.conf": "b;", "/etc/p/10.conf": "t;"]
        let globs = ["/etc/p/\(pattern)": ["/etc/p/a.conf", "/etc/p/10.conf", "/etc/p/B.conf"]]
        #expect(load(files, globs: globs) == "[x];[t];[b];[a];[y];")
        #expect(load(files) == "[x];[y];")
    }

    @Test func whatCannotBeReadIsNamedAtItsInclude() {
        #expect(load([:]) == #"open() "/etc/p/main.conf" failed (2: No such file or directory) in /etc/p/main.conf:1:1"#)
        #expect(
            load([main: "a;\nb { include c; }"])
                == #"open() "/etc/p/c" failed (2: No such file or directory) in /etc/p/main.conf:2:13"#)
        #expect(
            load([main: "include *;", "/etc/p/c": "include d;"], globs: ["/etc/p/*": ["/etc/p/c"]])
                == #"open() "/etc/p/d" failed (2: No such file or directory) in /etc/p/c:1:9"#)
    }

    @Test func aFileThatIncludesItselfIsRefused() {
        #expect(
            load([main: "include main.conf;"])
                == #""/etc/p/main.conf" includes itself in /etc/p/main.conf:1:9; "#
                + "/etc/p/main.conf includes /etc/p/main.conf")
        #expect(
            load([main: "include a;", "/etc/p/a": "b;\ninclude *;"], globs: ["/etc/p/*": ["/etc/p/a", main]])
                == #""/etc/p/a" includes itself in /etc/p/a:2:9; "#
                + "/etc/p/main.conf includes /etc/p/a includes /etc/p/a")
        // Another way to write a name is found by depth.
        #expect(
            load(
                Dictionary(
                    uniqueKeysWithValues: (0..<40).map { i in
                        (
                            i == 0 ? main : "/etc/p/" + String(repeating: "./", count: i),
                            "include \(String(repeating: "./", count: i + 1));"
                        )
                    })
            ).hasPrefix("includes are nested more than 16 deep in "))
    }

    @Test(arguments: [
        (
            "include;",
            #"invalid number of arguments in "include" directive in /etc/p/main.conf:1:1; expected one file name or pattern"#
        ),
        (
            "include a\nb;",
            #"invalid number of arguments in "include" directive in /etc/p/main.conf:1:1; "#
                + #"is a ";" missing after "a" at line 1?"#
        ),
        ("include a {}", #"directive "include" is not terminated by ";" in /etc/p/main.conf:1:1"#),
        (
            "include \"a\0b\";",
            #"invalid value "a\x00b" in "include" directive, it must be a file name in UTF-8 in /etc/p/main.conf:1:9"#
        ),
    ])
    func anIncludeHasOneName(_ text: String, _ expected: String) { #expect(load([main: text]) == expected) }

    @Test func anErrorInAnIncludedFileHasThePlaceInThatFile() {
        #expect(load([main: "\n\ninclude a;", "/etc/p/a": "\n}"]) == #"unexpected "}" in /etc/p/a:2:1; no block is open here"#)
    }
}
