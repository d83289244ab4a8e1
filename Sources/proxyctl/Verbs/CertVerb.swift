// `proxyctl cert list|show|put|delete`: the certificates that clients are shown.

import AdminAPI
import ArgumentParser

struct CertVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cert", abstract: "See the certificates that clients are shown, and replace one without a reload.",
        subcommands: [CertListVerb.self, CertShowVerb.self, CertPutVerb.self, CertDeleteVerb.self])
}

struct CertListVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List them: what they are good for, until when, who shows them.")

    @OptionGroup var server: ServerOptions

    func run() throws {
        let answer = try server.client().send(AdminRequest("GET", ["certificates"])).orProblem()
        if server.json { return Output.document(answer.body) }
        let list = try answer.list(of: CertificateInfo.self, named: "certificates")
        Output.lines(CertText.lines(list, isColoured: Output.isColoured))
    }
}

struct CertShowVerb: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one with its chain.")

    @Argument(help: "A name of `proxyctl cert list`.", completion: Completions.certificates)
    var name: String

    @OptionGroup var server: ServerOptions

    func run() throws {
        let answer = try server.client().send(AdminRequest("GET", ["certificates", name])).orProblem()
        if server.json { return Output.document(answer.body) }
        Output.lines(CertText.lines(try answer.decoded(CertificateInfo.self), isColoured: Output.isColoured))
    }
}

struct CertPutVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "put", abstract: "Show another certificate instead of the file's, from the next handshake on.",
        discussion: """
            Open connections go on. A pair that does not match or has expired is refused.
              proxyctl cert put example.com --cert fullchain.pem --key privkey.pem
            """)

    @Argument(help: "A name of `proxyctl cert list`.", completion: Completions.certificates)
    var name: String

    @Option(help: ArgumentHelp("PEM: the certificate, and behind it those that lead to a root. `-` is standard input.", valueName: "file"), completion: .file())
    var cert: String

    @Option(help: ArgumentHelp("PEM: its key, without a password.", valueName: "file"), completion: .file())
    var key: String

    @OptionGroup var write: WriteOptions

    func validate() throws {
        if cert == "-", key == "-" { throw ValidationError("--cert and --key cannot both be standard input") }
    }

    func run() throws {
        var request = write.request("PUT", ["certificates", name])
        let certificate = String(decoding: try TextFile.read(cert), as: UTF8.self)
        let body = CertificateWrite(certificate: certificate, key: String(decoding: try TextFile.read(key), as: UTF8.self))
        request.body = body.json.bytes(pretty: false)
        try write.perform(request, try write.server.client())
    }
}

struct CertDeleteVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Show the file's certificate again, as the last reload found it.")

    @Argument(help: "A name of `proxyctl cert list`.", completion: Completions.certificates)
    var name: String

    @OptionGroup var write: WriteOptions

    func run() throws { try write.perform(write.request("DELETE", ["certificates", name]), try write.server.client()) }
}

enum CertText {
    /// By the days that are left.
    static func style(_ daysLeft: Int) -> Style { daysLeft < 1 ? .red : daysLeft < 30 ? .yellow : .plain }

    static func left(_ days: Int) -> String { days < 0 ? "expired" : days == 0 ? "today" : days == 1 ? "1 day" : "\(days) days" }

    static func lines(_ list: [CertificateInfo], isColoured: Bool) -> [String] {
        if list.isEmpty { return ["No server shows a certificate."] }
        var table = Table([.left("NAME"), .left("GOOD FOR"), .left("EXPIRES"), .right("LEFT"), .left("KEY"), .left("FROM"), .left("")])
        for one in list {
            let names = one.names.prefix(3).joined(separator: " ") + (one.names.count > 3 ? " and \(one.names.count - 3) more" : "")
            table.rows.append([
                Cell(one.name, .bold), Cell(names), Cell(one.chain.first.map { Words.moment(ms: $0.notAfterMs) } ?? "-"),
                Cell(left(one.daysLeft), style(one.daysLeft)), Cell(one.keyType), Cell(one.source.rawValue),
                Cell(one.warnings.joined(separator: "; "), .yellow),
            ])
        }
        return table.lines(isColoured: isColoured)
    }

    static func lines(_ one: CertificateInfo, isColoured: Bool) -> [String] {
        var table = Table([.left(""), .left("")], hasTitles: false)
        func row(_ title: String, _ text: String, _ style: Style = .plain) { table.rows.append([Cell(title, .dim), Cell(text, style)]) }
        row("name", one.name, .bold)
        row("shown", one.source == .file ? "the file's" : "put at run time; `proxyctl cert delete` goes back to the file's")
        row("file", one.file)
        row("good for", one.names.joined(separator: " "))
        row("key", one.keyType)
        row("left", left(one.daysLeft), style(one.daysLeft))
        for server in one.servers { row("server", server.names.joined(separator: " ") + " on " + server.listen.joined(separator: " ")) }
        for (i, link) in one.chain.enumerated() {
            row(i == 0 ? "certificate" : "behind it", link.subject)
            row("  issued by", link.issuer)
            row("  serial", link.serial)
            row("  valid", Words.moment(ms: link.notBeforeMs) + " to " + Words.moment(ms: link.notAfterMs))
            row("  SHA-256", link.fingerprint)
        }
        for warning in one.warnings { row("warning", warning, .yellow) }
        return table.lines(isColoured: isColoured)
    }
}
