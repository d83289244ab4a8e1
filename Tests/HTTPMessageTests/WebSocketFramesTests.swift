import HTTPMessage
import Testing

@Suite struct WebSocketFramesTests {
    /// A frame as RFC 6455 section 5.2 draws it. `form`: the bytes of the extended length; by default the fewest.
    static func frame(_ length: Int, opcode: UInt8 = 2, isLast: Bool = true, masked: Bool = false, form: Int? = nil) -> [UInt8] {
        let form = form ?? (length < 126 ? 0 : length < 65_536 ? 2 : 8)
        var bytes: [UInt8] = [opcode | (isLast ? 0x80 : 0)]
        bytes.append((masked ? 0x80 : 0) | (form == 0 ? UInt8(length) : form == 2 ? 126 : 127))
        for i in (0..<form).reversed() { bytes.append(UInt8(truncatingIfNeeded: length >> (8 * i))) }
        if masked { bytes += [0x81, 0x82, 0x7F, 0xFF] }
        // A payload that looks like heads of frames.
        return bytes + (0..<length).map { [0x88, 0x7F, 0xFF, 0x00, 0x82][$0 % 5] }
    }

    static let frames: [[UInt8]] = [
        frame(0), frame(0, masked: true), frame(5, opcode: 1), frame(1, opcode: 1, isLast: false, masked: true),
        frame(0, opcode: 9), frame(125, masked: true), frame(126), frame(126, masked: true), frame(3, opcode: 0, form: 2), frame(0, form: 2),
        frame(0, opcode: 0, masked: true, form: 8), frame(7, form: 8), frame(300, masked: true),
        frame(2, opcode: 10, masked: true),
    ]
    static let stream = Array(frames.joined())
    /// The counts of bytes after which a frame may go.
    static let boundaries = Set(frames.reduce(into: [0]) { ends, frame in ends.append(ends[ends.count - 1] + frame.count) })

    static func fed(_ bytes: ArraySlice<UInt8>) -> WebSocketFrames {
        var frames = WebSocketFrames()
        let bytes = Array(bytes)
        frames.feed(bytes.span)
        return frames
    }

    static func boundary(_ frames: WebSocketFrames, _ bytes: ArraySlice<UInt8>) -> Int? {
        let bytes = Array(bytes)
        return frames.boundary(in: bytes.span)
    }

    /// Cut in two at each byte, what follows as a whole and byte by byte.
    @Test func everyCutFindsTheNextBoundary() {
        for cut in 0...Self.stream.count {
            let frames = Self.fed(Self.stream[..<cut])
            #expect(frames.isAtBoundary == Self.boundaries.contains(cut))
            #expect(!frames.isBroken && !frames.hasClosed)
            let next = Self.boundaries.filter { $0 >= cut }.min()
            #expect(Self.boundary(frames, Self.stream[cut...]) == next.map { $0 - cut })
            if let next, next > cut { #expect(Self.boundary(frames, Self.stream[cut..<(next - 1)]) == nil) }
        }
    }

    @Test func bytesOneByOneAreAsGoodAsAll() {
        var frames = WebSocketFrames()
        for (i, byte) in Self.stream.enumerated() {
            #expect(frames.isAtBoundary == Self.boundaries.contains(i))
            #expect(frames == Self.fed(Self.stream[..<i]))
            frames.feed([byte].span)
        }
        #expect(frames.isAtBoundary)
    }

    @Test func longFramesAreSkipped() {
        let (short, long) = (Self.frame(65_535, masked: true), Self.frame(65_536))
        let bytes = short + long
        #expect(short.count == 65_535 + 8 && long.count == 65_536 + 10)
        for cut in [1, 3, 4, 8, 9, short.count - 1] {
            #expect(Self.boundary(Self.fed(bytes[..<cut]), bytes[cut...]) == short.count - cut)
        }
        #expect(Self.boundary(Self.fed(bytes[..<(short.count + 1)]), bytes[(short.count + 1)...]) == long.count - 1)
        var frames = Self.fed([0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF])
        let chunk = [UInt8](repeating: 0x88, count: 10_000)
        for _ in 0..<100 { frames.feed(chunk.span) }
        #expect(!frames.isAtBoundary && !frames.isBroken)
        #expect(frames.boundary(in: chunk.span) == nil)
        #expect(MemoryLayout<WebSocketFrames>.size <= 16)
    }

    @Test func impossibleLengthsBreakTheStream() {
        let before: [UInt8] = Self.frame(3) + [0x82, 0x7F]
        var frames = Self.fed(before[...])
        let rest: [UInt8] = [0x80, 0, 0, 0, 0, 0, 0, 1, 0x88, 0]
        #expect(frames.boundary(in: rest.span) == nil)
        frames.feed(rest.span)
        #expect(frames.isBroken && !frames.isAtBoundary)
        frames.feed(Self.stream.span)
        #expect(frames.isBroken)
        #expect(frames.boundary(in: Self.stream.span) == nil)
        // In a length of two bytes the bit is a digit.
        #expect(!Self.fed([0x82, 0x7E, 0x80, 0]).isBroken)
    }

    @Test func aCloseFrameIsTold() {
        let close = Self.frame(2, opcode: 8, masked: true)
        for cut in 0..<close.count { #expect(!Self.fed((Self.stream + close)[..<(Self.stream.count + cut)]).hasClosed) }
        #expect(Self.fed((Self.stream + close)[...]).hasClosed)
        #expect(Self.fed((close + Self.stream)[...]).hasClosed)
        #expect(Self.fed(Self.frame(0, opcode: 8)[...]).hasClosed)
    }

    @Test func closeFramesAreWritten() {
        let (close, masked) = (WebSocketFrames.close(), WebSocketFrames.close(1001, mask: 0x37FA_213D))
        let (toClient, toUpstream) = (close.indices.map { close[$0] }, masked.indices.map { masked[$0] })
        #expect(toClient == [0x88, 0x02, 0x03, 0xF4])
        #expect(toUpstream == [0x88, 0x82, 0x37, 0xFA, 0x21, 0x3D, 0x03 ^ 0x37, 0xE9 ^ 0xFA])
        for bytes in [toClient, toUpstream] {
            let frames = Self.fed(bytes[...])
            #expect(frames.isAtBoundary && frames.hasClosed)
        }
    }
}
