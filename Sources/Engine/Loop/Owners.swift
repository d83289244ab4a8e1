// Whom an event or a timer is for, as a word.
// Made where something is registered or set, taken apart by `Worker.turn`.

import Bytes

/// Who an epoll event is for, in the top bits of the word it was registered with: generation << 32 | owner << 28 | index.
enum EventOwner: UInt64 {
    case listener = 1
    case client = 2
    case upstream = 3
    case mailbox = 4
    /// Not in epoll: an exchange that was put off to the next turn.
    case exchange = 7

    static func word(_ owner: EventOwner, _ handle: Handle) -> UInt64 {
        UInt64(handle.generation) << 32 | owner.rawValue << 28 | UInt64(handle.index)
    }
}

/// Where a timer's owner is a worker's own duty rather than a connection.
enum TimerOwner {
    static let acceptRest: UInt64 = 5 << 28
    static let logFlush: UInt64 = 6 << 28
    static let shutdown: UInt64 = 8 << 28
    static let duty: UInt64 = 9 << 28
    static let release: UInt64 = 10 << 28
    static let drain: UInt64 = 11 << 28
    static let queue: UInt64 = 12 << 28
}
