// Server-side includes: text and commands together are the input, however it is cut, and no command, text or expression is too strange.
import HTTPMessage

private func scan(_ pieces: [[UInt8]]) -> (text: [UInt8], commands: [[UInt8]]) {
    var scanner = SSIScanner(valueBytesMax: 64, commandBytesMax: 256)
    var text: [UInt8] = []
    var commands: [[UInt8]] = []
    var command: [UInt8] = []
    for piece in pieces {
        var at = 0
        scanning: while true {
            let before = at
            switch scanner.step(piece.span, at: &at) {
            case .text(let start, let count):
                check(start >= before && count > 0 && start + count <= at, "text lies in what was looked at")
                text += piece[start..<(start + count)]
            case .opening(let count):
                check(count > 0 && count < 5, "an opening that is none is not whole")
                text += Array("<!--#".utf8)[..<count]
            case .piece(let start, let count):
                check(start >= before && count > 0 && start + count <= at, "a piece lies in what was looked at")
                command += piece[start..<(start + count)]
                check(command.count <= 256, "commands are bounded")
            case .command:
                check(command.suffix(2) == Array("--".utf8)[...], "a command ends in dashes")
                commands.append(command)
                command = []
            case .tooLong:
                commands.append([])
                command = []
            case .needMore:
                check(at == piece.count, "all of a piece is looked at")
                break scanning
            }
        }
    }
    if case .opening(let count) = scanner.end() { text += Array("<!--#".utf8)[..<count] }
    return (text, commands)
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSSI(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    let whole = scan([bytes])
    let cut = count == 0 ? 0 : Int(bytes[0]) % (count + 1)
    let parts = scan([Array(bytes[..<cut]), Array(bytes[cut...])])
    check(parts.text == whole.text && parts.commands == whole.commands, "cuts change nothing")
    for command in whole.commands {
        guard let parsed = try? parseSSICommand(command) else { continue }
        for value in parsed.parameters.values { check(value.count <= 64, "values are bounded") }
    }
    _ = try? parseSSIText(bytes)
    _ = try? parseSSIExpression(bytes)
    _ = formatTime(bytes, seconds: Int64(count) << 32, offsetMinutes: count, zone: "")
    return 0
}
