// What loopback never shows: connections that hang, full queues, delays, pieces that arrive late.

import CLinux
import Engine
import Simulation
import Testing

@Suite struct NetworkTests {
    private func events(_ world: World, _ epoll: Int32, timeoutMs: Int32) -> [String] {
        var memory = [KernelEvent](repeating: KernelEvent(bits: 0, data: 0), count: 16)
        let count = memory.withUnsafeMutableBufferPointer { world.kernel.epollWait(epoll, into: $0, timeoutMs: timeoutMs) }
        return memory.prefix(max(0, Int(count))).map { "\($0.data)=\(Probe.bits($0.bits))" }.sorted()
    }

    private func connecting(_ world: World, to address: Address) -> (epoll: Int32, fd: Int32) {
        let kernel = world.kernel
        let epoll = kernel.epollCreate()
        let fd = kernel.socket(family: address.family, type: Int32(SOCK_STREAM.rawValue))
        #expect(kernel.connect(fd, address.bytes, UInt32(address.bytes.count)) == -EINPROGRESS)
        #expect(kernel.epollAdd(epoll, fd, events: Probe.edge, data: 1) == 0)
        return (epoll, fd)
    }

    private func error(_ world: World, _ fd: Int32) -> Int32 { world.kernel.getOption(fd, level: SOL_SOCKET, name: SO_ERROR) }

    @Test func aSilentPlaceTimesOut() {
        let world = World(seed: 1)
        world.silentPlaces = [.host(9, 1)]
        let start = world.nowNs
        let (epoll, fd) = connecting(world, to: .host(9, 1))
        #expect(events(world, epoll, timeoutMs: 60_000) == [])
        #expect(world.nowNs - start == 60_000_000_000)
        #expect(events(world, epoll, timeoutMs: -1) == ["1=IN|OUT|RDHUP|HUP|ERR"])
        #expect(world.nowNs - start == 127_000_000_000)
        #expect(error(world, fd) == ETIMEDOUT)
    }

    @Test func refusalTakesARoundTrip() {
        let world = World(seed: 1)
        world.network.latencyNs = 5_000_000...5_000_000
        let start = world.nowNs
        let (epoll, fd) = connecting(world, to: .host(9, 1))
        #expect(events(world, epoll, timeoutMs: 1_000) == ["1=IN|OUT|RDHUP|HUP|ERR"])
        #expect(error(world, fd) == ECONNREFUSED && world.nowNs > start)
        world.faults.refusedConnect = 1
        let listener = HTTPUpstream(world, name: "u", at: .host(9, 1)) { _ in Answer() }
        let (again, other) = connecting(world, to: .host(9, 1))
        #expect(events(world, again, timeoutMs: 1_000) == ["1=IN|OUT|RDHUP|HUP|ERR"])
        #expect(error(world, other) == ECONNREFUSED && listener.listener.acceptedCount == 0)
    }

    @Test func aFullQueueMakesConnectionsWaitUntilItIsEmptied() {
        let world = World(seed: 1)
        let upstream = HTTPUpstream(world, name: "u", at: .host(9, 1)) { _ in .text("hello") }
        upstream.listener.stop()
        let small = ActorListener(world, at: .host(9, 2), backlog: 1, accepted: { _, n in ("s\(n)", Pace(), Silent()) })
        small.isPaused = true
        let tries = (0..<4).map { _ in connecting(world, to: .host(9, 2)) }
        let ready = tries.map { events(world, $0.epoll, timeoutMs: 0) }
        #expect(ready == [["1=OUT"], ["1=OUT"], [], []])
        small.isPaused = false
        let start = world.nowNs
        #expect(events(world, tries[2].epoll, timeoutMs: 10_000) == ["1=OUT"])
        #expect(world.nowNs - start == 1_000_000_000)
        #expect(small.acceptedCount == 3)
    }

    private final class Silent: ConnectionScript {}

    @Test func dataTakesItsTimeAndKeepsItsOrder() {
        for seed in simulationSeeds(20) {
            let world = World(seed: seed, network: .rough)
            let echo = HTTPUpstream(world, name: "u", at: .host(9, 1)) { _ in .echo }
            _ = echo
            let bytes = world.dice.bytes(100_000)
            let client = HTTPClient(world, name: "c", to: .host(9, 1), requests: [.upgrade(id: "1", bytes: bytes)])
            client.start()
            #expect(world.run(until: { client.isFinished }) == .done, "\(world.story)")
            #expect(client.records[0].tunnelBytes == bytes)
            world.end()
            #expect(world.bufferedBytes == 0)
        }
    }

    @Test func shortWritesAreFollowedByAnEdge() {
        let world = World(seed: 3)
        world.faults.shortWrite = 1
        let echo = HTTPUpstream(world, name: "u", at: .host(9, 1)) { _ in .echo }
        let (epoll, fd) = connecting(world, to: echo.listener.address)
        #expect(events(world, epoll, timeoutMs: 0) == ["1=OUT"])
        let sent = world.kernel.send(fd, "hello", 5, flags: 0)
        #expect(sent > 0 && sent < 5)
        #expect(world.kernel.send(fd, "hello", 5, flags: 0) == Int(-EAGAIN))
        #expect(events(world, epoll, timeoutMs: 0) == [])
        #expect(events(world, epoll, timeoutMs: 100) == ["1=OUT"])
    }

    @Test func wildcardsAndBothFamiliesMeet() {
        let world = World(seed: 1)
        let kernel = world.kernel
        let listener = kernel.socket(family: AF_INET6, type: Int32(SOCK_STREAM.rawValue))
        let any = Address.v6(0, 0, 8080).bytes
        #expect(kernel.bind(listener, any, UInt32(any.count)) == 0)
        #expect(kernel.listen(listener, backlog: 5) == 0)
        _ = connecting(world, to: .loopback(8080))
        var memory = [UInt8](repeating: 0, count: 28)
        var length: UInt32 = 28
        #expect(kernel.accept(listener, &memory, &length) >= 0)
        #expect(length == 28 && memory[18] == 0xFF && memory[20] == 127)
        let four = kernel.socket(family: AF_INET, type: Int32(SOCK_STREAM.rawValue))
        let taken = Address.loopback(8080).bytes
        #expect(kernel.bind(four, taken, UInt32(taken.count)) == -EADDRINUSE)
        _ = kernel.setOption(listener, level: SOL_SOCKET, name: SO_REUSEPORT, value: 1)
        _ = kernel.setOption(four, level: SOL_SOCKET, name: SO_REUSEPORT, value: 1)
        #expect(kernel.bind(four, taken, UInt32(taken.count)) == 0)
    }

    @Test func localSocketsLiveInTheFileSystem() {
        let world = World(seed: 1)
        let kernel = world.kernel
        func make() -> Int32 { kernel.socket(family: AF_UNIX, type: Int32(SOCK_STREAM.rawValue)) }
        let path = Address.path("/tmp/app.sock").bytes
        let length = UInt32(path.count)
        #expect(kernel.connect(make(), path, length) == -ENOENT)
        let listener = make()
        #expect(kernel.bind(listener, path, length) == 0)
        #expect(kernel.connect(make(), path, length) == -ECONNREFUSED)
        #expect(kernel.listen(listener, backlog: 0) == 0)
        #expect(kernel.connect(make(), path, length) == 0)
        #expect(kernel.connect(make(), path, length) == -EAGAIN)
        #expect(kernel.bind(make(), path, length) == -EADDRINUSE)
        kernel.close(listener)
        #expect(kernel.connect(make(), path, length) == -ECONNREFUSED)
        #expect(kernel.unlink("/tmp/app.sock") == 0)
        #expect(kernel.bind(make(), path, length) == 0)
    }

    @Test func chanceIsTheSameEverywhere() {
        var dice = SplitMix64(seed: 1_234_567)
        #expect((0..<3).map { _ in dice.next() } == [6457827717110365317, 3203168211198807973, 9817491932198370423])
        let before = dice
        #expect(!dice.chance(0) && dice.pick(7...7) == 7)
        var copy = before
        #expect(dice.next() == copy.next())
    }

    @Test func happeningsComeInOrderAndCanBeCalledOff() {
        for seed in simulationSeeds(5) {
            let world = World(seed: seed)
            var seen: [UInt64] = []
            var ids: [HappeningID] = []
            for _ in 0..<200 {
                let delayNs = world.dice.pick(0...50 as ClosedRange<UInt64>)
                ids.append(world.after(delayNs) { seen.append(delayNs) })
            }
            for i in stride(from: 0, to: 200, by: 4) { world.callOff(ids[i]) }
            #expect(world.plannedCount == 150)
            #expect(world.run(until: { false }) == .deadlock)
            #expect(seen.count == 150 && seen == seen.sorted())
        }
    }

    @Test func theTraceIsBoundedAndItsTimesAreWords() {
        let world = World(seed: 1, traceLinesMax: 3)
        for i in 0..<5 { world.note("test", "line \(i)") }
        #expect(world.trace.lines == (2..<5).map { "1000.000000000 test line \($0)" })
        #expect(world.trace.count == 5)
    }
}
