// Owns the reading of the server's answers: its JSON, and what a refusal says to the person who asked.
// Called by the verbs. It prints nothing.

import AdminAPI

extension AdminAnswer {
    /// The answer, when it is a good one; otherwise thrown in words.
    func orProblem() throws(Failure) -> AdminAnswer {
        if (200...299).contains(status) { return self }
        throw refusal
    }

    var json: JSON {
        get throws(Failure) {
            do throws(Problem) { return try JSON.parse(body, limits: Self.limits) } catch {
                throw Failure(
                    .unreachable, "the answer is no JSON: \(error.detail)", hint: "Is that proxyd's admin API?", document: body)
            }
        }
    }

    func decoded<Value: JSONCodable>(_ type: Value.Type) throws(Failure) -> Value {
        try decoded { json throws(Problem) in try Value(json: json) }
    }

    /// A list, by itself or as the member `name`.
    func list<Value: JSONCodable>(of type: Value.Type, named name: String) throws(Failure) -> [Value] {
        try decoded { json throws(Problem) in
            var values: [Value] = []
            for item in json.array ?? json[name]?.array ?? [] { values.append(try Value(json: item)) }
            return values
        }
    }

    private func decoded<Value>(_ make: (JSON) throws(Problem) -> Value) throws(Failure) -> Value {
        let json = try json
        do throws(Problem) { return try make(json) } catch {
            throw Failure(
                .unreachable, "the answer is not understood: \(error.detail)" + (error.pointer.map { " (at \($0))" } ?? ""),
                hint: "proxyctl and proxyd may be of different versions; `--json` prints the answer as it is.", document: body)
        }
    }

    private static var limits: JSONLimits { JSONLimits(depthMax: 64, bytesMax: AnswerReader.bodyBytesMax, valuesMax: 10_000_000) }

    /// What an answer that is no good one says.
    private var refusal: Failure {
        let json = try? JSON.parse(body, limits: Self.limits)
        guard isProblem, let json else {
            return Failure(
                status == 401 || status == 403 ? .refused : .unreachable,
                "the server answers \(status), not as an admin API does",
                hint: "Is that proxyd's admin API, and the prefix right?", document: body)
        }
        var text = Words.printable(json["title"]?.string ?? "Refused (\(status))")
        if let detail = json["detail"]?.string, !detail.isEmpty { text += ": " + Words.printable(detail) }
        if let pointer = json["pointer"]?.string, !pointer.isEmpty { text += "\n    at " + Words.printable(pointer) }
        var hint = Words.printable(json["hint"]?.string ?? "")
        if status == 401, hint.isEmpty { hint = "Give the token with --token-file or PROXYCTL_TOKEN." }
        if status == 412 {
            if let revision = json["revision"]?.integer { text += "\n    the revision is \(revision) now" }
            if hint.isEmpty { hint = "Nothing was changed. `proxyctl history` shows who was faster; then try again." }
        }
        return Failure(status == 412 ? .lostRace : .refused, text, hint: hint, document: body)
    }
}

/// The pools and splits that run, as far as verbs need them to find what is meant by a name.
struct RunningNames {
    /// At which this was read; nil: the server does not say, and nothing can depend on it.
    let revision: UInt64?
    /// Weights by variant, by split.
    let splits: [String: [String: Int]]
    /// Addresses of servers, by upstream.
    let upstreams: [String: [String]]

    init(_ json: JSON, revision tag: UInt64? = nil) {
        revision = tag ?? json["revision"]?.integer.flatMap { UInt64(exactly: $0) }
        splits = Dictionary(
            (json["splits"]?.object ?? []).map { split in
                let weights = (split.value["weights"]?.object ?? []).map { ($0.name, Int(clamping: $0.value.integer ?? 0)) }
                return (split.name, Dictionary(weights) { first, _ in first })
            }, uniquingKeysWith: { first, _ in first })
        upstreams = Dictionary(
            (json["upstreams"]?.object ?? []).map { upstream in
                (upstream.name, (upstream.value["servers"]?.array ?? []).compactMap { $0["server"]?.string })
            }, uniquingKeysWith: { first, _ in first })
    }

    static func read(_ client: AdminClient, timeoutMs: Int = 10_000) throws(Failure) -> RunningNames {
        var request = AdminRequest("GET", ["upstreams"])
        request.timeoutMs = timeoutMs
        let answer = try client.send(request).orProblem()
        return RunningNames(try answer.json, revision: answer.revision)
    }

    /// The one split that has this variant, or the one that is named and has it.
    func split(with variant: String, named name: String?) throws(Failure) -> (name: String, weights: [String: Int]) {
        let found = splits.filter { $0.value[variant] != nil && (name == nil || name == $0.key) }
        if let one = found.first, found.count == 1 { return (one.key, one.value) }
        if found.count > 1 {
            throw Failure(
                .usage, "several splits have the variant \(variant):\n" + listed(found), hint: "Say which one: --split NAME")
        }
        if let name, let weights = splits[name] {
            throw Failure(.usage, "the split \(name) has no variant \(variant):\n" + listed([name: weights]))
        }
        let what = name.map { "there is no split \($0)" } ?? "no split has a variant \(variant)"
        throw Failure(.usage, splits.isEmpty ? what + ": there are no splits" : what + ":\n" + listed(splits))
    }

    /// The split that is named, or the only one.
    func split(named name: String?) throws(Failure) -> String {
        if let name { return name }
        if let one = splits.first, splits.count == 1 { return one.key }
        if splits.isEmpty { throw Failure(.usage, "there are no splits") }
        throw Failure(.usage, "there are several splits:\n" + listed(splits), hint: "Say which one.")
    }

    private func listed(_ splits: [String: [String: Int]]) -> String {
        splits.sorted { $0.key < $1.key }.map { name, weights in
            "    \(name): " + weights.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        }.map(Words.printable).joined(separator: "\n")
    }
}
