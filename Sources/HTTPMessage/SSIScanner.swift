// Finds server-side includes in a stream of bytes: text passes, `<!--# ... -->` is handed out in pieces and announced when it is whole.
// Called by the engine's filter with whatever has come. It keeps a few numbers between calls, no bytes, and calls nobody.

/// What commands begin with.
public let ssiOpening: StaticString = "<!--#"

public struct SSIScanner: Sendable, BitwiseCopyable {
    public enum Step: Equatable, Sendable {
        /// These bytes of the input pass.
        case text(start: Int, count: Int)
        /// So many bytes of `ssiOpening`, of inputs before, have turned out to be text.
        case opening(count: Int)
        /// These bytes of the input belong to a command, behind its opening.
        case piece(start: Int, count: Int)
        /// What has been handed out in pieces is the whole of a command, with the two dashes of its end.
        case command
        /// A command has ended that is too long, or a value in it is.
        case tooLong
        case needMore
    }

    private enum Place: UInt8 { case text, opening, command }
    private var place = Place.text
    /// Bytes of the opening that have come.
    private var opened = 0
    /// The quote that the value in hand ends with; 0: there is none. And how long it is.
    private var quote: UInt8 = 0
    private var isEscaped = false
    private var valueBytes = 0
    private var commandBytes = 0
    private var dashes = 0
    private var isTooLong = false
    private var isWhole = false
    private let valueBytesMax: Int
    private let commandBytesMax: Int

    /// There is a step to be made whether or not more of the input comes.
    public var hasStep: Bool { isWhole }

    /// - Parameters:
    ///   - valueBytesMax: of a parameter's value (`ssi_value_length`).
    ///   - commandBytesMax: of all between `<!--#` and `-->`.
    public init(valueBytesMax: Int, commandBytesMax: Int) {
        self.valueBytesMax = valueBytesMax
        self.commandBytesMax = commandBytesMax
    }

    /// The next step over `input` from `offset`, which is advanced past what was looked at.
    public mutating func step(_ input: Span<UInt8>, at offset: inout Int) -> Step {
        if isWhole { return ended() }
        switch place {
        case .text: return text(input, &offset)
        case .opening: return opening(input, &offset)
        case .command: return command(input, &offset)
        }
    }

    /// The stream has ended. Bytes of an opening that did not come whole are text; a command that did not is dropped.
    public mutating func end() -> Step {
        let count = place == .opening ? opened : 0
        self = SSIScanner(valueBytesMax: valueBytesMax, commandBytesMax: commandBytesMax)
        return count > 0 ? .opening(count: count) : .needMore
    }

    private mutating func text(_ input: Span<UInt8>, _ offset: inout Int) -> Step {
        let start = offset
        while offset < input.count {
            if input[offset] == UInt8(ascii: "<") {
                let count = offset - start
                place = .opening
                opened = 1
                offset += 1
                return count > 0 ? .text(start: start, count: count) : opening(input, &offset)
            }
            offset += 1
        }
        return offset > start ? .text(start: start, count: offset - start) : .needMore
    }

    private mutating func opening(_ input: Span<UInt8>, _ offset: inout Int) -> Step {
        while offset < input.count {
            let byte = input[offset]
            // "<<!--#": the second bracket may be the one.
            if byte == expected {
                offset += 1
                opened += 1
                if opened < 5 { continue }
                self = SSIScanner(valueBytesMax: valueBytesMax, commandBytesMax: commandBytesMax)
                place = .command
                return command(input, &offset)
            }
            let count = opened
            place = .text
            opened = 0
            return .opening(count: count)
        }
        return .needMore
    }

    private var expected: UInt8 {
        switch opened {
        case 1: UInt8(ascii: "!")
        case 2, 3: UInt8(ascii: "-")
        default: UInt8(ascii: "#")
        }
    }

    private mutating func command(_ input: Span<UInt8>, _ offset: inout Int) -> Step {
        let start = offset
        while offset < input.count {
            let byte = input[offset]
            offset += 1
            commandBytes += 1
            if commandBytes > commandBytesMax, !isTooLong { giveUp() }
            if quote != 0 {
                inValue(byte)
            } else if byte == UInt8(ascii: ">"), dashes >= 2 {
                isWhole = true
                let count = offset - 1 - start
                return count > 0 && !isTooLong ? .piece(start: start, count: count) : ended()
            } else {
                dashes = byte == UInt8(ascii: "-") ? dashes + 1 : 0
                if !isTooLong, byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") { quote = byte }
            }
        }
        return offset > start && !isTooLong ? .piece(start: start, count: offset - start) : .needMore
    }

    private mutating func inValue(_ byte: UInt8) {
        if isEscaped {
            isEscaped = false
        } else if byte == quote {
            quote = 0
            valueBytes = 0
            return
        } else if byte == UInt8(ascii: "\\") {
            isEscaped = true
        }
        valueBytes += 1
        if valueBytes > valueBytesMax { giveUp() }
    }

    /// What follows is looked at for the command's end alone.
    private mutating func giveUp() {
        isTooLong = true
        quote = 0
        dashes = 0
    }

    private mutating func ended() -> Step {
        let wasTooLong = isTooLong
        self = SSIScanner(valueBytesMax: valueBytesMax, commandBytesMax: commandBytesMax)
        return wasTooLong ? .tooLong : .command
    }
}
