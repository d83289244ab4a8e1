// Finds the field blocks among the frames of an HTTP/2 connection (RFC 9113 section 4), so that each can be looked at as a whole.
// Called by the engine's sessions with all that comes, before the library has it. It looks into no block: FieldBlockRepair.swift does.

/// Keeps its place among the frames of one direction of a connection. Nothing is refused here: what breaks the rules passes as it
/// is, and the library judges it.
public struct FieldBlockGate: Sendable, BitwiseCopyable {
    /// Frames of one block that are held together; of a longer block nothing is held.
    public static var framesMax: Int { 128 }
    /// The same for bytes of them, heads and all.
    public let bytesMax: Int

    public enum Step: Equatable, Sendable, BitwiseCopyable {
        /// So many bytes at the offset are of no interest.
        case pass(Int)
        /// So many bytes at the offset are all frames of one block.
        case block(Int)
        /// So many bytes at the offset are to be kept, behind what is kept already.
        case hold(Int)
        /// What is kept is all frames of one block.
        case heldBlock
        /// What is kept is of no interest after all.
        case release
        /// All of the input is used up.
        case needMore
    }

    private var passLeft = 0
    private var held = 0
    /// Of the frame that is being kept: its length with its head, once that is known, and what has come of it.
    private var frameBytes = 0
    private var frameCount = 0
    private var frames = 0
    private var head: InlineArray<9, UInt8> = .init(repeating: 0)
    private var stream: UInt32 = 0
    private var isComplete = false
    private var isReleasing = false
    /// What has come of a frame's head has passed, and so does the rest of the frame.
    private var isLoose = false

    public init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// Something is kept: a part of a block, or of the head of some frame.
    public var isHolding: Bool { held > 0 }
    /// A block has begun, and the rest of it has not come.
    public var isInBlock: Bool { held > 0 && frames > 0 }

    /// What is kept is given up: it passes as it is, and what is missing of its last frame when it comes.
    public mutating func release() {
        let old = self
        self = FieldBlockGate(bytesMax: bytesMax)
        if old.frameBytes > 0 {
            passLeft = old.frameBytes - old.frameCount
        } else if old.frameCount > 0 {
            (head, frameCount, isLoose) = (old.head, old.frameCount, true)
        }
    }

    /// Reads on from `offset` in `input`, and moves it behind what the answer speaks of. Call again until the answer is `needMore`.
    public mutating func step(_ input: Span<UInt8>, at offset: inout Int) -> Step {
        if isReleasing || isComplete {
            let step: Step = isComplete ? .heldBlock : .release
            release()
            return step
        }
        let left = input.count - offset
        if left == 0 { return .needMore }
        if passLeft > 0 {
            let n = min(passLeft, left)
            passLeft -= n
            offset += n
            return .pass(n)
        }
        if isLoose { return passHead(input, at: &offset) }
        if held > 0 { return hold(input, at: &offset) }
        if left < 9 { return hold(input, at: &offset) }
        let count = 9 + (Int(input[offset]) << 16 | Int(input[offset + 1]) << 8 | Int(input[offset + 2]))
        if input[offset + 3] != FrameBits.headers || count > bytesMax {
            passLeft = count
            return step(input, at: &offset)
        }
        if left >= count, input[offset + 4] & FrameBits.endHeaders != 0 {
            offset += count
            return .block(count)
        }
        return hold(input, at: &offset)
    }

    private mutating func passHead(_ input: Span<UInt8>, at offset: inout Int) -> Step {
        let start = offset
        readHead(input, at: &offset)
        if frameCount == 9 {
            let count = frameLength
            self = FieldBlockGate(bytesMax: bytesMax)
            passLeft = count
        }
        return .pass(offset - start)
    }

    private mutating func readHead(_ input: Span<UInt8>, at offset: inout Int) {
        while frameCount < 9, offset < input.count {
            head[frameCount] = input[offset]
            frameCount += 1
            offset += 1
        }
    }

    private var frameLength: Int { Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2]) }

    /// Keeps what has come of the frame that is under way, which may be the first of a block.
    private mutating func hold(_ input: Span<UInt8>, at offset: inout Int) -> Step {
        let start = offset
        readHead(input, at: &offset)
        held += offset - start
        if frameCount < 9 { return .hold(offset - start) }
        if frameBytes == 0 {
            frameBytes = 9 + frameLength
            let id = UInt32(head[5] & 127) << 24 | UInt32(head[6]) << 16 | UInt32(head[7]) << 8 | UInt32(head[8])
            let belongs = frames == 0 ? head[3] == FrameBits.headers : head[3] == FrameBits.continuation && id == stream
            stream = id
            frames += 1
            if !belongs || frames > Self.framesMax || held + frameBytes > bytesMax {
                isReleasing = true
                return .hold(offset - start)
            }
        }
        let n = min(frameBytes - frameCount, input.count - offset)
        frameCount += n
        offset += n
        held += n
        if frameCount == frameBytes {
            if head[4] & FrameBits.endHeaders != 0 { isComplete = true }
            frameCount = isComplete ? frameCount : 0
            frameBytes = isComplete ? frameBytes : 0
        }
        return .hold(offset - start)
    }
}

/// Numbers of RFC 9113 section 6.
enum FrameBits {
    static var headers: UInt8 { 1 }
    static var continuation: UInt8 { 9 }
    static var endStream: UInt8 { 0x01 }
    static var endHeaders: UInt8 { 0x04 }
    static var padded: UInt8 { 0x08 }
    static var priority: UInt8 { 0x20 }
    /// What every peer takes.
    static var frameBytesMax: Int { 16_384 }
}
