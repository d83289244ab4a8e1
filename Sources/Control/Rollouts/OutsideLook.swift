// One look at something outside, as a thread does it: an address, a file, a program. It waits, and ends before its deadline.
// Called from threads of RolloutOutside. It knows no rollout.

import AdminAPI
import CLinux
import Engine
import Rollout

/// A server of an upstream, and where it is.
struct ServerPlace: Sendable {
    var name: String
    var bytes: [UInt8]
}

enum OutsideLook: Sendable {
    /// Servers that are to answer 2xx or 3xx at this path: read as 1 when more than half do, else 0.
    case servers([ServerPlace], path: String, timeoutMs: Int64)
    case url(ErrandURL, timeoutMs: Int64)
    case metric(MetricSource, String?)
    case nothing

    /// The look of a check, for one variant.
    static func address(_ check: CheckPolicy, of variant: String, _ controller: Controller) -> OutsideLook {
        let target = check.target.replacing("$variant", with: variant)
        if check.isPath { return .servers(controller.serverAddresses(of: variant), path: target, timeoutMs: check.timeoutMs) }
        return ErrandURL(target).map { .url($0, timeoutMs: check.timeoutMs) } ?? .nothing
    }

    /// - Parameter trouble: what an operator should know.
    func read(_ trouble: inout String?) -> Double? {
        switch self {
        case .nothing: return nil
        case .servers(let servers, let path, let timeoutMs):
            if servers.isEmpty { return nil }
            let asked = servers.prefix(ControlLimits.rolloutServersAsked)
            var good = 0
            for (i, server) in asked.enumerated() {
                var errand = HTTPErrand(ErrandURL(server: server.name, path: path), timeoutNs: UInt64(timeoutMs) * 1_000_000, bytesMax: Self.bytesMax)
                errand.addresses = [server.bytes]
                if Self.isGood(errand) { good += 1 }
                // Servers that hang take their time each: no more are waited for than it takes to know.
                if good * 2 > asked.count { return 1 }
                if (good + asked.count - 1 - i) * 2 <= asked.count { return 0 }
            }
            return 0
        case .url(let url, let timeoutMs):
            return Self.isGood(HTTPErrand(url, timeoutNs: UInt64(timeoutMs) * 1_000_000, bytesMax: Self.bytesMax)) ? 1 : 0
        case .metric(let source, let commands):
            do throws(LookFailure) { return try Self.reading(source, commands) } catch {
                trouble = error.words
                return nil
            }
        }
    }

    private static let bytesMax = 1 << 20

    private static func isGood(_ errand: HTTPErrand) -> Bool {
        guard let answer = try? errand.run() else { return false }
        return (200..<400).contains(answer.status)
    }

    // MARK: Metrics

    private struct LookFailure: Error { var words: String }

    private static func reading(_ source: MetricSource, _ commands: String?) throws(LookFailure) -> Double {
        switch source {
        case .residentMemory(let file): return try residentMiB(file)
        case .url(let url): return try number(in: String(decoding: try fetch(url), as: UTF8.self))
        case .command(let words):
            guard let commands else { throw LookFailure(words: "no program is run without rollout_commands") }
            switch CommandErrand(folder: commands, words, timeoutNs: ControlLimits.rolloutMetricTimeoutNs).run() {
            case .success(let output): return try number(in: output)
            case .failure(let failure): throw LookFailure(words: failure.words)
            }
        case .prometheus(let url, let query):
            let base = url.hasSuffix("/") ? String(url.dropLast()) : url
            let body = try fetch("\(base)/api/v1/query?query=\(percentEncoded(query))")
            guard let json = try? JSON.parse(body), json["status"]?.string == "success", let result = json["data"]?["result"]?.array else {
                throw LookFailure(words: "Prometheus did not answer the query")
            }
            // A scalar is a pair of time and value; of a vector the first sample counts.
            let pair = json["data"]?["resultType"]?.string == "scalar" ? result : result.first?["value"]?.array ?? []
            guard pair.count == 2, let text = pair[1].string, let value = Double(text), value.isFinite else {
                throw LookFailure(words: "the query has no value now")
            }
            return value
        }
    }

    private static func fetch(_ text: String) throws(LookFailure) -> [UInt8] {
        guard let url = ErrandURL(text) else { throw LookFailure(words: "the address cannot be read") }
        let errand = HTTPErrand(url, timeoutNs: ControlLimits.rolloutMetricTimeoutNs, bytesMax: bytesMax)
        let answer: HTTPErrand.Answer
        do throws(HTTPErrand.Failure) { answer = try errand.run() } catch { throw LookFailure(words: error.words) }
        if answer.status == 200 { return answer.body }
        throw LookFailure(words: "it answers \(answer.status)")
    }

    /// The number that a text is, or that its first line ends with.
    private static func number(in text: String) throws(LookFailure) -> Double {
        let word = text.split(whereSeparator: \.isNewline).first?.split(whereSeparator: \.isWhitespace).last
        guard let word, let value = Double(word), value.isFinite else { throw LookFailure(words: "it says no number") }
        return value
    }

    private static func residentMiB(_ file: String) throws(LookFailure) -> Double {
        guard let bytes = try? LinuxSystemFiles().read(file),
            let pid = String(decoding: bytes.prefix(32), as: UTF8.self).split(whereSeparator: \.isWhitespace).first.flatMap({ Int32($0) }), pid > 0
        else { throw LookFailure(words: "\(file) has no number of a process") }
        guard let status = try? LinuxSystemFiles().read("/proc/\(pid)/status"),
            let line = String(decoding: status, as: UTF8.self).split(separator: "\n").first(where: { $0.hasPrefix("VmRSS:") }),
            let kiB = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Double($0) })
        else { throw LookFailure(words: "there is no process \(pid)") }
        return kiB / 1024
    }

    static func percentEncoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var out: [UInt8] = []
        for byte in text.utf8 {
            let isPlain = (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x2D || byte == 0x2E
            if isPlain { out.append(byte) } else { out += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        }
        return String(decoding: out, as: UTF8.self)
    }

    // MARK: Probes and news

    static func probe(_ servers: [ServerPlace], _ path: String, timeoutMs: Int64) -> Observation {
        var seen = Observation()
        if servers.isEmpty { return seen }
        for i in 0..<ControlLimits.rolloutProbeRequests {
            let server = servers[i % servers.count]
            var errand = HTTPErrand(ErrandURL(server: server.name, path: path), timeoutNs: UInt64(timeoutMs) * 1_000_000, bytesMax: bytesMax)
            errand.addresses = [server.bytes]
            let fromNs = ControlClock.system.monotonicNs()
            seen.started += 1
            seen.finished += 1
            do throws(HTTPErrand.Failure) {
                let status = try errand.run().status
                if status >= 500 { seen.errors[.status5xx] += 1 } else if status >= 400 { seen.errors[.status4xx] += 1 }
                seen.latency.add(us: (ControlClock.system.monotonicNs() - fromNs) / 1000)
            } catch {
                switch error {
                case .timedOut: seen.errors[.timeout] += 1
                case .invalid, .tooMuch: seen.errors[.invalidAnswer] += 1
                case .closedEarly: seen.errors[.reset] += 1
                case .noAddress, .call: seen.errors[.connect] += 1
                }
            }
        }
        return seen
    }

    /// Tries a few times. Nil: the receiver has it.
    static func tell(_ url: ErrandURL, _ body: [UInt8]) -> String? {
        var errand = HTTPErrand(url, timeoutNs: ControlLimits.rolloutMessageTimeoutNs, bytesMax: bytesMax)
        errand.method = "POST"
        errand.lines = ["Content-Type: application/json", "User-Agent: Switchback"]
        errand.body = body
        var trouble = ""
        for (i, pauseMs) in ControlLimits.rolloutMessagePausesMs.enumerated() {
            if i > 0 { clinux_sleep_ms(pauseMs) }
            do throws(HTTPErrand.Failure) {
                let status = try errand.run().status
                if (200..<300).contains(status) { return nil }
                trouble = "it answers \(status)"
                // What it does not want it will not want later.
                if (400..<500).contains(status), status != 408, status != 429 { return trouble }
            } catch { trouble = error.words }
        }
        return trouble
    }
}

extension Controller {
    /// Where an upstream's servers are that are to serve.
    func serverAddresses(of upstream: String) -> [ServerPlace] {
        changing.withLock { _ in
            guard let one = state.upstreams[upstream],
                let definition = (publisher?.current ?? firstSnapshot)?.upstreams.first(where: { $0.settings.name.string == upstream })
            else { return [] }
            let serving = Set(one.servers.filter { !$0.down && !$0.drain && !$0.backup }.map(\.server))
            return (0..<definition.settings.peers.count).compactMap { i in
                let peer = definition.settings.peers[i]
                let name = peer.name.string
                return serving.contains(name) && !peer.isStandIn ? ServerPlace(name: name, bytes: Array(peer.address.bytes.buffer)) : nil
            }
        }
    }
}
