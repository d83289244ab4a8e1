// The diagnostics that need the meaning of directives: unknown, unsupported, not allowed here, wrong number of arguments.
// Called by `Control`, so that all its directives refuse in the same words. The words are nginx's where nginx has them.

extension Diagnostic {
    /// Nobody knows the name. `suggestion`: a name that was probably meant.
    public static func unknown(_ directive: Directive, suggestion: String?) -> Diagnostic {
        let name = directive.name.shown
        return Diagnostic(
            at: directive.position, directive: name, "unknown directive \"\(name)\"", found: name, expected: "a directive",
            hint: suggestion.map { "did you mean \"\($0)\"?" })
    }

    /// nginx has the directive, this proxy does not, or not yet.
    public static func notSupported(_ directive: Directive, hint: String? = nil) -> Diagnostic {
        let name = directive.name.shown
        return Diagnostic(
            at: directive.position, directive: name, "directive \"\(name)\" of nginx is not supported yet", found: name,
            expected: "a directive that is supported", hint: hint)
    }

    /// The directive belongs elsewhere. `contexts`: where.
    public static func notAllowed(_ directive: Directive, allowedIn contexts: Set<Context>) -> Diagnostic {
        let name = directive.name.shown
        let places = Context.allCases.filter(contexts.contains).map(\.description).joined(separator: ", ")
        return Diagnostic(
            at: directive.position, directive: name, "\"\(name)\" directive is not allowed here", found: name,
            expected: "a directive that is allowed here", hint: "allowed in: \(places)")
    }

    /// `expected`: how many, in words, e.g. `one argument`.
    public static func wrongArgumentCount(_ directive: Directive, expected: String) -> Diagnostic {
        let name = directive.name.shown
        let count = directive.arguments.count
        return Diagnostic(
            at: directive.position, directive: name, "invalid number of arguments in \"\(name)\" directive",
            found: count == 1 ? "1 argument" : "\(count) arguments", expected: expected,
            hint: lineWithoutEnd(directive) ?? "expected \(expected)")
    }

    /// A block where `;` should have ended the directive.
    public static func notTerminated(_ directive: Directive) -> Diagnostic {
        let name = directive.name.shown
        return Diagnostic(
            at: directive.position, directive: name, "directive \"\(name)\" is not terminated by \";\"", found: "{",
            expected: ";", hint: lineWithoutEnd(directive))
    }

    /// `;` where a block should have begun.
    public static func noBlock(_ directive: Directive) -> Diagnostic {
        let name = directive.name.shown
        return Diagnostic(
            at: directive.position, directive: name, "directive \"\(name)\" has no opening \"{\"", found: ";", expected: "{")
    }

    /// The directive may stand once in its block. `first`: where it stands already.
    public static func duplicate(_ directive: Directive, first: Position?) -> Diagnostic {
        let name = directive.name.shown
        return Diagnostic(
            at: directive.position, directive: name, "\"\(name)\" directive is duplicate", found: name,
            expected: "the directive once in its block", hint: first.map { "the first is at \($0)" })
    }

    /// `expected` completes "it must be", e.g. `"on" or "off"`.
    public static func invalidValue(_ word: Word, of directive: String, expected: String, hint: String? = nil) -> Diagnostic {
        let found = word.shown
        let name = printable(directive.utf8)
        return Diagnostic(
            at: word.position, directive: name, "invalid value \"\(found)\" in \"\(name)\" directive, it must be \(expected)",
            found: found, expected: expected, hint: hint)
    }

    /// The right refusal for a directive that the caller does not take in `context`: unknown (with the nearest name of
    /// nginx or of `own`), not allowed here, or known to nginx but not supported.
    /// - Parameter own: directives nginx has not, and where they are allowed.
    public static func refusal(
        of directive: Directive, in context: Context, own: [String: Set<Context>] = [:]
    ) -> Diagnostic {
        let name = directive.name.text
        let known = KnownDirectives.contexts(of: name)
        guard known != nil || own[name] != nil else {
            let here = own.filter { $0.value.contains(context) }.keys + KnownDirectives.names(in: context)
            let suggestion =
                nearestName(to: name, among: here)
                ?? nearestName(to: name, among: Array(own.keys)) ?? KnownDirectives.nearest(to: name)
            return unknown(directive, suggestion: suggestion)
        }
        let allowed = (known ?? []).union(own[name] ?? [])
        return allowed.contains(context) ? notSupported(directive) : notAllowed(directive, allowedIn: allowed)
    }

    /// When words stand on several lines, the likeliest fault is a `;` forgotten at the end of one.
    private static func lineWithoutEnd(_ directive: Directive) -> String? {
        var previous = directive.name
        for word in directive.arguments {
            if word.position.line > previous.position.line {
                return "is a \";\" missing after \"\(previous.shown)\" at line \(previous.position.line)?"
            }
            previous = word
        }
        return nil
    }
}
