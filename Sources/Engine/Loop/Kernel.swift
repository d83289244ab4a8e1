// The one seam between the engine and the operating system: sockets, epoll, files, time, random numbers.
// Every worker calls the kernel through it; the simulation puts its own kernel here.
// It holds no policy: no retries, no buffers, no limits.

/// What a worker asks of the operating system. Calls that can fail return `-errno`, as Linux itself does.
///
/// The protocol is bound to classes so that a call costs one witness table look-up (nothing beside a system call).
package protocol Kernel: AnyObject {
    // MARK: Time and chance

    /// Nanoseconds of a clock that never steps back.
    func monotonicNs() -> UInt64
    /// Nanoseconds since 1970-01-01 UTC.
    func realtimeNs() -> Int64
    /// A number nobody can guess.
    func random() -> UInt64

    // MARK: Readiness

    func epollCreate() -> Int32
    /// Registers `fd` with the epoll event bits `events`; `data` comes back with each event.
    func epollAdd(_ epoll: Int32, _ fd: Int32, events: UInt32, data: UInt64) -> Int32
    func epollRemove(_ epoll: Int32, _ fd: Int32) -> Int32
    /// Waits for at most `timeoutMs` (-1: for ever) and fills `events`; returns how many.
    func epollWait(_ epoll: Int32, into events: UnsafeMutableBufferPointer<KernelEvent>, timeoutMs: Int32) -> Int32
    /// A counter that wakes a loop: see `signalEvent` and `drainEvent`.
    func eventCreate() -> Int32
    func eventSignal(_ fd: Int32)
    func eventDrain(_ fd: Int32)

    // MARK: Sockets (all non-blocking and close-on-exec)

    /// `type` is SOCK_STREAM or SOCK_DGRAM.
    func socket(family: Int32, type: Int32) -> Int32
    func bind(_ fd: Int32, _ address: UnsafeRawPointer, _ length: UInt32) -> Int32
    func listen(_ fd: Int32, backlog: Int32) -> Int32
    /// Fills `address` with the peer's address and sets `length` to its size.
    func accept(_ fd: Int32, _ address: UnsafeMutableRawPointer, _ length: inout UInt32) -> Int32
    func connect(_ fd: Int32, _ address: UnsafeRawPointer, _ length: UInt32) -> Int32
    func socketName(_ fd: Int32, _ address: UnsafeMutableRawPointer, _ length: inout UInt32) -> Int32
    /// `flags`: MSG_PEEK or 0. Returns 0 at the end of the stream.
    func receive(_ fd: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int, flags: Int32) -> Int
    /// `flags`: MSG_MORE or 0. Never raises SIGPIPE.
    func send(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int, flags: Int32) -> Int
    /// Sends `count` bytes of a file from `offset`, which it advances by what was sent.
    func sendFile(_ fd: Int32, file: Int32, offset: inout Int64, _ count: Int) -> Int
    /// The user who opened the other end of a unix socket; -1 when there is none to name.
    func peerUser(_ fd: Int32) -> Int32
    func shutdownWrite(_ fd: Int32) -> Int32
    func setOption(_ fd: Int32, level: Int32, name: Int32, value: Int32) -> Int32
    func getOption(_ fd: Int32, level: Int32, name: Int32) -> Int32
    /// For a TCP connection within this host, where there is no network to find out about: sends by Reno, which Linux always has.
    func useReno(_ fd: Int32)
    /// Makes the coming `close` send a reset instead of an orderly end.
    func resetOnClose(_ fd: Int32)
    func close(_ fd: Int32)

    // MARK: Files

    func open(_ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32) -> Int32
    /// Another descriptor of the same open file.
    func duplicate(_ fd: Int32) -> Int32
    func fileFacts(_ fd: Int32, _ facts: inout FileFacts) -> Int32
    /// Writes at the end of a file opened with O_APPEND (a log).
    func write(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int) -> Int
    func readAt(_ fd: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int, offset: Int64) -> Int
    func writeAt(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int, offset: Int64) -> Int
    func unlink(_ path: UnsafePointer<CChar>) -> Int32
}

/// One readiness event: which bits, and the word that the descriptor was registered with.
package struct KernelEvent {
    package var bits: UInt32
    package var data: UInt64
    package init(bits: UInt32, data: UInt64) {
        self.bits = bits
        self.data = data
    }
}

/// What the engine asks of a file before it serves it.
package struct FileFacts {
    package var size: Int64 = 0
    package var modifiedSeconds: Int64 = 0
    /// Behind the second.
    package var modifiedNs: Int64 = 0
    package var inode: UInt64 = 0
    /// The type and permission bits of `st_mode`.
    package var mode: UInt32 = 0
    package init() {}
}

/// The epoll bits the engine uses, as plain numbers (the C constants import as a mix of types).
package enum Readiness {
    package static let readable: UInt32 = 0x001
    package static let writable: UInt32 = 0x004
    package static let error: UInt32 = 0x008
    package static let hangUp: UInt32 = 0x010
    package static let peerClosed: UInt32 = 0x2000
    package static let exclusive: UInt32 = 1 << 28
    package static let edgeTriggered: UInt32 = 1 << 31
}
