// `proxyctl failover primary|secondary`: moves everything to the other of two sites, by hand, or shows what that would do.

import AdminAPI
import ArgumentParser

struct FailoverVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "failover", abstract: "Send everything to the primary or the secondary site; --drill only shows it.",
        discussion: """
            The sites are two variants of a split, or the servers of one upstream: those without and those with `backup`, which
            also take over by themselves when the others are gone. A site with no server that is up is refused, unless --force.
              proxyctl failover secondary --reason "fire drill" --wait
              proxyctl failover --drill
            """)

    enum Site: String, ExpressibleByArgument, CaseIterable {
        case primary, secondary
        var other: Site { self == .primary ? .secondary : .primary }
    }

    @Argument(help: "Where to; with --drill it may be left out: the one that does not serve.")
    var site: Site?

    @Flag(help: "Change nothing: show the health of both sites, and what would change.")
    var drill = false

    @Option(
        help: ArgumentHelp("The variant that is the primary site, if it is not called so.", valueName: "variant"), completion: Completions.variants)
    var primary: String?

    @Option(
        help: ArgumentHelp("The variant that is the secondary one, if it is not called so.", valueName: "variant"), completion: Completions.variants)
    var secondary: String?

    @Option(help: "The split, where several have both.", completion: Completions.splits)
    var split: String?

    @Option(help: "An upstream with backup servers, instead of a split.", completion: Completions.upstreams)
    var upstream: String?

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var write: WriteOptions

    func validate() throws {
        if site == nil, !drill { throw ValidationError("say where to: primary or secondary; or --drill") }
        if split != nil, upstream != nil { throw ValidationError("--split and --upstream exclude each other") }
        if primary != nil || secondary != nil, upstream != nil {
            throw ValidationError("--primary and --secondary name variants of a split; the sites of an --upstream have no names")
        }
    }

    func run() throws {
        let client = try write.server.client()
        let answer = try client.send(AdminRequest("GET", ["upstreams"])).orProblem()
        let status = try client.send(AdminRequest("GET", ["status"])).orProblem().decoded(Status.self)
        let sites = try Sites(try answer.json, status, self)
        let target = site ?? sites.serving.other
        if !write.server.json { Output.lines(sites.lines(target)) }
        let isWell = sites.health(target).up > 0
        if !isWell, !write.force, !drill {
            throw Failure(
                .refused, "no server of the \(target.rawValue) site is up: nothing was changed",
                hint: "--force sends everything there all the same.")
        }
        let next = sites.state(serving: target)
        if next == sites.json {
            if !write.server.json { Output.line("Everything goes to the \(target.rawValue) site already.") }
        } else {
            var write = self.write
            write.dryRun = write.dryRun || drill
            if write.reason == nil { write.reason = "failover to \(target.rawValue)" }
            var request = write.request("PUT", ["upstreams"], readAt: answer.revision)
            request.body = next.bytes(pretty: false)
            let written = try write.perform(request, client)
            if !drill { try waiting.finish(written, write.server, client) }
        }
        if drill, !isWell {
            throw Failure(.refused, "a failover to the \(target.rawValue) site would be refused: no server of it is up")
        }
    }
}

extension ServerStatus {
    /// It takes requests, or would but for how many it has.
    var isUp: Bool { ["up", "busy", "starting"].contains(state) }
}

/// Two sites, as the running proxy has them.
private struct Sites {
    typealias Site = FailoverVerb.Site
    enum Kind {
        case split(String, primary: String, secondary: String)
        case upstream(String)
    }
    let json: JSON
    let status: Status
    let kind: Kind

    init(_ json: JSON, _ status: Status, _ verb: FailoverVerb) throws(Failure) {
        self.json = json
        self.status = status
        let (primary, secondary) = (verb.primary ?? "primary", verb.secondary ?? "secondary")
        let splits = (json["splits"]?.object ?? []).filter { split in
            let weights = split.value["weights"]
            return weights?[primary] != nil && weights?[secondary] != nil && (verb.split == nil || verb.split == split.name)
        }
        // Who names a variant means a split. With a name that is wrong, servers of an upstream are not what is meant.
        let isOfSplit = verb.split != nil || verb.primary != nil || verb.secondary != nil
        let pools = (json["upstreams"]?.object ?? []).filter { pool in
            let servers = pool.value["servers"]?.array ?? []
            return servers.contains { $0["backup"]?.bool == true } && (verb.upstream == nil || verb.upstream == pool.name)
        }
        if verb.upstream == nil, let one = splits.first, splits.count == 1 {
            kind = .split(one.name, primary: primary, secondary: secondary)
        } else if !isOfSplit, verb.upstream != nil || splits.isEmpty, let one = pools.first, pools.count == 1 {
            kind = .upstream(one.name)
        } else {
            let count = splits.count + (isOfSplit ? 0 : pools.count)
            throw Failure(
                .usage,
                count == 0
                    ? "there are no two sites: no split with the variants \(primary) and \(secondary)"
                        + (isOfSplit ? "" : ", no upstream with backup servers")
                    : "there are several pairs of sites",
                hint: "--primary and --secondary name variants of a split, --split or --upstream says which.")
        }
    }

    private func isBackup(_ site: Site) -> Bool { site == .secondary }

    private func servers(_ site: Site) -> [ServerStatus] {
        switch kind {
        case .split(_, let primary, let secondary):
            let name = site == .primary ? primary : secondary
            // A backup may be the other site's.
            return (status.upstreams.first { $0.name == name }?.servers ?? []).filter { !$0.backup }
        case .upstream(let name):
            return (status.upstreams.first { $0.name == name }?.servers ?? []).filter { $0.backup == isBackup(site) }
        }
    }

    /// Servers that we took down ourselves would be up again.
    func health(_ site: Site) -> (up: Int, all: Int, inFlight: Int) {
        let all = servers(site)
        var isDownGood = false
        if case .upstream = kind { isDownGood = true }
        return (all.count { $0.isUp || isDownGood && $0.state == "down" }, all.count, all.reduce(0) { $0 + $1.inFlight })
    }

    var serving: Site {
        switch kind {
        case .split(let split, let primary, let secondary):
            let weights = json["splits"]?[split]?["weights"]
            return weights?[primary]?.integer ?? 0 >= weights?[secondary]?.integer ?? 0 ? .primary : .secondary
        case .upstream:
            return servers(.primary).contains { $0.state != "down" } ? .primary : .secondary
        }
    }

    /// The whole state with everything at one site.
    func state(serving site: Site) -> JSON {
        switch kind {
        case .split(let split, let primary, let secondary):
            return json.mapping("splits") { name, value in
                guard name == split, let weights = value["weights"]?.object else { return value }
                let target = site == .primary ? primary : secondary
                return value.setting("weights", .object(weights.map { JSON.Member($0.name, $0.name == target ? 100 : 0) }))
            }
        case .upstream(let name):
            // Backup servers serve when all the others are down.
            return json.mapping("upstreams") { pool, value in
                guard pool == name, let servers = value["servers"]?.array else { return value }
                return value.setting(
                    "servers",
                    .array(servers.map { $0["backup"]?.bool == true ? $0 : $0.setting("down", .bool(site == .secondary)) }))
            }
        }
    }

    func lines(_ target: Site) -> [String] {
        var table = Table([.left("SITE"), .left("SERVERS UP"), .right("IN FLIGHT"), .left("")])
        for site in Site.allCases {
            let (up, all, inFlight) = health(site)
            let words = (site == serving ? "serves" : "") + (site == target ? (site == serving ? ", " : "") + "is to serve" : "")
            table.rows.append([
                Cell(site.rawValue, .bold), Cell("\(up) of \(all)", up > 0 ? .green : .red), Cell(inFlight), Cell(words),
            ])
        }
        return table.lines(isColoured: Output.isColoured)
    }
}
