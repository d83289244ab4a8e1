// The JSON of the admin API as JSON Schema (2020-12, the dialect of OpenAPI 3.1): what bodies may hold.
// Tests hold these against the codecs, both ways. Schemas of answers stand in `OpenAPISchemas+Answers`.

public enum OpenAPISchemas {
    /// By name, as `#/components/schemas/NAME`.
    public static let all: [String: JSON] = bodies.merging(answers) { first, _ in first }.merging(rolloutBodies) { first, _ in first }

    public static func reference(_ name: String) -> JSON { .members(["$ref": .string("#/components/schemas/" + name)]) }

    // MARK: Words to make schemas of

    static func type(_ name: String, _ about: String = "", _ more: KeyValuePairs<String, JSON?> = [:]) -> JSON {
        JSON.members(more).merging(.members(["description": about.isEmpty ? nil : .string(about), "type": .string(name)]))
    }

    static func orNull(_ name: String, _ about: String) -> JSON {
        .members(["description": .string(about), "type": .array([.string(name), "null"])])
    }

    static func integer(_ about: String = "", _ range: ClosedRange<Int>, default value: Int? = nil) -> JSON {
        type(
            "integer", about,
            [
                "default": value.map { .integer(Int64($0)) }, "maximum": range.upperBound == .max ? nil : .integer(Int64(range.upperBound)),
                "minimum": .integer(Int64(range.lowerBound)),
            ])
    }

    static func count(_ about: String = "") -> JSON { integer(about, 0...(.max)) }
    static func flag(_ about: String, default value: Bool = false) -> JSON { type("boolean", about, ["default": .bool(value)]) }
    static func text(_ about: String = "", default value: String? = nil) -> JSON { type("string", about, ["default": value.map { .string($0) }]) }
    static func moment(_ about: String) -> JSON { type("string", about, ["format": "date-time"]) }
    static func list(_ items: JSON, _ about: String = "") -> JSON { type("array", about, ["items": items]) }
    static func map(_ values: JSON, _ about: String = "") -> JSON { type("object", about, ["additionalProperties": values]) }
    static func words(_ words: [String], _ about: String = "") -> JSON { type("string", about, ["enum": .array(words.map { .string($0) })]) }

    /// `30s`; a whole number is seconds.
    public static func time(_ about: String, default value: String? = nil) -> JSON {
        .members([
            "default": value.map { .string($0) }, "description": .string(about), "examples": ["30s", "1m30s"], "type": ["string", "integer"],
        ])
    }

    /// - Parameters:
    ///   - more: further properties.
    ///   - required: nil: all of them.
    static func object(
        _ about: String, _ properties: KeyValuePairs<String, JSON>, and more: KeyValuePairs<String, JSON> = [:], required: [String]? = nil
    ) -> JSON {
        let properties = Array(properties) + Array(more)
        let names = (required ?? properties.map(\.key)).sorted()
        return type(
            "object", about,
            [
                "additionalProperties": false, "properties": .object(properties.map { JSON.Member($0.key, $0.value) }.sorted { $0.name < $1.name }),
                "required": names.isEmpty ? nil : .array(names.map { .string($0) }),
            ])
    }

    // MARK: Parameters

    public static let flag = words(["1", "true", "0", "false"])
    public static let reason = type("string", "", ["maxLength": 1000])
    public static func number(_ range: ClosedRange<Int>, default value: Int? = nil) -> JSON { integer("", range, default: value) }
    public static func choice(_ names: [String]) -> JSON { words(names) }

    // MARK: Pools and splits

    private static let states: [String: JSON] = [
        "Server": object(
            "One server of an upstream.",
            [
                "server": text("host:port, [IPv6]:port or unix:/path."),
                "weight": integer("Its share; 0: takes no new requests.", StateBounds.weight, default: 1),
                "max_conns": integer("Requests at once; 0: any number.", StateBounds.count, default: 0),
                "max_fails": integer("Failures within fail_timeout that take it out; 0: none do.", StateBounds.count, default: 1),
                "fail_timeout": time("In whole seconds.", default: "10s"),
                "slow_start": time("For so long the share of a new or recovered server grows; in whole seconds.", default: "0s"),
                "backup": flag("Serves when no other can."), "down": flag("Serves nobody."), "drain": flag("Takes no new requests."),
                "id": type("integer", "Given by the proxy; passed over in a write.", ["readOnly": true]),
                "health": reference("ServerHealth").merging(.members(["readOnly": true])),
            ], required: ["server"]),
        "Upstream": object(
            "A pool of servers.",
            [
                "balance": text("As the configuration has it: least_conn, hash $uri consistent.", default: "round_robin"),
                "health_checks": list(reference("HealthCheck"), "A server is well when it passes all of them; left out: nobody asks."),
                "keepalive": integer("Idle connections that each worker keeps; left out: the default.", StateBounds.keepalive),
                "keepalive_local": flag("Idle connections serve only the location that opened them."),
                "keepalive_requests": integer("Requests of one connection.", StateBounds.keepaliveRequests, default: 1000),
                "keepalive_time": time("The longest life of a connection.", default: "1h"),
                "keepalive_timeout": time("How long a connection may be idle.", default: "1m"),
                "circuit_breaker": text("As the configuration has it: max_requests=1000 max_pending=100; left out: none."),
                "outlier_detection": text("As the configuration has it; left out: nobody is ejected."),
                "panic_threshold": integer("Percent of healthy servers below which all are used.", StateBounds.percent),
                "queue": text("As the configuration has it: 100 timeout=10s; left out: none."),
                "retry_budget": text("As the configuration has it: 20% min=3; left out: none."),
                "servers": list(reference("Server")),
                "sticky": text("As the configuration has it behind the word sticky; left out: none."),
            ], required: ["servers"]),
        "HealthCheck": healthCheck, "HealthMatch": healthMatch, "Assign": object("Gives a visitor without a key one.", ["cookie": text("Its name."), "max_age": time("Of the cookie.")]),
        "Split": object(
            "A weighted choice among upstreams.",
            [
                "weights": map(integer("", StateBounds.weight), "By the name of an upstream; at least one above 0."),
                "key": list(type("string"), "Templates; the first that is not empty names the user. None: every request for itself."),
                "force": text("A template; when its value is the name of a variant, that is it."),
                "assign": reference("Assign"), "shadow": reference("Shadow"),
            ], required: ["weights"]),
        "Shadow": object(
            "Safe requests of a split go to another variant as well; its answers go nowhere and are compared.",
            [
                "to": text("The variant that is tried; it may have the weight 0."),
                "share": integer("Percent of the GET, HEAD and OPTIONS requests for other variants.", StateBounds.percent),
                "noise": integer("Percent of these that go to the client's own variant again.", StateBounds.percent),
                "headers": list(type("string"), "Fields that are compared besides status and body."),
            ], required: ["to"]),
    ]

    private static let healthCheck: JSON = {
        let usual = HealthCheck()
        return object(
            "Asks every server after its health.",
            [
                "name": text("Of the gate; left out: its uri, or its type."), "type": words(HealthCheck.Kind.allCases.map(\.rawValue)),
                "uri": text("For http and https.", default: usual.uri), "host": text("By which a server is asked; left out: its address."),
                "port": integer("Left out: the server's own.", HealthCheck.portRange), "interval": time("Between two checks.", default: "5s"),
                "jitter": time("A check comes later by a part of it, by lot.", default: "0s"),
                "timeout": time("Of a check; 0: the interval, at most 5s.", default: "0s"),
                "fails": integer("In a row that make a server sick.", HealthCheck.countRange, default: usual.fails),
                "passes": integer("In a row that make it well.", HealthCheck.countRange, default: usual.passes),
                "match": .members([
                    "anyOf": [type("string"), reference("HealthMatch")], "description": "The name of a match block of the configuration, or the rules themselves.",
                ]),
                "start_period": time("For so long failures of a new server do not count.", default: "0s"),
                "mandatory": type("boolean", "Nothing before the first pass; left out: for servers that come while the proxy runs."),
                "persistent": flag("Always so: what is known outlives reloads."), "grpc_service": text("For grpc and grpcs."),
                "grpc_status": integer("The grpc-status that means well.", HealthCheck.statusRange),
            ], required: [])
    }()

    private static let healthMatch = object(
        "What an answer must be like: the lines of a match block.",
        [
            "status": text("200-299 !204."), "header": list(type("string"), "NAME, ! NAME, NAME = VALUE, NAME ~ REGEX; all of them."),
            "body": list(type("string"), "~ REGEX or !~ REGEX; all of them."), "send": text("For tcp."), "expect": text("For tcp: a text, or ~ REGEX."),
        ], required: [])

    private static let whole: KeyValuePairs<String, JSON> = [
        "upstreams": map(reference("Upstream")), "splits": map(reference("Split"), "Left out: the splits stay."), "reason": reason,
    ]

    private static func withReason(_ name: String, _ about: String) -> JSON {
        let schema = states[name] ?? .object([])
        return schema.merging(.members([
            "description": .string(about), "properties": (schema["properties"] ?? .object([])).merging(.members(["reason": reason])),
        ]))
    }

    static let bodies: [String: JSON] = states.merging([
        "StateWrite": object("All pools and splits.", whole, required: ["upstreams"]),
        "UpstreamWrite": withReason("Upstream", "The pool, and why."),
        "ServerWrite": withReason("Server", "The server, and why."),
        "SplitWrite": withReason("Split", "The split, and why."),
        "ServerPatch": withReason("Server", "Fields that are not named stay.").merging(.members(["required": []])),
        "WeightsPatch": object(
            "Weights that are not named stay.",
            ["weights": map(integer("", StateBounds.weight)), "reason": reason], required: ["weights"]),
        "CertificateWrite": object(
            "A certificate with its key, and why.",
            [
                "certificate": text("PEM: the server's own first, then those that lead to a root."),
                "key": type("string", "PEM, without a password. It is never shown again.", ["writeOnly": true]), "reason": reason,
            ], required: ["certificate", "key"]),
        "ReasonOnly": object("Why.", ["reason": reason], required: []),
    ]) { first, _ in first }
}
