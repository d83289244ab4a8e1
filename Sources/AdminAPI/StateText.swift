// Values of a state as text: JSON on one line, nginx's times, pointers of RFC 6901.
// Called by differences, merge, export and problems. It reads no text back.

enum StateText {
    /// `words` as a JSON pointer: `/a/b`, with `~` and `/` inside a word escaped (RFC 6901, section 3).
    static func pointer(_ words: String...) -> String {
        words.map { "/" + pointerWord($0) }.joined()
    }

    static func pointerWord(_ word: String) -> String {
        var text = ""
        for character in word {
            switch character {
            case "~": text += "~0"
            case "/": text += "~1"
            default: text.append(character)
            }
        }
        return text
    }

    /// The words of a pointer, escapes resolved.
    static func pointerWords(_ pointer: String) -> [String] {
        pointer.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map { word in
            var text = ""
            var isEscape = false
            for character in word {
                switch (isEscape, character) {
                case (false, "~"): isEscape = true
                case (true, "1"): (text, isEscape) = (text + "/", false)
                case (true, "0"): (text, isEscape) = (text + "~", false)
                default: (text, isEscape) = (text + String(character), false)
                }
            }
            return text
        }
    }

    /// A JSON string (RFC 8259, section 7).
    static func json(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    let hex = String(scalar.value, radix: 16)
                    out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        return out + "\""
    }

    static func json(_ list: [String]) -> String { "[" + list.map { json($0) }.joined(separator: ", ") + "]" }

    /// `fields`: names and JSON texts; nil: left out.
    fileprivate static func object(_ fields: [(name: String, text: String?)]) -> String {
        let members = fields.compactMap { field in field.text.map { "\(json(field.name)): \($0)" } }
        return "{" + members.joined(separator: ", ") + "}"
    }

    /// A time as nginx reads it, in the canonical form: days, hours, minutes, seconds and milliseconds, without
    /// those that are none.
    /// `1m30s`, `30d`, `500ms`; `0s` for none.
    static func time(ms: Int64) -> String {
        var rest = max(0, ms)
        var text = ""
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] as [(String, Int64)]
        where rest >= size {
            text += "\(rest / size)\(unit)"
            rest %= size
        }
        return text.isEmpty ? "0s" : text
    }

    static func time(seconds: Int64) -> String {
        let (ms, isTooLarge) = seconds.multipliedReportingOverflow(by: 1000)
        return time(ms: isTooLarge ? .max - .max % 1000 : ms)
    }
}

extension ServerState {
    /// Fields besides `server` and `id`, by their names in JSON, sorted, as JSON text.
    var fieldTexts: [(name: String, text: String?)] {
        [
            ("backup", "\(backup)"), ("down", "\(down)"), ("drain", "\(drain)"),
            ("fail_timeout", StateText.json(StateText.time(ms: failTimeoutMs))),
            ("max_conns", "\(maxConns)"), ("max_fails", "\(maxFails)"), ("weight", "\(weight)"),
        ]
    }

    /// The whole server on one line; fields that have their defaults are left out.
    var jsonText: String {
        let changed = zip(fieldTexts, ServerState(server: "").fieldTexts).filter { $0.text != $1.text }.map(\.0)
        return StateText.object((changed + [("server", StateText.json(server))]).sorted { $0.name < $1.name })
    }
}

extension UpstreamState {
    /// Fields besides the servers, by their names in JSON, sorted, as JSON text; nil where the field may be absent and is.
    var fieldTexts: [(name: String, text: String?)] {
        [
            ("balance", StateText.json(balance)), ("keepalive", keepalive.map { "\($0)" }),
            ("keepalive_local", "\(keepaliveIsLocal)"),
            ("keepalive_requests", "\(keepaliveRequests)"),
            ("keepalive_time", StateText.json(StateText.time(ms: keepaliveTimeMs))),
            ("keepalive_timeout", StateText.json(StateText.time(ms: keepaliveTimeoutMs))),
            ("sticky", sticky.map { StateText.json($0) }),
        ]
    }

    /// The whole upstream on one line; fields that have their defaults are left out.
    var jsonText: String {
        let changed = zip(fieldTexts, UpstreamState().fieldTexts).filter { $0.text != $1.text }.map(\.0)
        let list = "[" + servers.map(\.jsonText).joined(separator: ", ") + "]"
        return StateText.object((changed + [("servers", list)]).sorted { $0.name < $1.name })
    }

    /// The addresses in their order.
    var orderText: String { StateText.json(servers.map(\.server)) }
}

extension SplitState {
    /// Fields besides the weights, as those of an upstream.
    var fieldTexts: [(name: String, text: String?)] {
        [("assign", assign?.jsonText), ("force", force.map { StateText.json($0) }), ("key", StateText.json(key))]
    }

    var weightsText: String { StateText.object(weights.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }) }

    /// The whole split on one line; fields that have their defaults are left out.
    var jsonText: String {
        let changed = zip(fieldTexts, SplitState(weights: [:]).fieldTexts).filter { $0.text != $1.text }.map(\.0)
        return StateText.object(changed + [("weights", weightsText)])
    }
}

extension AssignState {
    var jsonText: String {
        StateText.object([
            ("cookie", StateText.json(cookie)), ("max_age", StateText.json(StateText.time(seconds: maxAgeSeconds))),
        ])
    }
}
