// Tests the memory of the last host: it answers for the very same bytes and for no others.

import Bytes
import Testing

@testable import Engine

struct HostMemoTests {
    private func view<R>(_ text: String, _ body: (ByteView) -> R) -> R {
        var bytes = Array(text.utf8)
        return bytes.withUnsafeMutableBufferPointer { body(ByteView($0.baseAddress!, $0.count)) }
    }

    @Test func onlyTheSameBytesAreTheSame() {
        for count in [8, 9, 15, 16, 17, 24, 63, 64] {
            let host = String((0..<count).map { Character(UnicodeScalar(UInt8(97 + $0 % 25))) })
            var memo = HostMemo()
            #expect(!view("", memo.isSame) && !view(host, memo.isSame))
            view(host) { memo.keep($0, nameCount: count - 3, port: 81) }
            #expect(view(host, memo.isSame) && memo.nameCount == count - 3 && memo.port == 81)
            for i in 0..<count {
                var other = Array(host)
                other[i] = "~"
                #expect(!view(String(other), memo.isSame), "\(host) at \(i)")
            }
            #expect(!view(host + "a", memo.isSame) && !view(String(host.dropLast()), memo.isSame) && !view("", memo.isSame))
        }
    }

    @Test func shortAndLongOnesAreNotKept() {
        for host in ["", "a", "abcdefg", String(repeating: "a", count: 65)] {
            var memo = HostMemo()
            view(host) { memo.keep($0, nameCount: $0.count, port: 0) }
            #expect(!view(host, memo.isSame))
        }
    }
}
