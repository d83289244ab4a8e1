// Read-only hash tables in an arena: names of hosts, headers, media types to small values.
// Built by Control when a snapshot is made; looked up on the hot path. Names compare without case.

import Bytes

/// Names to numbers, found in constant time however many there are (open addressing, at most half full).
package struct NameTable: BitwiseCopyable {
    private struct Entry: BitwiseCopyable {
        var hash: UInt32
        var value: Int32
        var name: ByteView
    }
    private var entries: Frozen<Entry>
    /// Bit n mod 64 is set when a name of n bytes is there: most look-ups of absent names end here.
    private var lengths: UInt64

    package static var empty: NameTable { NameTable(entries: .empty, lengths: 0) }
    private init(entries: Frozen<Entry>, lengths: UInt64) {
        self.entries = entries
        self.lengths = lengths
    }

    /// Of two equal names the first stays. Values are not negative.
    package init(_ pairs: [(name: String, value: Int32)], arena: Arena) {
        if pairs.isEmpty {
            self = .empty
            return
        }
        var size = 4
        while size < pairs.count * 2 { size *= 2 }
        var table = [Entry](repeating: Entry(hash: 0, value: -1, name: .empty), count: size)
        var lengths: UInt64 = 0
        for (text, value) in pairs {
            let name = arena.freeze(text.lowercased())
            let hash = name.hashIgnoringCase
            var i = Int(hash) & (size - 1)
            while table[i].value >= 0, !(table[i].hash == hash && table[i].name == name) { i = (i + 1) & (size - 1) }
            if table[i].value < 0 { table[i] = Entry(hash: hash, value: value, name: name) }
            lengths |= 1 << UInt64(name.count & 63)
        }
        self.init(entries: arena.freeze(table), lengths: lengths)
    }

    package var isEmpty: Bool { entries.isEmpty }

    package func find(_ name: ByteView) -> Int32? {
        if lengths & (1 << UInt64(name.count & 63)) == 0 { return nil }
        let hash = name.hashIgnoringCase
        var i = Int(hash) & (entries.count - 1)
        while true {
            let e = entries[i]
            if e.value.value < 0 { return nil }
            if e.hash == hash, e.value.name.equalsIgnoringCase(name) { return e.value.value }
            i = (i + 1) & (entries.count - 1)
        }
    }
}

/// A set of names.
package struct NameSet: BitwiseCopyable {
    private var table: NameTable
    package static var empty: NameSet { NameSet(table: .empty) }
    private init(table: NameTable) { self.table = table }
    package init(_ names: [String], arena: Arena) { table = NameTable(names.map { ($0, 0) }, arena: arena) }
    package var isEmpty: Bool { table.isEmpty }
    package func contains(_ name: ByteView) -> Bool { table.find(name) != nil }
}

/// File name extensions to media types (`types {}`).
package struct MediaTypes: BitwiseCopyable {
    private var table: NameTable
    private var types: Frozen<ByteView>
    package static var empty: MediaTypes { MediaTypes(table: .empty, types: .empty) }
    private init(table: NameTable, types: Frozen<ByteView>) {
        self.table = table
        self.types = types
    }
    /// What is said last of an extension holds.
    package init(_ pairs: [(fileExtension: String, type: String)], arena: Arena) {
        table = NameTable(pairs.enumerated().reversed().map { ($1.fileExtension, Int32($0)) }, arena: arena)
        types = arena.freeze(pairs.map { arena.freeze($0.type) })
    }
    package func find(_ fileExtension: ByteView) -> ByteView? { table.find(fileExtension).map { types[Int($0)].value } }
}
