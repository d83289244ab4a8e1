// Rates of answers and of responses: limit_rate, limit_rate_after, proxy_limit_rate. Their sizes may be variables.

import ConfigurationFile
import Engine

enum RateDirectives {
    static let all: [DirectiveRule] = [
        byteCount("limit_rate", .httpLevelsAndIf, \.limitRate),
        byteCount("limit_rate_after", .httpLevelsAndIf, \.limitRateAfter),
        byteCount("proxy_limit_rate", .httpLevels, \.proxy.limitRate),
    ]

    private static func byteCount(
        _ name: String, _ contexts: Set<Context>, _ path: DirectiveRule.LocationPath<ByteCount>
    ) -> DirectiveRule {
        DirectiveRule(name, contexts, 1...1) { (scope, d) throws(Diagnostic) in
            let word = d.arguments[0]
            scope.location.settings[keyPath: path] =
                word.hasVariables
                ? .computed(try scope.builder.template(word, of: name)) : .fixed(Int64(try word.sizeBytes(of: name)))
        }
    }
}
