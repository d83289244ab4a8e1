import ConfigurationFile
import Testing

@Suite struct LimitsTests {
    @Test func aFileMayHaveSoManyBytes() {
        let few = limits { $0.fileBytesMax = 4 }
        #expect(outcome("a b;", few) == "[a][b];")
        #expect(outcome("a bc;", few) == "file has 5 bytes, more than the limit of 4 in x:1:1")
    }

    @Test func thereMayBeSoManyDirectives() {
        let few = limits { $0.directivesMax = 3 }
        #expect(outcome("a{b;c;}", few) == "[a]{[b];[c];}")
        #expect(outcome("a;b;c;\nd;", few) == "more than 3 directives in x:2:1")
    }

    @Test func blocksMayBeNestedSoDeep() {
        let few = limits { $0.depthMax = 2 }
        #expect(outcome("a{b{c;}}", few) == "[a]{[b]{[c];}}")
        #expect(outcome("a{b{c{}}}", few) == "blocks are nested more than 2 deep in x:1:6")
        let many = limits { $0.depthMax = .max }
        let deep = String(repeating: "a{", count: 100_000)
        #expect(outcome(deep, many) == "blocks are nested more than 256 deep in x:1:514")
        #expect(!outcome(String(repeating: "a{", count: 256) + String(repeating: "}", count: 256), many).contains(" in x"))
    }

    @Test func aWordMayHaveSoManyBytesAsItIsWritten() {
        let few = limits { $0.wordBytesMax = 12 }
        #expect(outcome("a abcdefghijkl;", few) == "[a][abcdefghijkl];")
        #expect(outcome("a \"abcdefghijkl\";", few) == "[a][\"abcdefghijkl\"];")
        #expect(outcome("a 'abcdefghij\\n';", few) == "[a][\"abcdefghij\n\"];")
        #expect(outcome("a;\n abcdefghijklm;", few) == #"too long parameter "abcdefghij..." started in x:2:2"#)
        #expect(
            outcome("a;\nb \"c;\nd e f g h i j k l;", few)
                == #"too long parameter, probably missing terminating """ character in x:2:3"#)
        #expect(outcome("a 'abcdefghijk\\n';", few).hasPrefix("too long parameter, probably missing terminating \"'\""))
    }

    @Test func aDirectiveMayHaveSoManyWords() {
        let few = limits { $0.wordsMax = 3 }
        #expect(outcome("a b c;", few) == "[a][b][c];")
        #expect(outcome("a b\nc d;", few) == #"more than 3 words in directive "a" in x:2:3; is a ";" or a quote missing?"#)
    }

    private func load(_ files: [String: String], _ limits: ConfigurationLimits) -> String {
        told {
            shape(
                try parse(
                    file: "main", limits: limits,
                    reading: { (name) throws(ReadFailure) in Array((files[name] ?? "").utf8) },
                    globbing: { _ in [] }
                ).directives)
        }
    }

    @Test func thereMayBeSoManyFilesAndBytesOfFiles() {
        let files = ["main": "include a;include a;\n include a;", "a": "b;"]
        #expect(load(files, limits { $0.filesMax = 4 }) == "[b];[b];[b];")
        #expect(load(files, limits { $0.filesMax = 3 }) == "more than 3 files in main:2:10")
        #expect(load(files, limits { $0.totalBytesMax = 38 }) == "[b];[b];[b];")
        #expect(load(files, limits { $0.totalBytesMax = 37 }) == "files have more than 37 bytes together in main:2:10")
        #expect(load(files, limits { $0.directivesMax = 5 }) == "more than 5 directives in a:1:1")
    }

    @Test func includesMayBeNestedSoDeepAndBlocksCountThroughThem() {
        let files = ["main": "x{include a;}", "a": "y{include b;}", "b": "z{}"]
        #expect(load(files, limits { $0.includeDepthMax = 2 }) == "[x]{[y]{[z]{}}}")
        #expect(load(files, limits { $0.includeDepthMax = 1 }) == "includes are nested more than 1 deep in a:1:11")
        #expect(load(files, limits { $0.depthMax = 2 }) == "blocks are nested more than 2 deep in b:1:2")
    }
}
