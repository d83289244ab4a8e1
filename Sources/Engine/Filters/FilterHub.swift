// What the filters of a worker share: the memory that pieces of bodies pass through, and states of zlib to use again.
// Owned by a worker, made with its first filtered answer. It touches no exchange.

import Bytes
import CZlib

final class FilterHub {
    /// What one send takes at most; there is room around it for a head and the framing.
    static var sinkBytes: Int { Limits.filterSendBytes }

    private let memory: UnsafeMutablePointer<UInt8>
    private let writer: UnsafeMutablePointer<ByteWriter>
    /// What has come out of the last filter and is not sent yet; `count` bytes of it.
    let sink: UnsafeMutablePointer<UInt8>
    var count = 0
    /// The head that leaves in front of it.
    var head = ByteView.empty
    /// Between gunzip and what follows.
    let plain: UnsafeMutablePointer<UInt8>
    /// Between charset and what follows.
    let text: Ref<ByteWriter>

    private var deflaters: [UnsafeMutablePointer<z_stream>] = []
    private var smallDeflaters: [UnsafeMutablePointer<z_stream>] = []
    private var inflaters: [UnsafeMutablePointer<z_stream>] = []
    private(set) var deflaterCount = 0
    private var inflaterCount = 0
    /// States that answers have now.
    var lentCount: Int { deflaterCount + inflaterCount }

    init() {
        let textBytes = Limits.filterPieceBytes
        memory = .allocate(
            capacity: ReadScratch.headroom + Self.sinkBytes + ReadScratch.tail + Limits.filterPieceBytes + textBytes)
        sink = memory + ReadScratch.headroom
        plain = sink + Self.sinkBytes + ReadScratch.tail
        writer = .allocate(capacity: 1)
        writer.initialize(to: ByteWriter(plain + Limits.filterPieceBytes, capacity: textBytes))
        text = Ref(writer)
        deflaters.reserveCapacity(Limits.keptDeflaters)
        smallDeflaters.reserveCapacity(Limits.keptDeflaters)
        inflaters.reserveCapacity(Limits.keptDeflaters)
    }

    deinit {
        for z in deflaters { czlib_free_deflater(z) }
        for z in smallDeflaters { czlib_free_deflater(z) }
        for z in inflaters { czlib_free_inflater(z) }
        memory.deallocate()
        writer.deallocate()
    }

    /// A deflater of 256 KiB, or for a short text one of 40 KiB. Nil: there are as many as a worker may have, or no memory.
    func takeDeflater(level: Int32, isSmall: Bool) -> UnsafeMutablePointer<z_stream>? {
        if deflaterCount == Limits.deflatersMax { return nil }
        if let z = isSmall ? smallDeflaters.popLast() : deflaters.popLast() {
            if czlib_reset_deflater(z, level) == Z_OK {
                deflaterCount += 1
                return z
            }
            czlib_free_deflater(z)
        }
        guard let z = isSmall ? czlib_new_deflater(level, 13, 5) : czlib_new_deflater(level, 15, 8) else { return nil }
        deflaterCount += 1
        return z
    }

    func give(_ z: UnsafeMutablePointer<z_stream>, isSmall: Bool) {
        deflaterCount -= 1
        if (isSmall ? smallDeflaters.count : deflaters.count) >= Limits.keptDeflaters { return czlib_free_deflater(z) }
        if isSmall { smallDeflaters.append(z) } else { deflaters.append(z) }
    }

    func takeInflater() -> UnsafeMutablePointer<z_stream>? {
        guard let z = inflaters.popLast() ?? czlib_new_inflater() else { return nil }
        inflaterCount += 1
        inflateReset(z)
        return z
    }

    func giveInflater(_ z: UnsafeMutablePointer<z_stream>) {
        inflaterCount -= 1
        if inflaters.count < Limits.keptDeflaters { inflaters.append(z) } else { czlib_free_inflater(z) }
    }
}

extension Worker {
    /// Lets the filters of an exchange go, with what waits in them.
    @inline(never)
    func dropFilter(_ x: Ref<Exchange>, _ f: Ref<FilterChain>) {
        x.filter = nil
        giveStates(f)
        buffers.give(f.kept)
        filterChains.remove(f.handle)
    }

    /// The states of zlib are not needed any more, though the client may take a while for what they made.
    func giveStates(_ f: Ref<FilterChain>) {
        if let z = f.deflater { filterHub?.give(z, isSmall: f.isSmall) }
        if let z = f.inflater { filterHub?.giveInflater(z) }
        f.deflater = nil
        f.inflater = nil
    }
}
