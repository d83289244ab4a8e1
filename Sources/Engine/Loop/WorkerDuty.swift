// What a loop does beside serving: the seam by which the control thread works in a loop of the engine.
// Called by Worker at the end of its turns. Knows nothing of what the work is.

/// Work that a loop does at the end of its turns beside serving: the control thread's.
package protocol WorkerDuty: AnyObject {
    /// `nowMs`: of the monotonic clock. Returns when to be called again at the latest; nil: when something wakes the loop.
    func turn(nowMs: Int64) -> Int64?
    /// Called when the answers of a turn have been sent.
    func afterTurn()
}
