// The description of the admin API as data, and the OpenAPI 3.1 document that is made of it.
// The table of operations belongs to the server, which dispatches by the same one; the schemas stand in `OpenAPISchemas`.

/// One thing that can be asked of the admin API.
public struct APIOperation: Sendable, Equatable {
    public enum Answer: Sendable, Equatable {
        /// JSON by the schema of this name.
        case json(String)
        /// Configuration text.
        case text
        /// text/event-stream, its data by the schema of this name.
        case events(String)
    }
    public var method: String
    /// `/upstreams/{name}`: what stands in braces is one segment of any text.
    public var path: String
    public var id: String
    /// One sentence.
    public var summary: String
    public var query: [APIParameter]
    /// The schema of the body; nil: there is none.
    public var body: String?
    /// A body may be left out.
    public var isBodyOptional: Bool
    public var answer: Answer
    /// Of the answers that say yes, the usual one first.
    public var statuses: [Int]

    /// A write takes `reason`, `dry_run` and `If-Match` besides.
    public var isWrite: Bool { method != "GET" }

    public init(
        _ method: String, _ path: String, id: String, _ summary: String, query: [APIParameter] = [], body: String? = nil,
        isBodyOptional: Bool = false, answer: Answer, statuses: [Int] = [200]
    ) {
        self.method = method
        self.path = path
        self.id = id
        self.summary = summary
        self.query = query
        self.body = body
        self.isBodyOptional = isBodyOptional
        self.answer = answer
        self.statuses = statuses
    }

    /// The names in braces, in their order.
    public var pathParameters: [String] {
        path.split(separator: "/").filter { $0.hasPrefix("{") }.map { String($0.dropFirst().dropLast()) }
    }

    /// All names that may stand in the query.
    public var queryNames: [String] { (query + (isWrite ? APIParameter.ofWrites : [])).map(\.name) }
}

/// One parameter of a query.
public struct APIParameter: Sendable, Equatable {
    public var name: String
    public var schema: JSON
    public var about: String

    public init(_ name: String, _ schema: JSON, _ about: String) {
        self.name = name
        self.schema = schema
        self.about = about
    }

    public static let ofWrites = [
        APIParameter("dry_run", OpenAPISchemas.flag, "Answers what would change, and changes nothing."),
        APIParameter("force", OpenAPISchemas.flag, "Also where a rollout moves the weights, which ends the rollout."),
        APIParameter("reason", OpenAPISchemas.reason, "Why, for the history; the body may say it instead."),
    ]
}

/// The document of `operations`. Members are sorted by name.
/// - Parameter version: of the program.
public func openAPIDocument(_ operations: [APIOperation], version: String) -> JSON {
    var paths: [String: [JSON.Member]] = [:]
    for operation in operations {
        paths[operation.path, default: []].append(JSON.Member(operation.method.lowercased(), operation.document))
    }
    let about =
        "Pools of servers, splits among them and certificates, changed while the proxy runs. Every accepted change is a revision: it is in the history, "
        + "it can be undone, and its receipt accounts for every request around it. What is refused changes nothing."
    return .members([
        "components": .members([
            "schemas": .object(OpenAPISchemas.all.sorted { $0.key < $1.key }.map { JSON.Member($0.key, $0.value) }),
            "securitySchemes": .members(["token": .members(["scheme": "bearer", "type": "http"])]),
        ]),
        "info": .members(["description": .string(about), "title": "Switchback admin API", "version": .string(version)]),
        "openapi": "3.1.0",
        "paths": .object(paths.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .object($0.value.sorted { $0.name < $1.name })) }),
        "security": [.object([]), .members(["token": []])],
    ])
}

extension APIOperation {
    fileprivate var document: JSON {
        var parameters: [JSON] = pathParameters.map { name in
            .members([
                "description": .string(Self.aboutSegment[name] ?? ""), "in": "path", "name": .string(name), "required": true,
                "schema": .members(["type": name == "n" || name == "a" || name == "b" ? "integer" : "string"]),
            ])
        }
        parameters += (query + (isWrite ? APIParameter.ofWrites : [])).map { parameter in
            .members(["description": .string(parameter.about), "in": "query", "name": .string(parameter.name), "schema": parameter.schema])
        }
        if isWrite {
            parameters.append(.members([
                "description": "The revision that must be current, as `\"42\"`, or the write is refused with 412.", "in": "header",
                "name": "If-Match", "schema": .members(["type": "string"]),
            ]))
        }
        return .members([
            "operationId": .string(id), "parameters": parameters.isEmpty ? nil : .array(parameters),
            "requestBody": body.map { name in
                .members([
                    "content": .members(["application/json": .members(["schema": OpenAPISchemas.reference(name)])]),
                    "required": .bool(!isBodyOptional),
                ])
            },
            "responses": responses, "summary": .string(summary),
        ])
    }

    private static let aboutSegment = [
        "a": "The number of a revision.", "b": "The number of a revision.", "n": "The number of a revision or of a rollout.",
        "id": "A server: its id, or its address, percent-encoded.", "name": "A name, percent-encoded.",
    ]

    private var responses: JSON {
        var members: [JSON.Member] = statuses.map { status in
            var schema: JSON
            var type = "application/json"
            switch answer {
            case .json(let name): schema = OpenAPISchemas.reference(name)
            case .text: (type, schema) = ("text/plain", .members(["type": "string"]))
            case .events(let name): (type, schema) = ("text/event-stream", OpenAPISchemas.reference(name))
            }
            if isWrite, status == 200 { schema = .members(["anyOf": [schema, OpenAPISchemas.reference("Plan")]]) }
            let about = isWrite ? status == 200 ? "Done, or the plan of a dry run." : "Done." : "The answer."
            return JSON.Member(
                String(status),
                .members([
                    "content": .object([JSON.Member(type, .members(["schema": schema]))]), "description": .string(about),
                ]))
        }
        members.append(JSON.Member(
            "default",
            .members([
                "content": .object([JSON.Member(Problem.mediaType, .members(["schema": OpenAPISchemas.reference("Problem")]))]),
                "description": "Refused; nothing has changed.",
            ])))
        return .object(members.sorted { $0.name < $1.name })
    }
}
