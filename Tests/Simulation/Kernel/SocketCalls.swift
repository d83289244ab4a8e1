// The socket calls of the simulated kernel: they check the descriptor, draw the faults and leave the rest to the sockets.
// Called by the engine under test through `Kernel`.

import CLinux
import Engine

extension SimulatedKernel {
    package func socket(family: Int32, type: Int32) -> Int32 {
        begin()
        return end("socket", Int(family), Int(type), make(family, type))
    }

    private func make(_ family: Int32, _ type: Int32) -> Int32 {
        // Datagram sockets would be a second Waitable beside StreamSocket, with a queue of messages in place of two streams.
        guard [AF_INET, AF_INET6, AF_UNIX].contains(family) else { return -EAFNOSUPPORT }
        if type != Int32(SOCK_STREAM.rawValue) { return -ESOCKTNOSUPPORT }
        if isOutOfDescriptors { return -EMFILE }
        return install(.socket(StreamSocket(world: world, family: family)))
    }

    package func bind(_ fd: Int32, _ address: UnsafeRawPointer, _ length: UInt32) -> Int32 {
        begin()
        guard let socket = stream(fd) else { return end("bind", Int(fd), 0, noSocket(fd)) }
        guard let place = Address(address, length) else { return end("bind", Int(fd), 0, -EINVAL) }
        return end("bind", Int(fd), Int(place.port), world.bind(socket, place))
    }

    package func listen(_ fd: Int32, backlog: Int32) -> Int32 {
        begin()
        guard let socket = stream(fd) else { return end("listen", Int(fd), 0, noSocket(fd)) }
        return end("listen", Int(fd), Int(backlog), world.listen(socket, backlog: backlog))
    }

    package func accept(_ fd: Int32, _ address: UnsafeMutableRawPointer, _ length: inout UInt32) -> Int32 {
        begin()
        guard let listener = stream(fd) else { return end("accept", Int(fd), 0, noSocket(fd)) }
        if listener.phase != .listening { return end("accept", Int(fd), 0, -EINVAL) }
        if world.dice.chance(world.faults.interrupted) { return end("accept", Int(fd), 0, -EINTR) }
        if isOutOfDescriptors { return end("accept", Int(fd), 0, -EMFILE) }
        guard let socket = world.accept(listener) else { return end("accept", Int(fd), 0, -EAGAIN) }
        (socket.remote ?? .local([])).write(to: address, &length)
        return end("accept", Int(fd), 0, install(.socket(socket)))
    }

    package func connect(_ fd: Int32, _ address: UnsafeRawPointer, _ length: UInt32) -> Int32 {
        begin()
        guard let socket = stream(fd) else { return end("connect", Int(fd), 0, noSocket(fd)) }
        guard let place = Address(address, length) else { return end("connect", Int(fd), 0, -EINVAL) }
        return end("connect", Int(fd), Int(place.port), world.connect(socket, to: place))
    }

    package func socketName(_ fd: Int32, _ address: UnsafeMutableRawPointer, _ length: inout UInt32) -> Int32 {
        begin()
        guard let socket = stream(fd) else { return end("socketName", Int(fd), 0, noSocket(fd)) }
        let none: Address = socket.family == AF_INET ? .v4(0, 0) : socket.family == AF_INET6 ? .v6(0, 0, 0) : .local([])
        (socket.local ?? none).write(to: address, &length)
        return end("socketName", Int(fd), 0, 0 as Int32)
    }

    package func receive(_ fd: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int, flags: Int32) -> Int {
        begin()
        guard let socket = stream(fd) else { return end("receive", Int(fd), count, Int(noSocket(fd))) }
        if world.dice.chance(world.faults.interrupted) { return end("receive", Int(fd), count, Int(-EINTR)) }
        let peek = flags & Int32(MSG_PEEK) != 0
        return end("receive", Int(fd), count, socket.receive(buffer, count, peek: peek))
    }

    package func send(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int, flags: Int32) -> Int {
        begin()
        guard let socket = stream(fd) else { return end("send", Int(fd), count, Int(noSocket(fd))) }
        if world.dice.chance(world.faults.interrupted) { return end("send", Int(fd), count, Int(-EINTR)) }
        return end("send", Int(fd), count, socket.send(buffer, count))
    }

    package func sendFile(_ fd: Int32, file: Int32, offset: inout Int64, _ count: Int) -> Int {
        begin()
        guard let socket = stream(fd), let source = openFile(file) else {
            return end("sendFile", Int(fd), count, Int(-EBADF))
        }
        if world.dice.chance(world.faults.interrupted) { return end("sendFile", Int(fd), count, Int(-EINTR)) }
        if world.dice.chance(world.faults.ioError) { return end("sendFile", Int(fd), count, Int(-EIO)) }
        let sent = world.files.read(source, offset: Int(offset), count) { bytes in
            guard let base = bytes.baseAddress, bytes.count > 0 else { return 0 }
            return socket.send(base, bytes.count)
        }
        if sent > 0 { offset += Int64(sent) }
        return end("sendFile", Int(fd), count, sent)
    }

    package func peerUser(_ fd: Int32) -> Int32 { -1 }

    package func shutdownWrite(_ fd: Int32) -> Int32 {
        begin()
        guard let socket = stream(fd) else { return end("shutdownWrite", Int(fd), 0, noSocket(fd)) }
        return end("shutdownWrite", Int(fd), 0, socket.shutdownWrite())
    }

    package func setOption(_ fd: Int32, level: Int32, name: Int32, value: Int32) -> Int32 {
        begin()
        guard let socket = stream(fd) else { return end("setOption", Int(fd), Int(name), noSocket(fd)) }
        socket.options[Int(level) << 16 | Int(name)] = value
        return end("setOption", Int(fd), Int(name), 0 as Int32)
    }

    package func getOption(_ fd: Int32, level: Int32, name: Int32) -> Int32 {
        begin()
        guard let socket = stream(fd) else { return end("getOption", Int(fd), Int(name), noSocket(fd)) }
        if level == SOL_SOCKET && name == SO_ERROR { return end("getOption", Int(fd), Int(name), socket.takeError()) }
        return end("getOption", Int(fd), Int(name), socket.options[Int(level) << 16 | Int(name)] ?? 0)
    }

    package func useReno(_ fd: Int32) {
        begin()
        world.record("useReno", Int(fd), 0, 0)
    }

    package func resetOnClose(_ fd: Int32) {
        begin()
        world.record("resetOnClose", Int(fd), 0, 0)
        stream(fd)?.resetsOnClose = true
    }
}
