// Memory for libnghttp2: small pieces are kept by their size and lent again, so that a request in the steady state allocates nothing.
// Owned by a worker; its sessions are made with `functions` and end before it does. It knows nothing of HTTP.

import CNghttp2

/// Pieces that nobody uses, in lists by size.
private struct KeptPieces {
    static let step = 32
    /// The largest piece that is kept is this many steps.
    static let classes = 64
    /// In front of each piece; as much as keeps what follows aligned for anything.
    static let headBytes = 16

    var free: InlineArray<64, UnsafeMutableRawPointer?> = .init(repeating: nil)
    var bytes = 0

    /// How many steps a piece is to have; 0: it is too large to be kept.
    static func steps(_ size: Int) -> Int {
        let steps = (size &+ (step &- 1)) / step
        return steps <= classes ? max(steps, 1) : 0
    }

    mutating func take(_ size: Int) -> UnsafeMutableRawPointer? {
        if size < 0 || size > Int(Int32.max) { return nil }
        let steps = Self.steps(size)
        if steps > 0, let kept = free[steps &- 1] {
            free[steps &- 1] = kept.load(as: UnsafeMutableRawPointer?.self)
            bytes -= steps &* Self.step
            return kept
        }
        guard let raw = malloc(Self.headBytes + (steps > 0 ? steps * Self.step : size)) else { return nil }
        raw.storeBytes(of: steps > 0 ? steps * Self.step : size, as: Int.self)
        return raw + Self.headBytes
    }

    mutating func give(_ piece: UnsafeMutableRawPointer?) {
        guard let piece else { return }
        let steps = Self.steps(Self.room(piece))
        if steps == 0 || bytes >= Limits.libraryKeptBytes { return CNghttp2.free(piece - Self.headBytes) }
        piece.storeBytes(of: free[steps &- 1], as: UnsafeMutableRawPointer?.self)
        free[steps &- 1] = piece
        bytes += steps &* Self.step
    }

    mutating func resize(_ piece: UnsafeMutableRawPointer?, _ size: Int) -> UnsafeMutableRawPointer? {
        guard let piece else { return take(size) }
        let room = Self.room(piece)
        if size <= room { return piece }
        guard let larger = take(size) else { return nil }
        larger.copyMemory(from: piece, byteCount: room)
        give(piece)
        return larger
    }

    static func room(_ piece: UnsafeMutableRawPointer) -> Int { (piece - headBytes).load(as: Int.self) }
}

final class LibraryMemory {
    private let pieces = UnsafeMutablePointer<KeptPieces>.allocate(capacity: 1)
    /// For `nghttp2_session_server_new3` and `nghttp2_session_client_new3`, which copy it.
    let functions = UnsafeMutablePointer<nghttp2_mem>.allocate(capacity: 1)

    init() {
        pieces.initialize(to: KeptPieces())
        functions.initialize(
            to: nghttp2_mem(
                mem_user_data: pieces,
                malloc: { size, user in keptPieces(user).pointee.take(size) },
                free: { piece, user in keptPieces(user).pointee.give(piece) },
                calloc: { count, each, user in
                    let (size, isTooLarge) = count.multipliedReportingOverflow(by: each)
                    guard !isTooLarge, let piece = keptPieces(user).pointee.take(size) else { return nil }
                    piece.initializeMemory(as: UInt8.self, repeating: 0, count: size)
                    return piece
                },
                realloc: { piece, size, user in keptPieces(user).pointee.resize(piece, size) }))
    }

    deinit {
        for i in 0..<KeptPieces.classes {
            var next = pieces.pointee.free[i]
            while let piece = next {
                next = piece.load(as: UnsafeMutableRawPointer?.self)
                free(piece - KeptPieces.headBytes)
            }
        }
        pieces.deallocate()
        functions.deallocate()
    }
}

@inline(__always)
private func keptPieces(_ user: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<KeptPieces> {
    user.unsafelyUnwrapped.assumingMemoryBound(to: KeptPieces.self)
}
