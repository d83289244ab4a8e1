import Bytes
import Testing

@Suite struct SlabTests {
    @Test func aRemovedHandleFindsNothingEvenWhenTheSlotIsReused() {
        var slab = Slab<Int>(limit: 2)
        let first = slab.insert(7)!
        #expect(slab.find(first.handle)?.value == 7)
        slab.remove(first.handle)
        #expect(slab.find(first.handle) == nil)
        let second = slab.insert(8)!
        #expect(second.handle.index == first.handle.index)
        #expect(slab.find(first.handle) == nil)
        #expect(slab.find(.none) == nil)
    }

    @Test func theLimitIsARefusalNotACrash() {
        var slab = Slab<Int>(limit: 70)
        var handles: [Handle] = []
        for i in 0..<70 { handles.append(slab.insert(i)!.handle) }
        #expect(slab.insert(70) == nil)
        #expect(handles.enumerated().allSatisfy { slab.find($1)!.value == $0 })
        slab.remove(handles[3])
        #expect(slab.insert(71) != nil)
    }
}

@Suite struct ByteWriterTests {
    @Test func numbersAreWrittenAsTheFieldExpects() {
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        defer { memory.deallocate() }
        var w = ByteWriter(memory, capacity: 256)
        for n: UInt64 in [0, 1, 15, 16, 255, 4096, 0xdead_beef] {
            w.append(hex: n)
            w.append(" ")
        }
        #expect(w.view.string == "0 1 f 10 ff 1000 deadbeef ")
        w.reset()
        w.append(decimal: -42)
        w.append(milliseconds: 1_005)
        w.append(hex: 10, minimumDigits: 4)
        #expect(w.view.string == "-421.005000a")
    }

    @Test func whatDoesNotFitIsSaid() {
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 4)
        defer { memory.deallocate() }
        var w = ByteWriter(memory, capacity: 4)
        w.append("abc")
        #expect(!w.overflowed)
        w.append("de")
        #expect(w.overflowed && w.view.string == "abc")
    }
}

@Suite struct BufferPoolTests {
    @Test func buffersAreReusedAndCounted() {
        var pool = BufferPool(keepBytesMax: 64 << 10)
        let a = pool.take(1500)
        #expect(a.capacity == 2048 && pool.lentBytes == 2048)
        pool.give(a)
        #expect(pool.lentBytes == 0 && pool.keptBytes == 2048)
        #expect(pool.take(2048).start == a.start)
    }

    @Test func aRegionGivesBackAllItBorrowed() {
        var pool = BufferPool(keepBytesMax: 1 << 20)
        var region = Region()
        for _ in 0..<100 { #expect(region.allocate(500, from: &pool, limit: 1 << 20) != nil) }
        #expect(region.allocate(1 << 20, from: &pool, limit: 1 << 20) == nil)
        region.release(to: &pool)
        #expect(pool.lentBytes == 0)
    }
}
