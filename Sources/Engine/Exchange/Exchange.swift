// One request and its answer: what was asked, where it goes, how far it is. The hub between a client and an upstream.
// Lives in the worker's slab from the end of the request head to `finish`. Its phases are the words of logs and docs.

import Balancing
import Bytes
import HTTPMessage

package enum ExchangePhase: UInt8, BitwiseCopyable {
    /// Routing and rewriting.
    case routing
    /// The request's body is collected before the upstream is asked.
    case readingBody
    case connecting
    /// The request goes to the upstream.
    case sending
    /// The request has gone; no byte of the answer has come.
    case waiting
    /// The answer's body flows.
    case receiving
    /// After 101: bytes both ways.
    case tunnel
    /// The answer is ours (a file, an error, `return`) and is being sent.
    case answering
    /// The control side has the request of an `admin` location and answers it.
    case handedOver
    /// New requests of its split wait.
    case held
    /// It waits in line for a peer that can take it.
    case queued
    /// Another request, made for it, decides whether it may go on.
    case asking
    /// It came too fast for `limit_req` and waits for its turn.
    case delayed
    case finished
}

/// Whom an error answer is laid to in the account of its revision.
enum Blame: UInt8, BitwiseCopyable { case nobody, upstream, proxy }

/// How a response body is framed towards the client.
enum ClientFraming: UInt8, BitwiseCopyable { case none, length, chunked, untilClose }

/// One attempt at a peer, for the `$upstream_*` lists.
struct UpstreamTry: BitwiseCopyable {
    var address = ByteView.empty
    var status: UInt16 = 0
    var connectMs: Int64 = -1
    var headerMs: Int64 = -1
    var responseMs: Int64 = -1
    var bytesReceived: Int64 = 0
    var bytesSent: Int64 = 0
    var responseBytes: Int64 = 0
    /// An internal redirect separates the groups with ":" instead of ",".
    var startsGroup = false
    var next: Ref<UpstreamTry>?
}

package struct Exchange: BitwiseCopyable {
    package var handle = Handle.none
    var client: Ref<ClientConnection>
    var upstream: Ref<UpstreamConnection>?
    var pinned: Ref<PinnedSnapshot>
    var region = Region()
    package internal(set) var phase = ExchangePhase.routing

    // MARK: The request
    var head = RequestHead()
    /// The head as received, in the region; `head` and `fields` point into it.
    var headBytes = ByteView.empty
    var fields: Frozen<HeaderField>
    var server: Ref<ServerSettings>
    var location: Ref<LocationSettings>
    /// The request line, for `$request`.
    var requestLine = ByteView.empty
    /// `$host`: from the request line, the Host field, or the server's name; lower case, no port.
    var host = ByteView.empty
    var hostPort: UInt16 = 0
    /// The Host field or authority was given (and is valid).
    var hasHost = false
    /// The target as received (`$request_uri` is its origin form).
    var target = ByteView.empty
    /// The current path, decoded and normalised (`$uri`): changed by rewrites and internal redirects.
    var path = ByteView.empty
    var arguments = ByteView.empty
    /// `path` and `arguments` are still those of `target`, so that it can be sent as it came.
    var isTargetCurrent = true
    var isInternal = false
    /// A `rewrite` gave it its path: it may reach what is `internal`.
    var isRewritten = false
    /// The path begins with what chose the location: a `rewrite ... break` takes that away, and nothing can stand for that part then.
    var hasLocationsPath = true
    var redirectsLeft = Limits.internalRedirectsMax
    /// The method to route and answer by (an error page turns it into GET).
    var method = Method.get
    var keepsAlive = false
    /// Its head was there before the answer to the request in front of it had ended (`$pipe`).
    var isPipelined = false
    var startedMs: Int64 = 0
    var requestID: (UInt64, UInt64) = (0, 0)
    /// The connection's own address, while another one stands in its place for this exchange.
    var ownAddress = ClientAddress()
    var hasRealAddress = false
    var requestLimitStatus = LimitStatus.none
    var connectionLimitStatus = LimitStatus.none
    /// What it counts as in zones of `limit_conn`: so many of the list.
    var connectionCount: UInt8 = 0
    var countedConnections = Frozen<CountedConnection>.empty
    /// Values of `set` and of maps: a slot each, in the region.
    var values = Frozen<VariableSlot>.empty
    var variableDepth = 0
    var captures = Frozen<ByteView>.empty

    // MARK: The request's body
    var body = BodyReader()
    var bodyBuffer = Buffer.none
    var bodyBuffered = 0
    var bodySpool = Spool()
    /// The name of its file, if that has one; a zero byte stands behind it.
    var bodyFileName = ByteView.empty
    /// Goes to the upstream as it comes, rather than whole.
    var streamsBody = false
    /// Bytes of the body that have been handed to the upstream of this try.
    var bodySent: Int64 = 0
    var sentContinue = false
    /// Input waits for the upstream to take what it has.
    var bodyWaits = false
    /// The head of the request is with the upstream, so that the body may follow.
    var requestHeadSent = false
    var dropsBody = false

    // MARK: The upstream
    var proxyTarget = ProxyTargetState()
    var tried = TriedPeers()
    var triesLeft = 0
    var tryStartedMs: Int64 = 0
    /// -1: nothing has been asked yet.
    var firstTryMs: Int64 = -1
    var reusedConnection = false
    /// Bytes of the request reached the kernel for this try.
    var requestSent = false
    var requestWhole = false
    var tries: Ref<UpstreamTry>?
    var currentTry: Ref<UpstreamTry>?
    /// It was redirected since the last try: the next one begins a group.
    var startsTryGroup = false
    var tryIsOpen = false
    /// Whose fault it is that the answer is an error of ours.
    var blame = Blame.nobody
    /// The balancer counts this exchange against `proxyTarget.peer`.
    var holdsPeer = false
    /// Counted by its upstream as active, as waiting for a connection, as trying a further peer.
    var isActive = false
    var isPending = false
    var isRetry = false
    /// In line for a peer: where, until when, and whether its turn has come.
    var queueTicket: UInt64 = 0
    var queuedUntilMs: Int64 = 0
    var isCalled = false
    var upstreamHead = ResponseHead()
    /// Part of a response head, until it is whole.
    var headBuffer = Buffer.none
    var headBuffered = 0
    var interimResponses = 0
    var response = BodyReader()
    /// Kept only where a template reads it after it has gone.
    var keptUpstreamHead = ByteView.empty
    var keptUpstreamFields = Frozen<HeaderField>.empty
    var upstreamKeepsAlive = false
    /// `proxy_buffering`, or what the upstream's X-Accel-Buffering says of this response.
    var buffersResponse = true
    /// The request said `Connection: close`.
    var askedToClose = false
    /// The upstream's trailer section, once it is whole.
    var keptTrailers = ByteView.empty
    /// Bytes a second taken from the upstream; 0: as fast as they come.
    var upstreamRate: Int64 = 0
    var upstreamPaceStartMs: Int64 = 0
    /// The upstream's timer stands for the rate.
    var isUpstreamDelayed = false
    /// Whole lines of an intercepted response that go with the page made instead.
    var keptLines = ByteView.empty
    /// Lines of a response that had X-Accel-Redirect; those that `expires` replaces; and its Content-Type.
    var accelLines = ByteView.empty
    var accelCacheLines = ByteView.empty
    var accelType = ByteView.empty
    /// Fields that the filters of this answer leave out or write themselves, as bits, while its head is composed.
    var droppedFields: UInt64 = 0

    // MARK: The answer
    var status: UInt16 = 0
    /// Nothing may be retried or replaced any more.
    var answerBegun = false
    /// All of the answer is with the client's stream.
    var answerQueued = false
    var framing = ClientFraming.none
    /// The filters that its body passes.
    var filter: Ref<FilterChain>?
    var contentLength: Int64 = -1
    var headOnly = false
    var bodySentToClient: Int64 = 0
    var bytesSentToClient: Int64 = 0
    var keptSentHead = ByteView.empty
    /// A key that a split gave the visitor, and the split.
    var assignedKey = ByteView.empty
    var assignedBy: Ref<SplitSettings>?
    /// Bytes a second to the client; 0: as fast as it takes them.
    var paceRate: Int64 = 0
    var paceAfter: Int64 = 0
    var paceStartMs: Int64 = 0
    /// The rate was set for this exchange alone.
    var hasOwnRate = false
    /// The client's timer stands for the rate, not for a client that takes nothing.
    var isDelayed = false
    var file: Int32 = -1
    var fileOffset: Int64 = 0
    var fileEnd: Int64 = 0
    /// Of an answer in several parts: all of them, the end last, and which comes next.
    var fileParts = Frozen<FilePart>.empty
    var filePart: Int32 = 0
    var responseSpool = Spool()
    /// Set while an error page is made, so that an error in it is not answered by another.
    var inErrorPage = false
    /// An error page turned the method into GET for the upstream too.
    var methodReplaced = false
    /// `out` holds the head that is being composed: `$sent_http_` variables look there.
    var isComposing = false
    /// The next try goes to the same peer over a fresh connection: an idle one turned out to be closed.
    var retriesSamePeer = false
    /// The status that error handling gave the answer, whatever the handler that makes it says; 0: none.
    var errorStatus: UInt16 = 0
    var isPosted = false
    var addTrailers = false
    /// Where the trailers that are being composed begin in `out`; -1: none are.
    var trailerMark = -1
    /// The last chunk with its trailers did not fit behind the data and follows by itself.
    var lastChunkLater = false
    /// The peer answered with a status that counts as a failure, though no other peer was left to ask.
    var failsPeerAtEnd = false
    var clientHalfClosed = false
    /// The client's slow: reads are small until it has caught up.
    var clientIsSlow = false

    // MARK: Inner requests
    /// The answer has server-side includes.
    var page: Unmanaged<SSIPage>?
    /// It is one.
    var inner: Ref<InnerRequest>?
    /// Those made for it that it waits for, the newest first, and how many there were.
    var firstInner: Ref<InnerRequest>?
    var innerCount = 0
    /// It is compared with another one.
    var shadow: Ref<ShadowPair>?
    /// Its body is being read for the mirrors of its location.
    var readsForMirrors = false

    // MARK: A drain
    /// The answer is a stream of events, which lives until somebody ends it.
    var isEventStream = false
    /// The tunnel is a WebSocket connection: its frames are followed, by what the ends themselves have sent.
    var isWebSocket = false
    var framesOfClient = WebSocketFrames()
    var framesOfUpstream = WebSocketFrames()
    /// The ends of the tunnel are being told to close, and which of them have been.
    var isClosing = false
    var toldClient = false
    var toldUpstream = false

    // MARK: A hold
    /// The queue it waits in, and its neighbours there.
    var heldPlace: Int32 = -1
    var heldPrevious = Handle.none
    var heldNext = Handle.none
    /// Or delayed.
    var heldUntilMs: Int64 = 0
    /// It has waited and goes on: those that still wait came after it.
    var wasReleased = false
    /// It was refused for a hold: it does not wait a second time.
    var hasWaitedInVain = false

    /// A worker makes one and copies it for each exchange, which costs less than making one; whoever copies it sets the four.
    init(
        client: Ref<ClientConnection>, pinned: Ref<PinnedSnapshot>, server: Ref<ServerSettings>, location: Ref<LocationSettings>
    ) {
        self.client = client
        self.pinned = pinned
        self.server = server
        self.location = location
        fields = .empty
    }
}

extension Ref where T == Exchange {
    /// A piece of the request's head.
    @inline(__always)
    func bytes(_ range: ByteRange) -> ByteView { self.headBytes.slice(range) }

    var root: Ref<SnapshotRoot> { self.pinned.root }
}

/// Where `proxy_pass` leads for this request.
struct ProxyTargetState: BitwiseCopyable {
    /// The upstream's pool in the snapshot that the exchange pins; nil for an address that was computed.
    var pool: Ref<UpstreamPool>?
    /// The split that chose it, and which of its variants; -1: none did.
    var split: Int32 = -1
    var variant: Int32 = -1
    var peer: Int32 = -1
    var address = SocketAddress.none
    var uri = ByteView.empty
    var hasURI = false
    var hostText = ByteView.empty
    var portText = ByteView.empty
    var usesTLS = false
    /// Once TLS is prepared: what connections to the peer must share, and the values it is made of.
    var tlsIdentity = ByteView.empty
    var tlsName = ByteView.empty
    var certificate = ByteView.empty
    var certificateKey = ByteView.empty
    /// Where the variant is counted until there is an answer of it; nil: nobody watches.
    var row: VariantRow?
    /// When it was first asked; 0: not yet.
    var watchedSinceNs: UInt64 = 0
}

/// One value of `set` or of a map.
struct VariableSlot: BitwiseCopyable {
    var value = ByteView.empty
    var isKnown = false
    var isFound = false
}
