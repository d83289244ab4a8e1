// Every directive of open-source nginx 1.31 and the blocks it may stand in, so that a refusal can say what is the matter.
// Called when a directive is refused. It does not say what this proxy supports: `Control` knows that.

/// A kind of block. `events` and what follows are blocks of that name, or what stands in it.
public enum Context: String, CaseIterable, Sendable, CustomStringConvertible {
    case main = "main"
    case events = "events"
    case http = "http"
    case server = "server"
    case location = "location"
    case upstream = "upstream"
    case ifInServer = "if in server"
    case ifInLocation = "if in location"
    case limitExcept = "limit_except"
    case stream = "stream"
    case streamServer = "server in stream"
    case streamUpstream = "upstream in stream"
    case mail = "mail"
    case mailServer = "server in mail"

    public var description: String { rawValue }
}

public enum KnownDirectives {
    /// Directives that are allowed in the same blocks.
    struct Group: Sendable {
        let contexts: [Context]
        /// Names, parted by spaces and line ends.
        let names: String

        init(_ contexts: [Context], _ names: String) {
            self.contexts = contexts
            self.names = names
        }
    }

    private static let contextsByName: [String: Set<Context>] = {
        var table: [String: Set<Context>] = [:]
        for group in coreGroups + httpGroups + streamGroups + mailGroups {
            for name in group.names.split(whereSeparator: \.isWhitespace) {
                table[String(name), default: []].formUnion(group.contexts)
            }
        }
        return table
    }()

    /// Where nginx allows the directive, or nil when nginx has none of that name.
    public static func contexts(of name: String) -> Set<Context>? { contextsByName[name] }

    /// The directives nginx allows in `context`, in byte order.
    public static func names(in context: Context) -> [String] {
        contextsByName.filter { $0.value.contains(context) }.keys.sorted()
    }

    /// All names, in byte order.
    public static var names: [String] { contextsByName.keys.sorted() }

    /// The directive of nginx that was probably meant.
    public static func nearest(to name: String) -> String? { nearestName(to: name, among: contextsByName.keys) }
}
