// A request that the proxy makes within another one (nginx's subrequest): who wants its answer, and what is kept of that.
// Lives in the worker's slab. It carries a `ClientConnection` without a socket, to which its exchange talks as to any other client.

import Bytes

/// Who takes what an inner request is answered.
enum InnerReceiver: UInt8, BitwiseCopyable {
    /// Nobody: it is asked for its effect alone. It outlives the request that it was made for.
    case nobody
    /// The request around it wants its status and what its fields say.
    case status
    /// The request around it wants its body, in memory.
    case kept
    /// Its body is a part of the answer around it.
    case included
}

struct InnerRequest: BitwiseCopyable {
    var handle = Handle.none
    let receiver: InnerReceiver
    /// Its client; closed when it is over.
    var client: Ref<ClientConnection>
    /// The exchange it was made for, if that waits for it, and the next one that was made for the same.
    var parent: Ref<Exchange>?
    var next: Ref<InnerRequest>?
    /// How many are around it: 1 for one that a client's request made.
    var depth = 1
    /// Where it was sent, for a start anew.
    var path = ByteView.empty
    var arguments = ByteView.empty
    /// The connection of the client behind all this, if it is still there.
    var connection = Handle.none
    /// That client speaks HTTP/2.
    var isOverHTTP2 = false
    var isBegun = false
    /// It ended under another configuration than that of the exchange around it.
    var isMoved = false
    /// A shadow goes the way of the client's request, to this variant of this split.
    var split: Int32 = -1
    var variant: Int32 = -1
    /// How many of the first bytes emitted are a head.
    var answerHeadCount = 0
    /// Bytes of the request's body that were copied for it.
    var bodyBytes = 0

    // MARK: The answer
    var isOver = false
    /// It came whole.
    var isWhole = false
    var status: UInt16 = 0
    var body = Buffer.none
    var bodyCount = 0
    var bodyMax = 0
    var isTooLarge = false
    /// It is a page of ours that says what went wrong.
    var isOwnError = false

    init(_ receiver: InnerReceiver, client: Ref<ClientConnection>) {
        self.receiver = receiver
        self.client = client
    }
}

/// The inner requests of a worker.
struct InnerRequests: ~Copyable {
    var slab = Slab<InnerRequest>(limit: Limits.innerMax)
    /// Those that nobody waits for, and the bytes of bodies that were copied for them.
    var mirrors = 0
    var mirrorBytes = 0
}
