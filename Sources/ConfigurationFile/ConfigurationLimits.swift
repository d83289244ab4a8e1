// How large a configuration may be. Read by the lexer, the parser and the loader; hitting a limit is a diagnostic.

/// A number for everything that grows with the input.
public struct ConfigurationLimits: Hashable, Sendable {
    /// One file. A geo table of 300 000 networks has some 8 MiB.
    public var fileBytesMax = 16 << 20
    /// All files together; a file included twice counts twice.
    public var totalBytesMax = 64 << 20
    /// All files together; a file included twice counts twice. A host with a thousand sites has some 3000.
    public var filesMax = 10_000
    /// All directives of all files; a line of a map or geo table is one. Each takes some 300 bytes of memory.
    public var directivesMax = 500_000
    /// Blocks within blocks. Real configurations have up to 6; never more than `depthCeiling`.
    public var depthMax = 32
    /// Files included by included files. It also ends what a cycle through links would not.
    public var includeDepthMax = 16
    /// One word as it is written, escapes included, quotes not. nginx ends here too: its buffer has 4096 bytes and needs
    /// one for what follows the word. It finds a quote that was never closed near where it was opened.
    public var wordBytesMax = 4095
    /// Words of one directive. `server_name` may list many.
    public var wordsMax = 16_384

    /// The parser and the tree it makes are recursive: beyond this the stack of a thread would be in danger.
    public static let depthCeiling = 256

    public init() {}
}
