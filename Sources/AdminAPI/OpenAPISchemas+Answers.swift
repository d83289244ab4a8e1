// The schemas of answers: of the whole state, the history, receipts, status, events and problems.
// Names of members are those of the `+JSON` codecs; tests hold the two against each other.

extension OpenAPISchemas {
    static let answers: [String: JSON] = ofWrites.merging(ofHistory) { first, _ in first }.merging(ofMoment) { first, _ in first }
        .merging(ofCertificates) { first, _ in first }.merging(ofRollouts) { first, _ in first }

    private static let ofCertificates: [String: JSON] = [
        "Certificate": object("A certificate that clients are shown.", certificate),
        "CertificateWithChain": object(
            "A certificate that clients are shown, with those behind it.", certificate,
            and: ["chain": list(reference("ChainCertificate"), "In the order they are sent, its own first.")]),
        "CertificateList": object("Sorted by name.", ["revision": count(), "certificates": list(reference("Certificate"))]),
        "ChainCertificate": object("One certificate of a chain.", ofOne),
        "CertificateServer": object("A server that shows it.", ["names": list(type("string"), "As in server_name."), "listen": list(type("string"))]),
        "CertificateAccepted": object(
            "A certificate was replaced.", accepted, and: ["warnings": list(type("string"), "What is odd about it, and was taken all the same.")]),
        "CertificateStatus": object(
            "When it expires.",
            [
                "not_after": moment("Its last moment."), "days_left": type("integer", "Whole days until then, rounded down; below 0: it has expired."),
                "seconds_left": type("integer"), "source": words(["file", "run-time"]),
            ]),
        "ReplacedCertificate": object(
            "A certificate that was put at run time.",
            [
                "fingerprint": text("SHA-256 of the certificate."), "chain": text("SHA-256 of the fingerprints of its chain."),
                "replaces": text("The chain that the file had."), "not_after": moment("Its last moment."),
            ]),
    ]

    private static let ofOne: KeyValuePairs<String, JSON> = [
        "subject": text("RFC 2253."), "issuer": text(), "serial": text("Hexadecimal."), "fingerprint": text("SHA-256, hexadecimal."),
        "not_before": moment("Its first moment."), "not_after": moment("Its last moment."),
    ]

    private static let certificate: KeyValuePairs<String, JSON> = [
        "name": text("By which it is replaced."), "source": words(["file", "run-time"], "What is shown: the file's, or what was put."),
        "file": text("ssl_certificate."), "subject": text("RFC 2253."), "issuer": text(), "serial": text("Hexadecimal."),
        "names": list(type("string"), "Subject alternative names."), "not_before": moment("Its first moment."), "not_after": moment("Its last moment."),
        "days_left": type("integer", "Whole days, rounded down; below 0: it has expired."), "fingerprint": text("SHA-256, hexadecimal."),
        "key_type": text("RSA 2048, EC prime256v1."), "servers": list(reference("CertificateServer")),
        "warnings": list(type("string")),
    ]

    private static let upstreams = map(reference("Upstream"))
    private static let splits = map(reference("Split"))
    private static let state = words(
        ["up", "failed", "ejected", "unhealthy", "unchecked", "starting", "down", "drain", "busy", "unknown"], "Its condition now.")

    private static let accepted: KeyValuePairs<String, JSON> = [
        "revision": count("The one that is current now."),
        "previous": orNull("integer", "The one that was before; the same when nothing changed."),
        "changed": type("boolean"), "summary": text("One line."), "reason": text(),
    ]

    private static let ofWrites: [String: JSON] = [
        "Accepted": object("A write was done.", accepted),
        "Reloaded": object(
            "The configuration was read anew.", accepted,
            and: ["warnings": list(type("string"), "What is odd in it, what counts from the next start on, and conflicts with what runs.")]),
        "Drained": object(
            "How far a drain is.", accepted,
            and: ["drained": type("boolean", "Nothing is in flight."), "in_flight": count("Requests on servers of the upstream.")]),
        "Difference": object(
            "What two states have not alike.",
            [
                "kind": words(["added", "removed", "changed"]), "pointer": text("RFC 6901, in the whole state; servers by address."),
                "from": .members(["description": "Any value."]), "to": .members(["description": "Any value."]),
            ], required: ["kind", "pointer"]),
        "PlannedServer": object("A server that would be there.", ["upstream": text(), "server": text(), "state": state]),
        "Plan": object(
            "What a write would do.",
            [
                "revision": count("The plan is made against this one."), "differences": list(reference("Difference")),
                "servers": list(reference("PlannedServer")), "in_flight_on_leaving": count("Requests on servers that would take no new ones."),
                "long_lived_on_leaving": count("Tunnels among them."),
                "users_that_move": map(type("number"), "Users that would get another variant, in percent, by split."),
                "warnings": list(type("string")),
            ]),
        "Problem": object(
            "Why it is refused, RFC 9457.",
            [
                "type": words(Problem.Kind.allCases.map { "/problems/" + $0.rawValue }), "title": text(), "status": integer("", 400...599),
                "detail": text("What was found, what was expected."), "hint": text("What to do about it."),
                "pointer": text("RFC 6901, of the field in the body."), "revision": count("The one that is current."),
            ], required: ["type", "title", "status", "detail"]),
    ]

    private static let revision: KeyValuePairs<String, JSON> = [
        "revision": count(), "kind": words(Revision.Kind.allCases.map(\.rawValue)), "at": moment("When it was accepted."), "who": text(),
        "reason": text(), "summary": text("One line."), "previous": orNull("integer", "What an undo goes back to."),
        "restores": count("The revision whose state it took."),
    ]
    private static let revisionAlways = ["revision", "kind", "at", "who", "reason", "summary", "previous"]

    private static let ofHistory: [String: JSON] = [
        "State": object("All pools and splits that run.", ["revision": count(), "upstreams": upstreams, "splits": splits]),
        "ServerList": object("The servers of an upstream.", ["revision": count(), "servers": list(reference("Server"))]),
        "Revision": object("One accepted change.", revision, required: revisionAlways),
        "RevisionWithState": object(
            "One accepted change with the state it made.", revision,
            and: ["upstreams": upstreams, "splits": splits, "certificates": map(reference("ReplacedCertificate"), "Left out: the files' alone.")],
            required: revisionAlways + ["upstreams", "splits"]),
        "RevisionList": object("Newest first.", ["revision": count("The current one."), "revisions": list(reference("Revision"))]),
        "DifferenceList": object(
            "How two revisions differ.", ["from": count(), "to": count(), "differences": list(reference("Difference"))]),
    ]

    private static let ofMoment: [String: JSON] = [
        "RequestAccount": object(
            "What became of requests: started is the sum of the others.",
            [
                "started": count(), "completed": count(), "aborted_by_client": count(), "failed_by_upstream": count(), "failed_by_proxy": count(),
                "moved": count("Went on under a later revision."), "in_flight": count(),
            ]),
        "Receipt": object(
            "The account of a change.",
            [
                "revision": count(), "reason": text(), "who": text(), "at": moment("When it was accepted."), "before": reference("RequestAccount"),
                "after": reference("RequestAccount"), "carried": reference("RequestAccount"), "tunnels_carried": count(), "held": count(),
                "retried": count(), "inner": count("Requests made within requests, counted nowhere else."),
                "mirrors_dropped": count("Mirrored requests that were not made: too many were under way."), "closed_by_client": count(), "closed_by_proxy": count(), "closed_by_drain": count(),
                "visible_after_us": orNull("integer", "Microseconds until every worker served by it."), "workers": count(),
                "slowest_drain_ms": orNull("integer", "Milliseconds until the last earlier request had ended."),
                "final": type("boolean", "The figures will not change."), "balances": type("boolean", "Every request is accounted for."),
            ]),
        "ServerStatus": object(
            "A server at this moment.",
            [
                "id": type("integer"), "server": text(), "weight": count(), "backup": type("boolean"), "state": state, "in_flight": count(),
                "requests": count("Tries given to it."), "failures": count("Those that failed."), "errors": count("Its answers 5xx."),
                "answers": map(count(), "By class: 1xx, 2xx, 3xx, 4xx, 5xx."), "health": reference("ServerHealth"),
            ], required: ["id", "server", "weight", "backup", "state", "in_flight", "requests", "failures", "errors", "answers"]),
        "ServerHealth": object(
            "What health checks say of a server.",
            [
                "state": words(ServerHealth.State.allCases.map(\.rawValue)), "why": text("Left out: it is well."), "since": moment("Of its state."),
                "checks": count("Of all gates."), "fails": count("Those that failed."), "unhealthy": count("How often it became so."),
                "last_passed": type("boolean"), "gates": list(reference("ServerGate")),
            ], required: ["state", "checks", "fails", "unhealthy", "gates"]),
        "ServerGate": object(
            "One health check at one server.",
            [
                "name": text(), "state": words(ServerGate.State.allCases.map(\.rawValue)), "failed_in_row": count(), "last_passed": type("boolean"),
                "at": moment("Of the last result."), "why": text("Why it failed."),
            ], required: ["name", "state", "failed_in_row"]),
        "UpstreamHealth": object(
            "What health checks say of a pool.",
            [
                "healthy": count("Servers that pass all gates."), "total": count("That are asked."), "gates": list(reference("Gate")),
                "failed_in_row": count("Failures in a row of the server that does worst."),
                "failed_rounds": count("Rounds in a row in which no server passed."),
            ]),
        "Gate": object(
            "One health check at all servers of a pool.",
            [
                "name": text(), "passing": count(), "failing": count(), "checking": count("Not well yet."),
                "failed_in_row": count("Of the server that does worst."), "failed_rounds": count("Of the server that does best."),
                "why": text("Why the one that does worst fails."),
            ], required: ["name", "passing", "failing", "checking", "failed_in_row", "failed_rounds"]),
        "QueueStatus": object(
            "Requests that wait for a server.",
            [
                "size": count("They."), "max_size": count("How many may."), "overflows": count("Refused because it was full."),
                "timeouts": count("Refused because they had waited too long."),
            ]),
        "UpstreamStatus": object(
            "A pool at this moment.",
            [
                "servers": list(reference("ServerStatus")), "queue": reference("QueueStatus"), "health": reference("UpstreamHealth"),
                "panic": type("boolean", "Too few servers are healthy: all are used."), "panics": count("How often that began."),
                "ejections": count("Of servers that did worse than their siblings."),
                "retries_refused": count("Requests not tried at a further server: the budget was spent."),
                "requests_refused": count("By the circuit breaker."),
                "retries": count("Requests tried at a further server now, where a budget bounds them."),
            ], required: ["servers", "panic", "panics", "ejections", "retries", "retries_refused", "requests_refused"]),
        "SplitStatus": object(
            "A split at this moment.",
            ["weights": map(count()), "held": type("boolean", "New requests wait."), "holding": count("Requests that wait now."),
             "shadow": reference("ShadowStatus")], required: ["weights", "held", "holding"]),
        "ShadowStatus": object(
            "Answers to requests that were sent twice, compared with what the client got, since the process began.",
            [
                "compared": count("Of the variant that is tried."), "differing": count(), "compared_old": count("Of the client's own variant."),
                "differing_old": count("The noise."),
            ]),
        "Status": object(
            "The proxy at this moment.",
            [
                "version": text(), "revision": count(), "process_id": count(), "started_at": moment("Of the process."), "now": moment("Of the proxy."),
                "workers": count(), "connections": count("Of clients."), "requests": reference("RequestAccount"),
                "upstreams": map(reference("UpstreamStatus")), "splits": map(reference("SplitStatus")),
                "certificates": map(reference("CertificateStatus"), "Those that clients are shown."),
                "journal": text("on, off, or why it cannot be written."),
            ]),
        "Event": object(
            "Something that happened.",
            [
                "id": count("Counts from 1 in a process."), "kind": words(Event.Kind.allCases.map(\.rawValue)), "at": moment("When."),
                "revision": count("The one that was current."), "subject": text("An upstream, a split, a server or a certificate."), "text": text("One line."),
                "upstream": text("Of the kind health, as what follows."), "server": text(), "state": text(), "why": text(),
            ], required: ["id", "kind", "at", "revision", "subject", "text"]),
        "Index": object("What there is.", ["product": text(), "version": text(), "revision": count(), "links": map(text())]),
        "Document": type("object", "An OpenAPI document."),
    ]
}
