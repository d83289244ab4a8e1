// The gate and the repair of field blocks: bytes pass whole and in order, and a repaired block is shorter and needs no other repair.
import HTTPMessage

private func look(_ frames: [UInt8]) {
    frames.withUnsafeBufferPointer { input in
        guard let start = input.baseAddress else { return }
        withExactCopy(start, input.count) { bytes in
            if bytes.count >= 9 { _ = needsFieldBlockRepair(bytes) }
            let output = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: bytes.count + 1024)
            defer { output.deallocate() }
            var span = output.mutableSpan
            guard let n = repairFieldBlock(bytes, into: &span) else { return }
            check(n < bytes.count + 9 * (bytes.count / 16_384 + 1), "a repair takes away")
            let once = Array(output.prefix(n))
            var again = [UInt8](repeating: 0, count: n + 1024)
            let more = again.withUnsafeMutableBufferPointer { target in
                var span = target.mutableSpan
                return repairFieldBlock(once.span, into: &span)
            }
            // A string with two bytes too many has one too many now: those are not ours, so it had one at most.
            check(more == nil, "a repaired block is right")
        }
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzFieldBlock(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    if count < 2 { return 0 }
    let size = Int(start[0]) + 1
    let input = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    var gate = FieldBlockGate(bytesMax: 1024)
    var held: [UInt8] = []
    var all: [UInt8] = []
    for from in stride(from: 0, to: input.count, by: size) {
        let piece = Array(input[from..<min(from + size, input.count)])
        var at = 0
        var steps = 0
        reading: while true {
            steps += 1
            check(steps < 4 * piece.count + 8, "the gate goes on")
            switch gate.step(piece.span, at: &at) {
            case .pass(let n):
                check(held.isEmpty, "nothing overtakes what is held")
                all += piece[(at - n)..<at]
            case .block(let n):
                check(held.isEmpty, "nothing overtakes what is held")
                all += piece[(at - n)..<at]
                look(Array(piece[(at - n)..<at]))
            case .hold(let n): held += piece[(at - n)..<at]
            case .heldBlock:
                look(held)
                all += held
                held = []
            case .release:
                all += held
                held = []
            case .needMore: break reading
            }
        }
        check(at == piece.count, "all of the input is used up")
        check(held.count <= 1024, "what is held is bounded")
    }
    check(all + held == input, "every byte passes, in its order")
    return 0
}
