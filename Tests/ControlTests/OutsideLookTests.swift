// Tests what a rollout sees outside: how many servers are asked, and when enough is known.
import CLinux
import Foundation
import Testing

@testable import Control
@testable import Engine

/// How rollouts ask servers that do not answer.
@Suite("Looks of rollouts outside")
struct OutsideLookTests {
    /// Takes connections and says nothing.
    private final class Silence {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        private(set) var address: [UInt8] = []

        init() {
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutablePointer(to: &name) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { plain in
                    _ = bind(fd, plain, size)
                    _ = listen(fd, 64)
                    _ = getsockname(fd, plain, &size)
                }
            }
            address = withUnsafeBytes(of: &name) { Array($0) }
        }

        deinit { close(fd) }
    }

    /// Who is on trial has failed as soon as half of its servers have: the others are not waited for.
    @Test func serversThatHangAreNotAllWaitedFor() throws {
        let silence = Silence()
        let places = (0..<16).map { ServerPlace(name: "s\($0)", bytes: silence.address) }
        let begun = ContinuousClock.now
        var trouble: String?
        #expect(OutsideLook.servers(places, path: "/health", timeoutMs: 100).read(&trouble) == 0)
        let took = ContinuousClock.now - begun
        #expect(took >= .milliseconds(800) && took < .milliseconds(1500), "\(took)")
    }
}
