// A page with server-side includes on its way to the client: what is read and not looked at yet, what is to be sent, in order, and what
// its commands have set. Owned by its exchange. It decides nothing: SSIFilter.swift moves the bytes, SSICommands.swift obeys.

import Bytes
import HTTPMessage

/// `ssi` and what goes with it.
package struct SSISettings: BitwiseCopyable {
    package var isOn = false
    package var isSilent = false
    package var keepsLastModified = false
    package var valueBytesMax = 256
    package var types = MediaTypeList()
    package init() {}
}

/// Variables that commands have set: those of the outermost page are also those of the pages within.
final class SSIVariables {
    private(set) var values: [String: [UInt8]] = [:]
    private var bytes = 0

    /// False: there are too many, or they are too large together.
    func set(_ name: String, _ value: [UInt8]) -> Bool {
        let more = name.utf8.count + value.count - (values[name].map { $0.count + name.utf8.count } ?? 0)
        if bytes + more > Limits.ssiVariableBytesMax || values.count >= Limits.ssiVariablesMax && values[name] == nil { return false }
        bytes += more
        values[name] = value
        return true
    }
}

final class SSIPage {
    /// What is to be sent, in order.
    enum Output {
        case bytes([UInt8])
        /// The body of an inner request; where that has none, the block of this name.
        case include(Ref<InnerRequest>, stub: String?)
    }

    /// An `if` that is open.
    struct Condition {
        /// One of its branches has been chosen; the present one is.
        var isDecided: Bool
        var isTaken: Bool
    }

    var scanner: SSIScanner
    /// What has been given and not been scanned.
    var input: [UInt8] = []
    var scanned = 0
    /// All of the source has been given.
    var isWhole = false
    /// And the scanner has been told.
    var isEnded = false
    /// Between `<!--#` and `-->`.
    var command: [UInt8] = []

    /// The head, until something is sent behind it.
    var head: [UInt8] = []
    private(set) var outputs: [Output] = []
    private(set) var firstOutput = 0
    /// How much of the first output has been taken.
    var taken = 0
    private(set) var outputBytes = 0
    /// Something of the first output, an include, has been sent.
    var hasSentOfInclude = false

    /// Nothing more is scanned before it is over.
    var awaited: Ref<InnerRequest>?
    /// The variable that is to have its body.
    var awaitedName: String?

    var conditions: [Condition] = []
    var blocks: [String: [UInt8]] = [:]
    var blockName: String?
    var block: [UInt8] = []
    /// Blocks that are being made use of.
    var stubDepth = 0
    let variables: SSIVariables
    /// Of the last expression.
    var groups: [[UInt8]?] = []
    var errorText = Array("[an error occurred while processing the directive]".utf8)
    var timeFormat: [UInt8]?

    private let freshScanner: SSIScanner

    init(_ settings: SSISettings, variables: SSIVariables) {
        freshScanner = SSIScanner(valueBytesMax: settings.valueBytesMax, commandBytesMax: Limits.ssiCommandBytesMax)
        scanner = freshScanner
        self.variables = variables
    }

    /// What stands here is to be sent.
    var isOutput: Bool { conditions.last?.isTaken ?? true }
    /// Something is left to be scanned, and there is room for what comes of it.
    var mayScan: Bool { !isScanned && awaited == nil && hasRoom }
    private var isScanned: Bool { scanned == input.count && !scanner.hasStep }
    var hasRoom: Bool { outputBytes < Limits.ssiOutputBytesMax && outputs.count - firstOutput < Limits.ssiOutputsMax }
    /// More of the source may be given.
    var isHungry: Bool { isScanned && awaited == nil && hasRoom && !isWhole }
    var isDone: Bool { isEnded && awaited == nil && outputs.count == firstOutput }
    /// All has been scanned.
    var mayEnd: Bool { isWhole && !isEnded && isScanned && awaited == nil }
    var first: Output? { firstOutput < outputs.count ? outputs[firstOutput] : nil }

    func give(_ bytes: ByteView) {
        if scanned == input.count {
            input.removeAll(keepingCapacity: true)
            scanned = 0
        }
        input.append(contentsOf: bytes.buffer)
    }

    func put(_ bytes: some Collection<UInt8>) {
        if bytes.isEmpty { return }
        outputBytes += bytes.count
        if outputs.count > firstOutput, case .bytes(var last) = outputs[outputs.count - 1], outputs.count - firstOutput > 1 || taken == 0 {
            outputs[outputs.count - 1] = .bytes([])
            last.append(contentsOf: bytes)
            outputs[outputs.count - 1] = .bytes(last)
        } else {
            outputs.append(.bytes(Array(bytes)))
        }
    }

    func put(_ request: Ref<InnerRequest>, stub: String?) { outputs.append(.include(request, stub: stub)) }

    /// The first output has been sent.
    func dropFirst() {
        if case .bytes(let bytes)? = first { outputBytes -= bytes.count }
        firstOutput += 1
        taken = 0
        hasSentOfInclude = false
        if firstOutput == outputs.count || firstOutput >= 64 {
            outputs.removeFirst(firstOutput)
            firstOutput = 0
        }
    }

    /// What `body` puts out, which scans another text, stands where the first output was.
    func replaceFirst(_ body: () -> Void) {
        let outer = (scanner, conditions, blockName, block)
        scanner = freshScanner
        conditions = []
        // The page may be in the middle of another block, and this one may begin one and not end it.
        blockName = nil
        block = []
        stubDepth += 1
        defer {
            stubDepth -= 1
            (scanner, conditions, blockName, block) = outer
        }
        let rest = Array(outputs[(firstOutput + 1)...])
        outputs = []
        firstOutput = 0
        taken = 0
        hasSentOfInclude = false
        body()
        outputs += rest
    }
}
