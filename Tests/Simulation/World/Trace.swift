// What happened, for the one moment when a test fails: a bounded ring of calls and notes, and a fingerprint of all of them.
// Written by the kernel and the actors; read by `World.story`. Lines are put into words only when somebody reads them.

package struct Trace {
    struct Line {
        var atNs: UInt64
        var call: StaticString
        var a: Int
        var b: Int
        var result: Int
        var note: String?
    }

    private var ring: [Line] = []
    private var next = 0
    private let linesMax: Int
    /// How many lines were written, kept or not.
    package private(set) var count = 0
    /// FNV-1a over everything written: equal fingerprints, equal runs.
    package private(set) var fingerprint: UInt64 = 0xCBF2_9CE4_8422_2325

    init(linesMax: Int) { self.linesMax = linesMax }

    mutating func add(_ line: Line) {
        count += 1
        mix(line.atNs)
        mix(UInt64(line.call.utf8CodeUnitCount))
        mix(UInt64(bitPattern: Int64(line.a)))
        mix(UInt64(bitPattern: Int64(line.b)))
        mix(UInt64(bitPattern: Int64(line.result)))
        if let note = line.note { for byte in note.utf8 { mix(UInt64(byte)) } }
        if ring.count < linesMax {
            ring.append(line)
        } else {
            ring[next] = line
            next = (next + 1) % linesMax
        }
    }

    private mutating func mix(_ word: UInt64) { fingerprint = (fingerprint ^ word) &* 0x0000_0100_0000_01B3 }

    /// The lines kept, oldest first.
    package var lines: [String] {
        (0..<ring.count).map { i in
            let line = ring[(next + i) % ring.count]
            let seconds = line.atNs / 1_000_000_000
            let rest = String(1_000_000_000 + line.atNs % 1_000_000_000).dropFirst()
            if let note = line.note { return "\(seconds).\(rest) \(line.call) \(note)" }
            return "\(seconds).\(rest) \(line.call)(\(line.a), \(line.b)) = \(line.result)"
        }
    }
}
