// Fuzz target of `AdminAPI`: bodies of writes, one a line behind a letter that says of what, change a state one after the other.
// Built and run by Tests/Fuzz/run with libFuzzer; the corpus is in corpus/StateWriteFuzz. It checks what must hold.

#if canImport(AdminAPI)
    import AdminAPI
#endif

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzStateWrite(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let base = sample()
    var state = base
    var other = base
    for (i, line) in UnsafeBufferPointer(start: start, count: count).split(separator: 0x0A).prefix(8).enumerated() {
        guard let next = written(Array(line), on: state) else { continue }
        checkState(next, after: state)
        // A reload in between: the file says what stood there before, or what is written now.
        if i % 2 == 0 { other = next }
        for preferringFile in [false, true] {
            checkState(merge(base: base, file: other, running: next, preferringFile: preferringFile).merged, after: next)
            checkState(merge(base: state, file: base, running: next, preferringFile: preferringFile).merged, after: next)
        }
        state = next
    }
    return 0
}

private func sample() -> ProxyState {
    var blue = UpstreamState(servers: [ServerState(server: "127.0.0.1:3001"), ServerState(server: "app.example:80")])
    blue.servers[1].backup = true
    let green = UpstreamState(servers: [ServerState(server: "127.0.0.1:3002")])
    let state = ProxyState(upstreams: ["blue": blue, "green": green], splits: ["app": SplitState(weights: ["blue": 90, "green": 10])])
    return state.numbered(after: ProxyState())
}

/// The state with the write; nil: it was refused, and says why.
private func written(_ line: [UInt8], on state: ProxyState) -> ProxyState? {
    let body = Array(line.dropFirst())
    do throws(Problem) {
        let change: StateChange
        switch line[0] {
        case UInt8(ascii: "u"):
            let write = try StateWrite(body: body)
            checkTwin(write)
            change = .replaceAll(upstreams: write.upstreams, splits: write.splits)
        case UInt8(ascii: "p"):
            let write = try UpstreamWrite(body: body)
            checkTwin(write)
            change = .putUpstream("blue", write.upstream)
        case UInt8(ascii: "a"):
            let write = try ServerWrite(body: body)
            checkTwin(write)
            change = .addServer(upstream: "green", write.server)
        case UInt8(ascii: "s"):
            let patch = try ServerPatch(body: body)
            checkTwin(patch)
            change = .patchServer(upstream: "green", .id(0), patch)
        case UInt8(ascii: "w"):
            let patch = try WeightsPatch(body: body)
            checkTwin(patch)
            change = .setWeights(split: "app", patch.weights)
        case UInt8(ascii: "x"):
            let write = try SplitWrite(body: body)
            checkTwin(write)
            change = .putSplit("app", write.split)
        case UInt8(ascii: "d"): change = .deleteUpstream("green")
        case UInt8(ascii: "r"): change = .removeServer(upstream: "blue", .address(String(decoding: body, as: UTF8.self)))
        default: return nil
        }
        let next = try change.applied(to: state)
        // Said twice it is said once, but for what comes or goes by it: another address is another server.
        switch change {
        case .addServer, .deleteUpstream, .removeServer: break
        case .patchServer(_, _, let patch) where patch.server != nil: break
        default: require((try? change.applied(to: next)) == next, "a write repeated changes something")
        }
        return next
    } catch {
        checkProblem(error, body)
        return nil
    }
}

/// What is written is read as the same.
private func checkTwin<Body: JSONCodable & Equatable>(_ body: Body) {
    let text = Array(body.json.text(pretty: false).utf8)
    require((try? Body(body: text)) == body, "another body comes back: \(body.json.text(pretty: false))")
}

private func checkState(_ state: ProxyState, after old: ProxyState) {
    for (name, upstream) in state.upstreams {
        let ids = upstream.servers.map(\.id)
        require(Set(ids).count == ids.count && ids.allSatisfy { $0 >= 0 && $0 < upstream.nextServerID }, "ids of \(name): \(ids)")
        let before = old.upstreams[name]?.nextServerID ?? 0
        require(upstream.nextServerID >= before, "a number of a server is given twice")
        for server in upstream.servers {
            require((server.ipv4 != 0) == (ServerAddress.normalIPv4(server.server) != nil), "the number of \(server.server)")
        }
    }
    do throws(Problem) { try StateRules.check(state) } catch { fatalError("the rules refuse what came of a write: \(error)") }
    let json = state.json(as: .journal)
    require((try? ProxyState(json: json, as: .journal)) == state, "another state comes back: \(json.text(pretty: false))")
    let said = summary(from: old, to: state)
    require(!said.isEmpty && said.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "no line: \(said)")
    require((said == noChange) == differences(from: old, to: state).isEmpty, "differences and \(said)")
    require(differences(from: state, to: state).isEmpty)
}

/// It has words, and points at something that is there or could be.
private func checkProblem(_ problem: Problem, _ body: [UInt8]) {
    require(!problem.detail.isEmpty && problem.status >= 400, "no words")
    require(problem.json.text(pretty: false).utf8.allSatisfy { $0 >= 0x20 }, "not one line")
    guard let pointer = problem.pointer else { return }
    require(JSONPointer(pointer) != nil, "no pointer: \(pointer)")
}

private func require(_ holds: Bool, _ what: @autoclosure () -> String = "it does not hold", line: UInt = #line) {
    if !holds { fatalError("\(what()) (line \(line))") }
}
