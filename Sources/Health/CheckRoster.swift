// Which check is due when: a heap of all checks of a process, the earliest first, and how many are under way.
// Owned by Control's health board. It has no clock, makes no check and draws no lots: times and random numbers are told.

/// One check of one server, while it is on the roster. One that was taken off is told from what came into its place.
public struct CheckHandle: Sendable, Hashable, BitwiseCopyable {
    public let index: Int32
    let generation: UInt32
}

/// All checks with their times and standings. Adding, taking and ending a check take time with the logarithm of their number.
public struct CheckRoster: Sendable {
    private struct Slot {
        var timing: CheckTiming
        var standing: CheckStanding
        /// While it is under way: when it began.
        var dueMs: Int64 = 0
        /// Where it stands in the heap; -1: it is under way.
        var place: Int32 = -1
        var generation: UInt32 = 0
        var isLive = true
    }

    private var slots: [Slot] = []
    private var free: [Int32] = []
    /// Slots, the earliest first.
    private var heap: [Int32] = []
    /// How many may be under way at once.
    public let runningMax: Int
    public private(set) var running = 0

    public init(runningMax: Int) { self.runningMax = max(1, runningMax) }

    public var count: Int { slots.count - free.count }

    /// When a check is to begin; nil: there is none, or as many as may be are under way.
    public var dueMs: Int64? { running < runningMax ? heap.first.map { slots[Int($0)].dueMs } : nil }

    // MARK: The list

    public mutating func add(_ timing: CheckTiming, _ standing: CheckStanding, dueMs: Int64) -> CheckHandle {
        let index: Int32
        if let reused = free.popLast() {
            index = reused
            slots[Int(index)] = Slot(timing: timing, standing: standing, generation: slots[Int(index)].generation)
        } else {
            index = Int32(slots.count)
            slots.append(Slot(timing: timing, standing: standing))
        }
        insert(index, dueMs)
        return CheckHandle(index: index, generation: slots[Int(index)].generation)
    }

    /// What is under way goes on, and its result is nobody's.
    public mutating func remove(_ handle: CheckHandle) {
        guard let i = find(handle) else { return }
        if slots[i].place >= 0 { takeOut(Int(slots[i].place)) } else { running -= 1 }
        slots[i].isLive = false
        slots[i].generation &+= 1
        free.append(handle.index)
    }

    /// Other numbers from now on. What they are counted with stays.
    public mutating func change(_ handle: CheckHandle, _ timing: CheckTiming, nowMs: Int64) {
        guard let i = find(handle), slots[i].timing != timing else { return }
        slots[i].timing = timing
        if slots[i].place >= 0, slots[i].dueMs > nowMs + timing.intervalMs + timing.jitterMs {
            takeOut(Int(slots[i].place))
            insert(Int32(i), nowMs + timing.spread(UInt64(i)))
        }
    }

    public func standing(_ handle: CheckHandle) -> CheckStanding? { find(handle).map { slots[$0].standing } }

    // MARK: Checks

    /// A check whose time has come, which is under way from here on; nil: none, or too many are.
    public mutating func takeDue(_ nowMs: Int64) -> CheckHandle? {
        guard running < runningMax, let first = heap.first, slots[Int(first)].dueMs <= nowMs else { return nil }
        takeOut(0)
        slots[Int(first)].dueMs = nowMs
        running += 1
        return CheckHandle(index: first, generation: slots[Int(first)].generation)
    }

    /// A check has ended. It is due again after its interval.
    /// - Returns: whether its standing's state changed; nil: the check was taken off meanwhile.
    public mutating func finish(_ handle: CheckHandle, passed: Bool, nowMs: Int64, random: UInt64) -> Bool? {
        guard let i = find(handle), slots[i].place < 0 else { return nil }
        running -= 1
        let hasChanged = slots[i].standing.note(passed: passed, nowMs: nowMs, slots[i].timing)
        insert(handle.index, slots[i].timing.next(after: slots[i].dueMs, nowMs: nowMs, random: random))
        return hasChanged
    }

    /// A check could not be made, for want of what the proxy itself needs: it says nothing of the server.
    public mutating func postpone(_ handle: CheckHandle, nowMs: Int64) {
        guard let i = find(handle), slots[i].place < 0 else { return }
        running -= 1
        insert(handle.index, nowMs + slots[i].timing.intervalMs)
    }

    private func find(_ handle: CheckHandle) -> Int? {
        let i = Int(handle.index)
        return slots.indices.contains(i) && slots[i].isLive && slots[i].generation == handle.generation ? i : nil
    }

    // MARK: The heap

    private mutating func insert(_ index: Int32, _ dueMs: Int64) {
        slots[Int(index)].dueMs = dueMs
        slots[Int(index)].place = Int32(heap.count)
        heap.append(index)
        rise(heap.count - 1)
    }

    private mutating func takeOut(_ place: Int) {
        slots[Int(heap[place])].place = -1
        let last = heap.removeLast()
        if place == heap.count { return }
        heap[place] = last
        slots[Int(last)].place = Int32(place)
        rise(place)
        sink(Int(slots[Int(last)].place))
    }

    private func isEarlier(_ a: Int, _ b: Int) -> Bool { slots[Int(heap[a])].dueMs < slots[Int(heap[b])].dueMs }

    private mutating func swap(_ a: Int, _ b: Int) {
        heap.swapAt(a, b)
        slots[Int(heap[a])].place = Int32(a)
        slots[Int(heap[b])].place = Int32(b)
    }

    private mutating func rise(_ from: Int) {
        var place = from
        while place > 0, isEarlier(place, (place - 1) / 2) {
            swap(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    private mutating func sink(_ from: Int) {
        var place = from
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2] where child < heap.count && isEarlier(child, least) { least = child }
            if least == place { return }
            swap(place, least)
            place = least
        }
    }
}
