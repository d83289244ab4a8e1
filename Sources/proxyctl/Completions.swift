// Owns the completion of names: asks the running proxy, and gives up soon.
// Called by ArgumentParser when a shell completes a word. It is never an error: without an answer there are no candidates.

import AdminAPI
import ArgumentParser

enum Completions {
    static let timeoutMs = 300

    static let variants = CompletionKind.custom { words, _, _ in
        names(words).map { names in names.splits.values.flatMap(\.keys) }.sortedUnique
    }
    static let splits = CompletionKind.custom { words, _, _ in names(words).map { Array($0.splits.keys) }.sortedUnique }
    static let upstreams = CompletionKind.custom { words, _, _ in names(words).map { Array($0.upstreams.keys) }.sortedUnique }
    /// Servers of the upstream that is named in the words; of all, if none is.
    static let servers = CompletionKind.custom { words, _, _ in
        names(words).map { names in
            let named = names.upstreams.filter { words.contains($0.key) }
            return (named.isEmpty ? names.upstreams : named).values.flatMap { $0 }
        }.sortedUnique
    }

    static let certificates = CompletionKind.custom { words, _, _ in
        guard let client = client(words) else { return [] }
        var request = AdminRequest("GET", ["certificates"])
        request.timeoutMs = timeoutMs
        guard let json = try? client.send(request).orProblem().json else { return [] }
        return (json["certificates"]?.array ?? []).compactMap { $0["name"]?.string }
    }

    static let policies = CompletionKind.custom { words, _, _ in
        guard let client = client(words) else { return [] }
        var request = AdminRequest("GET", ["policies"])
        request.timeoutMs = timeoutMs
        guard let json = try? client.send(request).orProblem().json else { return [] }
        return (json["policies"]?.array ?? []).compactMap { $0["name"]?.string }
    }

    private static func names(_ words: [String]) -> RunningNames? {
        client(words).flatMap { try? RunningNames.read($0, timeoutMs: timeoutMs) }
    }

    private static func client(_ words: [String]) -> AdminClient? {
        var options: [String] = []
        for name in ["--admin", "--token", "--token-file"] {
            if let i = words.firstIndex(of: name), i + 1 < words.count { options += [name, words[i + 1]] }
            if let word = words.first(where: { $0.hasPrefix(name + "=") }) { options.append(word) }
        }
        return try? ServerOptions.parse(options).client(connectTimeoutMs: Int32(timeoutMs))
    }
}

extension [String]? {
    fileprivate var sortedUnique: [String] { Set(self ?? []).sorted() }
}
