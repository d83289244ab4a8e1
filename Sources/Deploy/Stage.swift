// The stages of a deploy, in their order: the words that plans, journals and messages share.

/// Where a deploy has got to.
public enum Stage: String, Sendable, CaseIterable {
    /// Commands that say whether a deploy may begin at all.
    case check
    case backup
    case build
    case migrate
    case start
    case health
    /// The new version is given mirrored requests, and its answers are compared.
    case shadow
    /// All new requests go to the new version, in one operation.
    case `switch`
    /// Shares of them do, step by step, judged by the proxy.
    case rollout
    /// Replicas are replaced, some at a time.
    case replace
    /// The new version answers through the proxy.
    case verify
    /// It keeps answering.
    case bake
    /// The last requests of the old version end.
    case drain
    case stop

    /// From here on nothing is undone: the new version has proved itself, and what is left is tidying.
    public var isAfterwards: Bool { self == .drain || self == .stop }
}
