// Fuzz target of `ConfigurationFile`: any bytes are parsed, included, written back and read as values, and nothing crashes.
// Built and run by Tests/Fuzz/run with libFuzzer; the corpus is in corpus/ConfigurationFuzz. It checks what must hold.

#if canImport(ConfigurationFile)
    import ConfigurationFile
#endif

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConfiguration(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    var limits = ConfigurationLimits()
    limits.directivesMax = 5000
    limits.filesMax = 50
    do throws(Diagnostic) {
        let tree = try parse(bytes, file: "fuzz", limits: limits)
        checkWritten(tree)
        for directive in tree { checkValues(directive) }
        // Looking for the nearest of all names takes long: one is enough.
        if let first = tree.first { checkDiagnostic(.refusal(of: first, in: .http)) }
    } catch {
        checkDiagnostic(error)
    }
    checkIncludes(bytes, limits)
    return 0
}

/// What is written is read as an equal tree, and written again as the same bytes.
private func checkWritten(_ tree: [Directive]) {
    // Quotes and escapes may make a word twice as long.
    var limits = ConfigurationLimits()
    limits.wordBytesMax *= 2
    limits.fileBytesMax = .max
    let text = Printer().text(tree)
    let again = try? parse(text, file: "written", limits: limits)
    precondition(again == tree, "another tree comes back")
    precondition(again.map { Printer().text($0) } == text, "other text comes back")
}

private func checkValues(_ directive: Directive) {
    let name = directive.name.text
    for word in directive.arguments.prefix(50) {
        check { () throws(Diagnostic) in _ = try word.template(of: name) }
        check { () throws(Diagnostic) in require(try word.seconds(of: name) >= 0) }
        check { () throws(Diagnostic) in require(try word.milliseconds(of: name) >= 0) }
        check { () throws(Diagnostic) in require(try word.sizeBytes(of: name) >= 0) }
        check { () throws(Diagnostic) in require(try word.offsetBytes(of: name) >= 0) }
        check { () throws(Diagnostic) in require((-9...9).contains(try word.integer(in: -9...9, of: name))) }
        check { () throws(Diagnostic) in _ = try word.flag(of: name) }
        _ = word.parameter
    }
    for inner in directive.block ?? [] { checkValues(inner) }
}

/// The input is a main file that may include two others by name or pattern: itself, and a part of itself.
private func checkIncludes(_ bytes: [UInt8], _ limits: ConfigurationLimits) {
    do throws(Diagnostic) {
        _ = try parse(
            file: "/f/main", limits: limits,
            reading: { (name) throws(ReadFailure) in
                switch name {
                case "/f/main": return bytes
                case "/f/half": return Array(bytes.suffix(bytes.count / 2))
                default: throw ReadFailure("2: No such file or directory")
                }
            },
            globbing: { $0.utf8.count > 5 ? ["/f/main", "/f/half"] : ["/f/half"] })
    } catch {
        checkDiagnostic(error)
    }
}

private func check(_ body: () throws(Diagnostic) -> Void) {
    do throws(Diagnostic) { try body() } catch { checkDiagnostic(error) }
}

/// One line that names its place.
private func checkDiagnostic(_ diagnostic: Diagnostic) {
    let text = diagnostic.description
    precondition(text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "not one line: \(text)")
    precondition(text.contains(" in \(diagnostic.position)"), "without a place: \(text)")
    precondition(diagnostic.position.line >= 1 && diagnostic.position.column >= 1)
}

private func require(_ holds: Bool) { precondition(holds, "a value beyond its range") }
