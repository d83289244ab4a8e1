// What a location says of response filters: gzip, gunzip, charset. Behind one reference: a location without filters has none.
// Filled by Control; read when an answer's head is composed and while its body passes.

import Bytes
import HTTPMessage

/// The media types of `gzip_types`, `ssi_types` and the like.
package struct MediaTypeList: BitwiseCopyable {
    private var names = NameSet.empty
    private var isAny = false

    package init() {}
    /// `types` with "*" among them: any.
    package init(_ types: [String], arena: Arena) {
        isAny = types.contains("*")
        names = NameSet(types, arena: arena)
    }

    /// Types compare without case. An answer that has no type is in no list but that of any.
    func contains(_ type: ByteView) -> Bool { isAny || !type.isEmpty && names.contains(type) }
}

/// The conditions of `gzip_proxied`, as bits.
package struct GzipProxied: OptionSet, BitwiseCopyable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    package static let expired = GzipProxied(rawValue: 1)
    package static let noCache = GzipProxied(rawValue: 2)
    package static let noStore = GzipProxied(rawValue: 4)
    package static let isPrivate = GzipProxied(rawValue: 8)
    package static let noLastModified = GzipProxied(rawValue: 16)
    package static let noETag = GzipProxied(rawValue: 32)
    package static let auth = GzipProxied(rawValue: 64)
    package static let any = GzipProxied(rawValue: 128)
}

package enum GzipStatic: UInt8, BitwiseCopyable { case off, on, always }

/// `charset` and `source_charset`.
package enum CharsetChoice: BitwiseCopyable, Equatable {
    case off
    /// A place among the snapshot's charsets.
    case named(Int32)
    case computed(Template)

    package static func == (a: CharsetChoice, b: CharsetChoice) -> Bool {
        switch (a, b) {
        case (.off, .off): true
        case (.named(let x), .named(let y)): x == y
        default: false
        }
    }
}

/// What one location says of filters.
package struct FilterSettings: BitwiseCopyable {
    package var gzip = false
    package var gzipTypes = MediaTypeList()
    package var gzipMinLength: Int64 = 20
    package var gzipLevel: Int32 = 1
    package var gzipVary = false
    /// 0 or 1: from HTTP/1.0 or from HTTP/1.1 on.
    package var gzipHTTPMinor: UInt8 = 1
    package var gzipProxied: GzipProxied = []
    /// Expressions for User-Agent that turn it off.
    package var gzipDisabled = Frozen<Int32>.empty
    package var gzipDisabledForMSIE6 = false
    package var gzipStatic = GzipStatic.off
    package var gunzip = false
    package var charset = CharsetChoice.off
    package var sourceCharset = CharsetChoice.off
    package var overridesCharset = false
    package var charsetTypes = MediaTypeList()
    package init() {}
}

/// The character sets that a configuration names, and the tables between them.
package struct Charsets: BitwiseCopyable {
    package struct Table: BitwiseCopyable {
        package var from: Int32
        package var to: Int32
        package var table: CharsetTable
        package init(from: Int32, to: Int32, table: CharsetTable) {
            self.from = from
            self.to = to
            self.table = table
        }
    }
    private var names = Frozen<ByteView>.empty
    private var tables = Frozen<Table>.empty

    package init() {}
    package init(names: [String], tables: [Table], arena: Arena) {
        self.names = arena.freeze(names.map { arena.freeze($0) })
        self.tables = arena.freeze(tables)
    }

    func name(_ i: Int32) -> ByteView { names[Int(i)].value }

    func find(_ name: ByteView) -> Int32? {
        (0..<names.count).first { names[$0].value.equalsIgnoringCase(name) }.map { Int32($0) }
    }

    func table(from: Int32, to: Int32) -> CharsetTable? {
        (0..<tables.count).first { tables[$0].from == from && tables[$0].to == to }.map { tables[$0].table }
    }
}
