// The rewrite phase as a flat list of steps: set, if, rewrite, return, break, in the order of the configuration.
// Built by Control from the directives; run by Routing/Rewrite.swift.

import Bytes

package enum RewriteStep: BitwiseCopyable {
    /// `set $name value`: into a slot of the exchange.
    case set(slot: Int32, Template)
    /// `set $args` and `set $limit_rate`: variables that mean something to the exchange itself.
    case setArguments(Template)
    case setRate(Template)
    /// Goes on at step `target` when the condition of an `if` does not hold.
    case unless(Condition, target: Int32)
    /// An `if` that holds replaces the location's settings.
    case enter(location: Int32)
    case rewrite(regex: Int32, replacement: Template, RewriteFlags)
    case stop
    /// Status, and text or URL.
    case answer(status: UInt16, Template)
}

package struct RewriteFlags: BitwiseCopyable {
    package enum After: UInt8, BitwiseCopyable { case next, last, stop, redirect, permanent }
    package var after = After.next
    /// The replacement ends in `?`: the request's arguments are not added.
    package var dropsArguments = false
    /// The replacement is a whole URL: answered as a redirect.
    package var isAbsolute = false
    package init() {}
}

package enum Condition: BitwiseCopyable {
    case isSet(Variable)
    case equal(Template, Template, negated: Bool)
    case matches(Template, regex: Int32, negated: Bool)
    case file(Template, FileTest, negated: Bool)
    /// The request's method is none of these, a bit for each (`limit_except`).
    case otherMethod(UInt32)
}

package enum FileTest: UInt8, BitwiseCopyable { case isFile, isDirectory, exists, isExecutable }
