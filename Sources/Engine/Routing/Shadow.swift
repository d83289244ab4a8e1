// Shadows: safe requests of a split go to another of its variants as well, and what is answered there is compared with what the client
// got. Begun where the variant is chosen; fed by the response reader; settled by `finish`. Nobody waits for a shadow.

import Balancing
import Bytes
import CZlib
import HTTPMessage
import Synchronization

/// `shadow` of a split.
package struct ShadowSettings: BitwiseCopyable {
    /// Place of the variant that is tried, among those of the split.
    package var to: Int32
    /// Percent of the safe requests that are sent twice.
    package var share: Int32
    /// Percent of these that go to the client's own variant again: what differs there is noise.
    package var noise: Int32
    /// Fields of answers that are compared besides status and body; lower case.
    package var headers: Frozen<ByteView>
    package init(to: Int32, share: Int32, noise: Int32, headers: Frozen<ByteView>) {
        self.to = to
        self.share = share
        self.noise = noise
        self.headers = headers
    }
}

/// What shadows of a split came to, on all workers, since the process began.
package struct ShadowTally: Equatable, Sendable {
    /// Answers of the other variant that were compared with the client's, and those that were not the same.
    package var compared: UInt64 = 0
    package var differing: UInt64 = 0
    /// Likewise, of the client's own variant.
    package var comparedOld: UInt64 = 0
    package var differingOld: UInt64 = 0
    package init() {}
}

/// The same, as workers count it.
struct ShadowCells: ~Copyable {
    let compared = Atomic<UInt64>(0)
    let differing = Atomic<UInt64>(0)
    let comparedOld = Atomic<UInt64>(0)
    let differingOld = Atomic<UInt64>(0)
    /// Hundredths of a request that were due to be sent twice so far, and hundredths of those that were due to go to the same variant.
    private let dueShare = Atomic<UInt64>(0)
    private let dueNoise = Atomic<UInt64>(0)

    /// Whether the next safe request is sent twice; evenly, of this split's.
    func isDue(share: Int32) -> Bool { passesHundred(dueShare.wrappingAdd(UInt64(share), ordering: .relaxed)) }

    /// Whether the next shadow goes to the client's own variant.
    func isNoise(_ noise: Int32) -> Bool { passesHundred(dueNoise.wrappingAdd(UInt64(noise), ordering: .relaxed)) }

    private func passesHundred(_ step: (oldValue: UInt64, newValue: UInt64)) -> Bool { step.oldValue / 100 != step.newValue / 100 }

    var tally: ShadowTally {
        var tally = ShadowTally()
        // What differs is counted first, so that it is never seen to be more than what was compared.
        tally.differing = differing.load(ordering: .acquiring)
        tally.differingOld = differingOld.load(ordering: .acquiring)
        tally.compared = compared.load(ordering: .acquiring)
        tally.comparedOld = comparedOld.load(ordering: .acquiring)
        return tally
    }

    func count(isSame: Bool, isOld: Bool) {
        if isOld {
            comparedOld.wrappingAdd(1, ordering: .releasing)
            if !isSame { differingOld.wrappingAdd(1, ordering: .releasing) }
        } else {
            compared.wrappingAdd(1, ordering: .releasing)
            if !isSame { differing.wrappingAdd(1, ordering: .releasing) }
        }
    }
}

/// What of an answer is compared.
struct AnswerPrint: BitwiseCopyable {
    var status: UInt16 = 0
    var fields: UInt = 0
    var body: UInt = 0
    var bodyBytes: Int64 = 0
    var isWhole = false
    var isOver = false
    /// It is no answer of a variant's: ours, or cut by us or by the client.
    var isVoid = false

    func isSame(as other: AnswerPrint) -> Bool {
        status == other.status && fields == other.fields && body == other.body && bodyBytes == other.bodyBytes
    }
}

/// A client's request and its shadow.
struct ShadowPair: BitwiseCopyable {
    var handle = Handle.none
    /// The exchange of the shadow.
    var shadow = Handle.none
    let split: Ref<SplitSettings>
    let isOld: Bool
    var ofClient = AnswerPrint()
    var ofShadow = AnswerPrint()
}

extension Worker {
    /// The variant of a client's exchange is chosen: perhaps the request goes to another one, too.
    @inline(never)
    func beginShadow(_ x: Ref<Exchange>, _ index: Int, _ settings: Ref<SplitSettings>, _ shadow: ShadowSettings, chosen: Int) {
        guard x.inner == nil, x.shadow == nil, !x.isInternal, x.method == .get || x.method == .head || x.method == .options,
            x.method == x.head.method, x.body.framing == .none, x.head.upgradeIndex < 0, chosen != Int(shadow.to)
        else { return }
        guard let cells = settings.shadowCells, cells.pointee.isDue(share: shadow.share) else { return }
        let isOld = cells.pointee.isNoise(shadow.noise)
        guard mayMirror, let (pair, handle) = shadowPairs.insert(ShadowPair(split: settings, isOld: isOld)) else { return shadowDropped(x) }
        pair.handle = handle
        let plan = InnerPlan(receiver: .nobody, path: x.path, arguments: x.arguments, keepsMethod: true)
        guard let r = beginInner(x, plan), let its = r.client.exchange else {
            shadowPairs.remove(handle)
            return shadowDropped(x)
        }
        r.split = Int32(index)
        r.variant = isOld ? Int32(chosen) : shadow.to
        its.shadow = pair
        pair.shadow = its.handle
        x.shadow = pair
    }

    private func shadowDropped(_ x: Ref<Exchange>) {
        counts.mirrorsDropped += 1
        x.pinned.account.add(.mirrorsDropped)
    }

    private func side(_ x: Ref<Exchange>, _ pair: Ref<ShadowPair>, _ change: (inout AnswerPrint) -> Void) {
        if x.inner == nil { change(&pair.value.ofClient) } else { change(&pair.value.ofShadow) }
    }

    /// The head of an upstream's answer: `bytes`, with its fields in the scratch.
    @inline(never)
    func shadowHead(_ x: Ref<Exchange>, _ pair: Ref<ShadowPair>, _ bytes: ByteView) {
        guard let shadow = pair.split.shadow else { return }
        var sum: UInt = 0
        for i in 0..<x.upstreamHead.fields.fieldCount {
            let name = bytes.slice(fieldScratch[i].name)
            for k in 0..<shadow.headers.count where name.equalsIgnoringCase(shadow.headers[k].value) {
                var ordinal = UInt8(truncatingIfNeeded: k)
                sum = crc32(sum, &ordinal, 1)
                let value = bytes.slice(fieldScratch[i].value)
                sum = crc32(sum, value.start, UInt32(truncatingIfNeeded: value.count))
            }
        }
        side(x, pair) { $0.fields = sum }
    }

    /// A piece of the body of an upstream's answer, without framing.
    @inline(never)
    func shadowBody(_ x: Ref<Exchange>, _ pair: Ref<ShadowPair>, _ piece: ByteView) {
        side(x, pair) {
            $0.body = crc32($0.body, piece.start, UInt32(truncatingIfNeeded: piece.count))
            $0.bodyBytes += Int64(piece.count)
        }
    }

    /// One of the two is over. The split is there as long as the client's exchange or the shadow's is, unless they moved.
    @inline(never)
    func shadowEnded(_ x: Ref<Exchange>, _ pair: Ref<ShadowPair>, _ outcome: Outcome) {
        x.shadow = nil
        side(x, pair) {
            $0.status = x.status
            $0.isOver = true
            switch outcome {
            case .completed:
                $0.isWhole = true
                if x.blame == .proxy { $0.isVoid = true }
            case .abortedByClient: $0.isVoid = true
            case .failed(let fault): if fault.blame == .proxy { $0.isVoid = true }
            }
        }
        // It has said too much already.
        if pair.ofClient.isWhole, pair.ofShadow.bodyBytes > pair.ofClient.bodyBytes { pair.ofShadow.isVoid = false }
        // Of an answer that the client did not stay for nothing can be said, and events would go on without it for ever.
        if x.inner == nil, !pair.ofClient.isWhole, !pair.ofShadow.isOver, let its = exchanges.find(pair.shadow) {
            return clientGone(its, .clientClosed)
        }
        guard pair.ofClient.isOver, pair.ofShadow.isOver else { return }
        if pair.ofClient.isWhole, !pair.ofClient.isVoid, !pair.ofShadow.isVoid, let cells = pair.split.shadowCells {
            let isSame = pair.ofShadow.isWhole && pair.ofShadow.isSame(as: pair.ofClient)
            cells.pointee.count(isSame: isSame, isOld: pair.isOld)
        }
        shadowPairs.remove(pair.handle)
    }

    /// The client's exchange goes on under another snapshot, in which the split may be another one or none.
    func dropShadow(_ x: Ref<Exchange>, _ pair: Ref<ShadowPair>) { shadowEnded(x, pair, .abortedByClient(.clientClosed)) }
}
