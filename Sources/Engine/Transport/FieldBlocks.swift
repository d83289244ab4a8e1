// Field blocks on their way from a connection to the HTTP/2 library: those with too much padding are repaired, as nginx reads them too.
// Called by the sessions of both sides with all that they receive. It knows neither side.

import Bytes
import HTTPMessage

/// What a session keeps for it between two reads: the frames of a block that is not whole yet.
struct FieldBlocks: BitwiseCopyable {
    var gate: FieldBlockGate
    var held = InboundBytes()

    /// `bytesMax`: how much of a block is held; larger ones pass as they are.
    init(bytesMax: Int) { gate = FieldBlockGate(bytesMax: bytesMax) }
}

extension Worker {
    /// Hands `bytes` to the library by `give`, in as few pieces as can be. False when `give` has said so: nothing more is given then.
    @inline(__always)
    func passFrames(_ bytes: ByteView, _ blocks: inout FieldBlocks, _ give: (ByteView) -> Bool) -> Bool {
        var at = 0
        var from = 0
        while true {
            switch blocks.gate.step(bytes.buffer.span, at: &at) {
            case .pass: continue
            case .block(let n):
                let frame = bytes.slice(at - n, n)
                if !needsFieldBlockRepair(frame.buffer.span) { continue }
                if at - n > from, !give(bytes.slice(from, at - n - from)) { return false }
                from = at
                if !giveRepaired(frame, give) { return false }
            case .hold(let n):
                if at - n > from, !give(bytes.slice(from, at - n - from)) { return false }
                from = at
                // The gate keeps less than the largest buffer.
                if !blocks.held.append(bytes.slice(at - n, n), pool: &buffers) { return false }
            case .heldBlock:
                let goesOn = giveRepaired(blocks.held.view, give)
                blocks.held.release(to: &buffers)
                if !goesOn { return false }
            case .release:
                let goesOn = give(blocks.held.view)
                blocks.held.release(to: &buffers)
                if !goesOn { return false }
            case .needMore: return at == from || give(bytes.slice(from, at - from))
            }
        }
    }

    @inline(never)
    private func giveRepaired(_ frames: ByteView, _ give: (ByteView) -> Bool) -> Bool {
        let room = frames.count + 1024
        let buffer = buffers.take(room)
        defer { buffers.give(buffer) }
        var output = UnsafeMutableBufferPointer(start: buffer.start, count: room).mutableSpan
        guard let n = repairFieldBlock(frames.buffer.span, into: &output) else { return give(frames) }
        return give(ByteView(buffer.start, n))
    }
}
