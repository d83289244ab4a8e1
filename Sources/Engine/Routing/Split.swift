// A split: the named, weighted choice of one upstream among several, for the whole life of an exchange.
// Chosen by Upstream/Connect.swift when a location's target is a split; who gets which variant is decided in Balancing.

import Balancing
import Bytes
import HTTPMessage
import Synchronization

/// One `split {}`. Immutable, in the arena of its definition.
package struct SplitSettings: BitwiseCopyable {
    package var name: ByteView
    /// The names of the variants, in the order of `SplitChoice`.
    package var variants: Frozen<ByteView>
    /// The first that is not empty names the user.
    package var keys = Frozen<Template>.empty
    /// The name of a variant here decides.
    package var force = Template.empty
    /// The cookie that gives a visitor a key; empty: none.
    package var cookie = ByteView.empty
    package var cookieMaxAgeSeconds: Int64 = 0
    /// Some of its requests are sent twice.
    package var shadow: ShadowSettings?
    /// Who gets which variant; whose turn it is. Set by `SplitDefinition`.
    var choice: SplitView?
    var turns: SplitTurnsView?
    /// How many requests wait for it now, on all workers.
    var holding: UnsafeMutablePointer<Atomic<Int>>?
    /// What came of requests that were sent twice.
    var shadowCells: UnsafeMutablePointer<ShadowCells>?
    package init(name: ByteView, variants: Frozen<ByteView>) {
        self.name = name
        self.variants = variants
    }
}

/// New requests of a split wait, so that a single server can restart: until a release, or until they have waited too long.
package struct HoldSettings: BitwiseCopyable, Sendable {
    /// A request that has waited this long is answered 503.
    package var timeoutMs: Int64
    /// Requests that may wait in each worker; one more is answered 503 at once.
    package var heldMax: Int
    package init(timeoutMs: Int64, heldMax: Int) {
        self.timeoutMs = timeoutMs
        self.heldMax = heldMax
    }
}

/// A split of one snapshot: the split, and where its variants are among this snapshot's upstreams.
package struct SplitEntry: BitwiseCopyable {
    package var settings: Ref<SplitSettings>
    package var upstreams: Frozen<Int32>
    /// Its new requests wait.
    package var hold: HoldSettings?
    /// Somebody watches two of its variants.
    package var watch: SplitWatchView?
    package init(settings: Ref<SplitSettings>, upstreams: Frozen<Int32>) {
        self.settings = settings
        self.upstreams = upstreams
    }
}

/// What stays of a split over its revisions: whose turn it is, and how many requests wait for it.
package final class SplitMemory: @unchecked Sendable {
    fileprivate let turns = SplitTurns()
    fileprivate let waiting = UnsafeMutablePointer<Atomic<Int>>.allocate(capacity: 1)

    fileprivate let shadow = UnsafeMutablePointer<ShadowCells>.allocate(capacity: 1)

    package init() {
        waiting.initialize(to: Atomic(0))
        shadow.initialize(to: ShadowCells())
    }

    deinit {
        shadow.deinitialize(count: 1)
        shadow.deallocate()
        waiting.deinitialize(count: 1)
        waiting.deallocate()
    }

    /// Requests that wait now, on all workers.
    package var holding: Int { waiting.pointee.load(ordering: .relaxed) }
    /// What shadows came to.
    package var shadowTally: ShadowTally { shadow.pointee.tally }
}

/// Owns what a `SplitEntry` points to. Shared by the snapshots in which the split is the same.
package final class SplitDefinition: Sendable {
    package let settings: Ref<SplitSettings>
    /// The names of the variants, sorted.
    package let variants: [String]
    private let choice: SplitChoice
    private let memory: SplitMemory
    private let arena: Arena
    /// Where names and templates lie, if it is another's.
    private let texts: Arena?

    /// `variants` are in the order of `choice` and of `settings.variants`, which lie in `arena`.
    package init(_ settings: SplitSettings, variants: [String], choice: SplitChoice, memory: SplitMemory, arena: Arena) {
        var settings = settings
        settings.choice = choice.view
        settings.turns = memory.turns.view
        settings.holding = memory.waiting
        settings.shadowCells = memory.shadow
        self.settings = arena.freeze(settings)
        self.variants = variants
        self.choice = choice
        self.memory = memory
        self.arena = arena
        texts = nil
    }

    /// `other` with other weights: names, templates and memory are shared.
    package init(_ other: SplitDefinition, choice: SplitChoice) {
        arena = Arena(blockBytes: 512)
        texts = other.texts ?? other.arena
        variants = other.variants
        memory = other.memory
        self.choice = choice
        var settings = other.settings.value
        settings.choice = choice.view
        self.settings = arena.freeze(settings)
    }
}

extension Worker {
    /// Fixes the variant of an exchange, for all its tries: forced, by the visitor's key, or by whose turn it is.
    /// False when the exchange has been answered, or waits.
    func chooseVariant(_ x: Ref<Exchange>, _ index: Int) -> Bool {
        let entry = x.root.splits[index]
        let settings = entry.settings
        x.proxyTarget.split = Int32(index)
        if entry.hold != nil || held.count > 0, waits(x, for: settings) { return false }
        let variant = shadowVariant(x, index) ?? forcedVariant(x, settings) ?? keyedVariant(x, settings) ?? nextVariant(settings)
        if let shadow = settings.shadow { beginShadow(x, index, settings, shadow, chosen: variant) }
        x.proxyTarget.variant = Int32(variant)
        x.proxyTarget.pool = x.pinned.pools[Int(entry.upstreams[variant].value)].value
        if let watch = entry.watch, x.inner?.receiver != .nobody { x.proxyTarget.row = watch.row(variant, worker: parameters.number) }
        return true
    }

    /// The one that a shadow is for.
    @inline(__always)
    private func shadowVariant(_ x: Ref<Exchange>, _ index: Int) -> Int? {
        guard let r = x.inner, r.variant >= 0, r.split == index else { return nil }
        return Int(r.variant)
    }

    /// The one that `force` names. A name of no variant forces nothing.
    private func forcedVariant(_ x: Ref<Exchange>, _ settings: Ref<SplitSettings>) -> Int? {
        if settings.force.isEmpty { return nil }
        let name = copiedExpansion(settings.force, x)
        if name.isEmpty { return nil }
        return (0..<settings.variants.count).first { settings.variants[$0].value == name }
    }

    private func keyedVariant(_ x: Ref<Exchange>, _ settings: Ref<SplitSettings>) -> Int? {
        guard let choice = settings.choice else { return nil }
        for i in 0..<settings.keys.count {
            let key = copiedExpansion(settings.keys[i].value, x)
            if !key.isEmpty { return choice.variant(forKey: key.buffer.span) }
        }
        if settings.cookie.isEmpty { return nil }
        if let key = cookie(settings.cookie, x), !key.isEmpty { return choice.variant(forKey: key.buffer.span) }
        return choice.variant(forKey: assignKey(x, settings).buffer.span)
    }

    /// A key for a visitor who has none: sent along as a cookie.
    private func assignKey(_ x: Ref<Exchange>, _ settings: Ref<SplitSettings>) -> ByteView {
        let w = valueText
        w.value.reset()
        w.value.append(hex: kernel.random(), minimumDigits: 16)
        w.value.append(hex: kernel.random(), minimumDigits: 16)
        x.assignedKey = x.value.region.copy(w.view, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
        x.assignedBy = settings
        return x.assignedKey
    }

    /// Set-Cookie for a key that was assigned (RFC 6265 4.1).
    func appendAssignedCookie(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>) {
        guard let settings = x.assignedBy else { return }
        w.value.append("Set-Cookie: ")
        w.value.append(settings.cookie)
        w.value.append(0x3D)
        w.value.append(x.assignedKey)
        w.value.append("; Max-Age=")
        w.value.append(decimal: settings.cookieMaxAgeSeconds)
        w.value.append("; Path=/; HttpOnly; SameSite=Lax\r\n")
    }

    private func nextVariant(_ settings: Ref<SplitSettings>) -> Int {
        guard let choice = settings.choice, let turns = settings.turns else { return 0 }
        return choice.variant(atTurn: turns.next())
    }
}
