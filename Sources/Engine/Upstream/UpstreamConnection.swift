// The state of one connection to a peer: its stream, whose exchange it serves, and its place among the idle ones.
// Lives in the worker's slab. It never touches a client; what it reads goes to its exchange.

import Bytes

package enum UpstreamPhase: UInt8, BitwiseCopyable { case connecting, handshaking, busy, idle, closed }

package struct UpstreamConnection: BitwiseCopyable {
    var handle = Handle.none
    var stream = ByteStream()
    var phase = UpstreamPhase.closed
    var timer = TimerID.none
    var exchange: Ref<Exchange>?
    /// It speaks HTTP/2: exchanges are on its streams, which are connections without a socket.
    var session: Ref<UpstreamSession>?
    var requests: UInt32 = 0
    var openedMs: Int64 = 0
    var address = SocketAddress.none
    /// While idle, and while others may share it: the pool, the peer in it, the location that opened it, and the neighbours.
    var pool: Ref<UpstreamPool>?
    var peer: Int32 = -1
    var tag: Int32 = -1
    var newer = Handle.none
    var older = Handle.none
    var nextOfPeer = Handle.none
    var previousOfPeer = Handle.none
    /// What its TLS depends on, and behind it the address: TLS sessions are kept by both. Nothing: it speaks plainly.
    var peerKey = Buffer.none
    var peerKeyCount = 0
    var identityCount = 0

    var identity: ByteView { ByteView(peerKey.start, identityCount) }
}
