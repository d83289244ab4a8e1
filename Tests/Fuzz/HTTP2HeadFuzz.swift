// HTTP/2 fields into a head and a head into fields: no byte of a field can end its line, and the text is one head or none.
import Bytes
import HTTPMessage

/// Names and values out of the input: a byte for the length of each, then its bytes.
private func forEachField(_ bytes: Span<UInt8>, _ body: (Range<Int>, Range<Int>) -> Void) {
    var at = 0
    func piece() -> Range<Int>? {
        if at >= bytes.count { return nil }
        let count = min(Int(bytes[at]), bytes.count - at - 1)
        defer { at += 1 + count }
        return at + 1..<at + 1 + count
    }
    while let name = piece(), let value = piece() { body(name, value) }
}

private func writer(_ memory: UnsafeMutableBufferPointer<UInt8>) -> ByteWriter { ByteWriter(memory.baseAddress!, capacity: memory.count) }

private let room = 16 << 10
nonisolated(unsafe) private let memory = (0..<4).map { _ in UnsafeMutableBufferPointer<UInt8>.allocate(capacity: room) }

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTP2Head(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    withExactCopy(start, count) { bytes in
        var builder = FieldsToHead(lines: writer(memory[0]), pseudo: writer(memory[1]), cookies: writer(memory[2]))
        builder.begin(listBytesMax: 1024, fieldBytesMax: 512)
        var names = 0
        bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            forEachField(bytes) { name, value in
                builder.add(ByteView(base + name.lowerBound, name.count), ByteView(base + value.lowerBound, value.count))
                names += 1
            }
        }
        builder.end()
        var w = writer(memory[3])
        builder.write(to: &w)
        check(!w.overflowed, "a head has room")
        if builder.isTooLarge { return }
        check(w.count <= builder.headBytesMax, "a head is no longer than was said")
        if builder.fault != nil { return }
        var storage = [HeaderField](repeating: HeaderField(), count: 600)
        var fields = storage.mutableSpan
        var head = RequestHead()
        switch parseRequestHead(w.view.buffer.span, seen: 0, isHTTP2: true, fields: &fields, head: &head) {
        case .needMore: check(false, "the text is a whole head")
        case .bad: return
        case .head:
            check(head.headBytes == w.count, "the head is all of the text")
            check(head.fields.fieldCount <= builder.fieldCount + 1, "no field became two")
            check(head.fields.transferEncodingIndex < 0 && head.fields.connectionIndex < 0, "no field of the connection came through")
        }
        // Back: the places lie within the text, names are lower, and no value holds a line end.
        var span = UnsafeMutableBufferPointer(start: w.start, count: w.count).mutableSpan
        var places = [FieldPlace](repeating: FieldPlace(), count: 600)
        var list = places.mutableSpan
        let found = fieldPlaces(&span, from: 0, into: &list)
        for i in 0..<found {
            check(list[i].name.end < list[i].value.first || list[i].value.isEmpty, "a name stands before its value")
            check(list[i].value.end <= w.count, "a value lies within the text")
            for k in list[i].value.first..<list[i].value.end { check(span[k] != 0x0A, "no line end in a value") }
            for k in list[i].name.first..<list[i].name.end { check(span[k] &- 0x41 >= 26, "no capital in a name") }
        }
    }
    return 0
}
