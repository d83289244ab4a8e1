// The host that a worker saw last, so that the next request for the same one need not be judged letter by letter.
// Owned by the worker; asked and told where a request's host is set. It holds valid lower-case hosts alone.

import Bytes

struct HostMemo: BitwiseCopyable {
    /// Shorter ones are judged sooner than compared.
    private static let countMin = 8
    static let countMax = 64
    private var words = InlineArray<8, UInt64>(repeating: 0)
    private var last: UInt64 = 0
    /// -1: there was none yet.
    private var count = -1
    /// Bytes of the name, which a port may follow.
    private(set) var nameCount = 0
    private(set) var port: UInt16 = 0

    @inline(__always)
    func isSame(as value: ByteView) -> Bool {
        if value.count != count || value.word(count &- 8) != last { return false }
        var i = 0
        while i &+ 8 < count {
            if value.word(i) != words[i &>> 3] { return false }
            i &+= 8
        }
        return true
    }

    @inline(never)
    mutating func keep(_ value: ByteView, nameCount: Int, port: UInt16) {
        if value.count < Self.countMin || value.count > Self.countMax { return }
        count = value.count
        self.nameCount = nameCount
        self.port = port
        last = value.word(count &- 8)
        var i = 0
        while i &+ 8 < count {
            words[i &>> 3] = value.word(i)
            i &+= 8
        }
    }
}
