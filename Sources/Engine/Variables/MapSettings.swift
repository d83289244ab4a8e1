// `map` and `split_clients` as tables: a source, exact values, wildcards of host names, expressions, a default.
// Built by Control; asked by Evaluate.swift, once a request and map unless the map is volatile.

import Bytes

package struct MapSettings: BitwiseCopyable {
    package var source: Template
    /// Keys compare without case, as nginx's do.
    package var exact: NameTable
    package var suffixes: NameTable
    package var prefixes: NameTable
    package var regexes: Frozen<MapRegex>
    package var values: Frozen<Template>
    /// `hostnames`: a dot at the end of a name says nothing.
    package var takesHostnames = false
    package var defaultValue: Template
    /// Where the value of this request is kept; -1: volatile, asked each time.
    package var slot: Int32
    package init(source: Template, slot: Int32) {
        self.source = source
        self.slot = slot
        exact = .empty
        suffixes = .empty
        prefixes = .empty
        regexes = .empty
        values = .empty
        defaultValue = .empty
    }
}

package struct MapRegex: BitwiseCopyable {
    package var regex: Int32
    package var value: Template
    package init(regex: Int32, value: Template) {
        self.regex = regex
        self.value = value
    }
}

/// `split_clients`: shares of the hash of a text, in ten-thousandths of a percent as nginx counts them.
package struct SplitClientsSettings: BitwiseCopyable {
    package var source: Template
    package var parts: Frozen<Part>
    package var slot: Int32
    package struct Part: BitwiseCopyable {
        /// The part takes hashes below this; 0: all the rest (`*`).
        package var below: UInt32
        package var value: Template
        package init(below: UInt32, value: Template) {
            self.below = below
            self.value = value
        }
    }
    package init(source: Template, parts: Frozen<Part>, slot: Int32) {
        self.source = source
        self.parts = parts
        self.slot = slot
    }
}
