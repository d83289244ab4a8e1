// Runs the rewrite steps of a server or location: set, if, rewrite, return, break.
// Called by Router.swift. It changes the exchange's path, arguments, values and location, and answers through the exchange.

import Bytes
import CLinux
import HTTPMessage

enum RewriteResult {
    case goOn
    /// `break`, or `rewrite ... break`.
    case stopped
    /// The location is to be found again.
    case changedPath
    case answered
}

extension Worker {
    func runRewrite(_ x: Ref<Exchange>, _ steps: Frozen<RewriteStep>) -> RewriteResult {
        var i = 0
        var changed = false
        // What a group of an expression holds was decoded: it is encoded again where `set` takes it, until a `rewrite` matches.
        var encodes = wasEncoded(x)
        while i < steps.count {
            switch steps[i].value {
            case .set(let slot, let template):
                setValue(x, slot, expandSet(template, for: x, encodes: encodes))
            case .setArguments(let template):
                x.arguments = expandSet(template, for: x, encodes: encodes)
                x.isTargetCurrent = false
            case .setRate(let template): setRate(x, from: expand(template, for: x, keep: true))
            case .unless(let condition, let target):
                if !holds(condition, x) {
                    i = Int(target)
                    continue
                }
            case .enter(let location):
                x.location = x.root.locations[Int(location)]
                limitKeepAlive(x)
            case .stop:
                if changed { x.hasLocationsPath = false }
                return .stopped
            case .answer(let status, let template):
                answerReturn(x, status, template)
                return .answered
            case .rewrite(let regex, let replacement, let flags):
                switch rewrite(x, regex, replacement, flags) {
                case .none: break
                case .some(.goOn):
                    changed = true
                    encodes = false
                case .some(let result): return result
                }
            }
            i += 1
        }
        return changed ? .changedPath : .goOn
    }

    /// Nil when the expression does not match.
    private func rewrite(_ x: Ref<Exchange>, _ regex: Int32, _ replacement: Template, _ flags: RewriteFlags) -> RewriteResult? {
        guard matches(regex, x.path, for: x) else { return nil }
        if flags.isAbsolute || flags.after == .redirect || flags.after == .permanent {
            let text = expandReplacement(replacement, for: x, isRedirect: true).text
            answerRewriteRedirect(x, status: flags.after == .permanent ? 301 : 302, to: text, dropsArguments: flags.dropsArguments)
            return .answered
        }
        let expanded = expandReplacement(replacement, for: x, isRedirect: false)
        var text = expanded.text
        if text.isEmpty {
            logExchange(.error, "the rewritten URI has a zero length", x)
            answerError(x, 500)
            return .answered
        }
        var arguments = x.arguments
        if let question = expanded.question {
            let given = text.slice(question + 1)
            text = text.slice(0, question)
            arguments = flags.dropsArguments || x.arguments.isEmpty ? given : joined(given, "&", x.arguments, x)
        } else if flags.dropsArguments {
            arguments = .empty
        }
        x.path = text
        x.arguments = arguments
        x.isTargetCurrent = false
        x.isRewritten = true
        switch flags.after {
        case .last: return .changedPath
        case .stop:
            x.hasLocationsPath = false
            return .stopped
        default: return .goOn
        }
    }

    /// The text of a replacement, and where its arguments begin: at the question mark that the configuration has, not at one that
    /// came with the request. What was decoded for the path is encoded again where it goes to arguments, or back to the client.
    private func expandReplacement(
        _ replacement: Template, for x: Ref<Exchange>, isRedirect: Bool
    ) -> (text: ByteView, question: Int?) {
        if replacement.isLiteral { return (replacement.literal, replacement.literal.firstIndex(of: 0x3F)) }
        let encodes = wasEncoded(x)
        var question: Int?
        scratchText.value.reset()
        for i in 0..<replacement.parts.count {
            let part = replacement.parts[i]
            if question == nil, let at = part.literal.view.firstIndex(of: 0x3F) { question = scratchText.count + at }
            scratchText.value.append(part.literal)
            guard part.variable.kind != .none, let value = value(of: part.variable, for: x) else { continue }
            if part.variable.kind == .capture, encodes, isRedirect || question != nil {
                appendEscaped(value, question == nil ? .uri : .arguments, to: scratchText)
            } else {
                scratchText.value.append(value)
            }
        }
        let text = x.value.region.copy(scratchText.view, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
        return (text, question.flatMap { $0 < text.count ? $0 : nil })
    }

    /// The value of a `set`, which often goes into the target of `proxy_pass` or a redirect: groups of expressions are encoded.
    private func expandSet(_ template: Template, for x: Ref<Exchange>, encodes: Bool) -> ByteView {
        guard encodes, !template.isLiteral else { return expand(template, for: x, keep: true) }
        scratchText.value.reset()
        for i in 0..<template.parts.count {
            let part = template.parts[i]
            scratchText.value.append(part.literal)
            guard part.variable.kind != .none, let value = value(of: part.variable, for: x) else { continue }
            if part.variable.kind == .capture {
                appendEscaped(value, .arguments, to: scratchText)
            } else {
                scratchText.value.append(value)
            }
        }
        return x.value.region.copy(scratchText.view, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
    }

    /// The path came with escapes or plus signs, as nginx asks.
    private func wasEncoded(_ x: Ref<Exchange>) -> Bool {
        for i in 0..<x.target.count {
            if x.target[i] == 0x3F { return false }
            if x.target[i] == 0x25 || x.target[i] == 0x2B { return true }
        }
        return false
    }

    /// `a` and `b` with `between`, in memory of the exchange.
    func joined(_ a: ByteView, _ between: StaticString, _ b: ByteView, _ x: Ref<Exchange>) -> ByteView {
        scratchText.value.reset()
        scratchText.value.append(a)
        scratchText.value.append(between)
        scratchText.value.append(b)
        return x.value.region.copy(scratchText.view, from: &buffers, limit: Limits.regionBytesMax) ?? a
    }

    private func holds(_ condition: Condition, _ x: Ref<Exchange>) -> Bool {
        switch condition {
        case .isSet(let variable):
            guard let value = value(of: variable, for: x) else { return false }
            return !value.isEmpty && !(value.count == 1 && value[0] == 0x30)
        case .equal(let left, let right, let negated):
            let a = expand(left, for: x, keep: true)
            return (a == expand(right, for: x, keep: false)) != negated
        case .matches(let subject, let regex, let negated):
            return matches(regex, expand(subject, for: x, keep: true), for: x) != negated
        case .file(let path, let test, let negated):
            return testFile(expand(path, for: x, keep: false), test) != negated
        case .otherMethod(let allowed): return allowed >> UInt32(x.method.rawValue) & 1 == 0
        }
    }

    private func testFile(_ path: ByteView, _ test: FileTest) -> Bool {
        guard let (fd, facts) = openFile(path) else { return false }
        kernel.close(fd)
        switch test {
        case .exists: return true
        case .isDirectory: return facts.mode & fileTypeMask == fileTypeDirectory
        case .isFile: return facts.mode & fileTypeMask == fileTypeRegular
        case .isExecutable: return facts.mode & 0o111 != 0
        }
    }
}
