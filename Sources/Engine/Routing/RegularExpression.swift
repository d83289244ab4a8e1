// PCRE2 expressions: compiled with the configuration, matched by a worker with memory of its own.
// Used by server names, locations, rewrite, maps and cookie rules. Match limits keep a hostile subject from stalling the loop.

import Bytes
import CPCRE2

/// A compiled expression in a snapshot. The code is read-only after JIT compilation, so all workers share it.
package struct RegularExpression: BitwiseCopyable {
    let code: OpaquePointer
    /// Groups, without the whole match.
    package let groupCount: Int
    /// Where each named group's value is found by `Variable.namedCapture`: names frozen beside their numbers.
    package let names: Frozen<NamedGroup>
}

package struct NamedGroup: BitwiseCopyable {
    package var name: ByteView
    package var number: Int32
}

/// Owns a compiled expression; a snapshot keeps it alive.
package final class CompiledExpression: @unchecked Sendable {
    package let expression: RegularExpression

    /// The reason PCRE2 gives, with the offset in the pattern.
    package struct Failure: Error {
        package var reason: String
        package var offset: Int
    }

    package init(_ pattern: [UInt8], ignoringCase: Bool, arena: Arena) throws(Failure) {
        var code: Int32 = 0
        var offset = 0
        let options = ignoringCase ? UInt32(PCRE2_CASELESS) : 0
        guard let compiled = pcre2_compile_8(pattern, pattern.count, options, &code, &offset, nil) else {
            var text = [UInt8](repeating: 0, count: 256)
            _ = pcre2_get_error_message_8(code, &text, text.count)
            throw Failure(reason: String(decoding: text.prefix { $0 != 0 }, as: UTF8.self), offset: offset)
        }
        // Without JIT (a hardened kernel may refuse executable memory) the interpreter serves, only slower.
        _ = pcre2_jit_compile_8(compiled, UInt32(PCRE2_JIT_COMPLETE))
        var groups: UInt32 = 0
        _ = pcre2_pattern_info_8(compiled, UInt32(PCRE2_INFO_CAPTURECOUNT), &groups)
        let names = Self.names(of: compiled, arena: arena)
        expression = RegularExpression(code: compiled, groupCount: Int(groups), names: names)
    }

    deinit { pcre2_code_free_8(expression.code) }

    private static func names(of code: OpaquePointer, arena: Arena) -> Frozen<NamedGroup> {
        var count: UInt32 = 0
        var size: UInt32 = 0
        var table: UnsafePointer<UInt8>?
        _ = pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMECOUNT), &count)
        _ = pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMEENTRYSIZE), &size)
        _ = pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMETABLE), &table)
        guard let table else { return .empty }
        var result: [NamedGroup] = []
        for i in 0..<Int(count) {
            let entry = table + i * Int(size)
            var length = 0
            while length < Int(size) - 2, entry[2 + length] != 0 { length += 1 }
            let name = arena.freeze(bytes: UnsafeBufferPointer(start: entry + 2, count: length))
            result.append(NamedGroup(name: name, number: Int32(entry[0]) << 8 | Int32(entry[1])))
        }
        return arena.freeze(result)
    }
}

/// A thread's memory for matching. One match at a time; its groups are copied out by who wants to keep them.
package struct Matcher: ~Copyable {
    private let data: OpaquePointer?
    private let context: OpaquePointer?

    package init() {
        data = pcre2_match_data_create_8(UInt32(Limits.capturesMax), nil)
        context = pcre2_match_context_create_8(nil)
        if let context {
            pcre2_set_match_limit_8(context, Limits.matchLimit)
            pcre2_set_depth_limit_8(context, Limits.matchLimit)
        }
    }

    deinit {
        pcre2_match_data_free_8(data)
        pcre2_match_context_free_8(context)
    }

    package enum Result {
        /// How many groups are set, with the whole match.
        case match(Int)
        case noMatch
        /// PCRE2 gave up (a limit): taken as no match, and logged.
        case failed(Int32)
    }

    package func match(_ expression: RegularExpression, _ subject: ByteView) -> Result {
        guard let data else { return .failed(PCRE2_ERROR_NOMEMORY) }
        let n = pcre2_match_8(expression.code, subject.start, subject.count, 0, 0, data, context)
        if n > 0 { return .match(Int(n)) }
        if n == 0 { return .match(Limits.capturesMax) }
        return n == PCRE2_ERROR_NOMATCH ? .noMatch : .failed(n)
    }

    /// Group `i` of the last match in `subject`, or nil when it took no part.
    func group(_ i: Int, of subject: ByteView) -> ByteView? {
        guard let data, let offsets = pcre2_get_ovector_pointer_8(data) else { return nil }
        let from = offsets[2 * i]
        let to = offsets[2 * i + 1]
        // PCRE2_UNSET is the largest size_t.
        if from > subject.count || to > subject.count || from > to { return nil }
        return subject.slice(from, to - from)
    }
}
