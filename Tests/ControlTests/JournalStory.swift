// A story of changes that uses every kind of record, and what the tests of the journal ask of it.

import AdminAPI

@testable import Control

/// One step: a revision with its state, or the file alone.
struct Chapter: Equatable {
    var revision: Revision?
    var state: ProxyState
    var fileState: ProxyState?
}

enum Story {
    static func server(_ id: Int, _ address: String, weight: Int = 1) -> ServerState {
        var server = ServerState(server: address)
        server.id = id
        server.weight = weight
        return server
    }

    static func pool(_ servers: [ServerState]) -> UpstreamState {
        var pool = UpstreamState(servers: servers)
        pool.nextServerID = (servers.map(\.id).max() ?? -1) + 1
        return pool
    }

    static func revision(_ number: UInt64, _ kind: Revision.Kind = .change, restores: UInt64? = nil) -> Revision {
        Revision(
            number: number, kind: kind, atMs: 1_700_000_000_123 + Int64(number), who: "ada", reason: "rel \"\(number)\"\n",
            summary: "step \(number)", restores: restores, previous: number > 1 ? number - 1 : nil)
    }

    /// Ten steps; the last but one is the file alone.
    static let chapters: [Chapter] = {
        var state = ProxyState()
        state.upstreams["blue"] = pool([server(0, "a:1"), server(1, "b:1"), server(2, "c:1"), server(3, "unix:/run/d")])
        state.upstreams["green"] = pool([server(0, "[::1]:2")])
        state.splits["app"] = SplitState(weights: ["blue": 95, "green": 5], key: ["$cookie_sid"], force: "$arg_v")
        let file = state
        var story = [Chapter(revision: revision(1, .start), state: state, fileState: file)]
        func then(_ kind: Revision.Kind = .change, restores: UInt64? = nil, file: ProxyState? = nil, _ change: (inout ProxyState) -> Void) {
            change(&state)
            let number = UInt64(story.count + 1)
            story.append(Chapter(revision: revision(number, kind, restores: restores), state: state, fileState: file))
        }
        then { $0.splits["app"]?.weights["green"] = 50 }
        then { $0.upstreams["blue"]?.servers[1].weight = 0 }
        then {
            $0.upstreams["blue"]?.servers.remove(at: 0)
            $0.upstreams["blue"]?.servers.append(server(4, "e:1"))
            $0.upstreams["blue"]?.nextServerID = 5
        }
        then {
            $0.splits["app"] = nil
            $0.upstreams["green"] = nil
            $0.upstreams["blue"]?.balance = "hash $uri consistent"
            $0.upstreams["blue"]?.keepalive = 0
        }
        then(.undo, restores: 4) { $0 = story[3].state }
        var second = file
        second.upstreams["red"] = pool([server(0, "é:3")])
        then(.reload, file: second) { $0.upstreams["red"] = second.upstreams["red"] }
        then { $0.upstreams["blue"]?.servers.reverse() }
        var third = second
        third.splits["other"] = SplitState(weights: ["blue": 1])
        story.append(Chapter(revision: nil, state: state, fileState: third))
        then(.restore, restores: 1) { $0 = story[0].state }
        return story
    }()

    /// State and file after the first `n` chapters.
    static func told(_ n: Int) -> (state: ProxyState?, fileState: ProxyState?) {
        (chapters.prefix(n).last?.state, chapters.prefix(n).last { $0.fileState != nil }?.fileState)
    }
}

extension Journal {
    func append(_ chapter: Chapter) throws(JournalFailure) {
        if let revision = chapter.revision {
            try append(revision, state: chapter.state, fileState: chapter.fileState)
        } else if let fileState = chapter.fileState {
            try append(fileState: fileState)
        }
    }

    static func open(_ disk: MemoryDisk, limits: ControlLimits = ControlLimits()) throws(JournalFailure) -> (journal: Journal, replay: Replay) {
        try open(JournalStorage(disk), limits: limits)
    }
}

extension MemoryDisk {
    /// A journal of the whole story, and its size after the header and after each chapter.
    static func told() throws -> (bytes: [UInt8], ends: [Int]) {
        let disk = MemoryDisk()
        let journal = try Journal.open(disk).journal
        var ends = [disk.bytes("journal")?.count ?? 0]
        for chapter in Story.chapters {
            try journal.append(chapter)
            ends.append(disk.bytes("journal")?.count ?? 0)
        }
        return (disk.bytes("journal") ?? [], ends)
    }
}
