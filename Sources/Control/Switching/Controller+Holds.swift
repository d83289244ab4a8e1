// What changes no state of pools and splits by itself: holds, releases, and the drains that go with a change.
// Called by the admin server. Each publishes under the revision that is current.

import AdminAPI
import Engine

extension Controller {
    // MARK: Holds

    /// New requests of the split wait. Publishes a snapshot of the same revision, which is returned.
    @discardableResult
    package func hold(_ split: String, _ settings: HoldSettings, ifMatch: UInt64? = nil) throws(Problem) -> UInt64 {
        try exclusively(ifMatch) { () throws(Problem) in
            try expectSplit(split)
            holds[split] = settings
            show(try pools.build(state, over: routes, publication(current)))
            events.emit(.held, revision: current, subject: split, text: "new requests of split \(split) wait")
            return current
        }
    }

    /// Those that wait go on, under the newest revision, at most `rate` a second.
    /// - Returns: whether there was a hold, and the current revision.
    @discardableResult
    package func release(_ split: String, rate: Int, ifMatch: UInt64? = nil) throws(Problem) -> (changed: Bool, revision: UInt64) {
        try exclusively(ifMatch) { () throws(Problem) in
            try expectSplit(split)
            if holds.removeValue(forKey: split) == nil { return (false, current) }
            let each = max(1, rate / max(1, workers.count))
            for worker in workers { worker.mailbox.post(.releaseRate(each)) }
            show(try pools.build(state, over: routes, publication(current)))
            events.emit(.released, revision: current, subject: split, text: "requests of split \(split) go on")
            return (true, current)
        }
    }

    /// What a hold or a release would do to pools and splits: nothing.
    package func planHold(_ split: String, ifMatch: UInt64? = nil) throws(Problem) -> Plan {
        try exclusively(ifMatch) { () throws(Problem) in
            try expectSplit(split)
            return try planned(state, over: routes)
        }
    }

    private func expectSplit(_ name: String) throws(Problem) { _ = try state.split(named: name) }

    // MARK: Drains

    /// Servers of the upstream take nothing new, and what lives long on them is ended: tunnels and event streams evenly over
    /// `durationMs`, downloads at its end. Where all are drained already there is no new revision, but the time begins anew.
    package func drain(_ upstream: String, durationMs: Int64, by author: Author, ifMatch: UInt64? = nil) throws(Problem) -> Accepted {
        try exclusively(ifMatch) { () throws(Problem) in
            let accepted = try accept(StateChange.drainUpstream(upstream).applied(to: state), .change, author)
            for worker in workers { worker.mailbox.post(.drain(upstream, durationMs: durationMs)) }
            events.emit(.drainBegan, revision: current, subject: upstream, text: "upstream \(upstream) is drained")
            return accepted
        }
    }
}
