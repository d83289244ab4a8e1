// Owns the reading of an event stream (text/event-stream) as its bytes come, in any pieces.
// Called by the verb `events`. Pure. Fields it does not know are ignored, as the standard says.

struct EventReader {
    struct Message: Equatable {
        var id: String?
        var event: String?
        var data: String
    }

    /// An event is one line of JSON; what is longer is not one.
    static let lineBytesMax = 1 << 20

    /// The last id seen, for `Last-Event-ID`.
    private(set) var lastID: String?
    /// What the server asks to wait before a new connection; nil: it asks nothing.
    private(set) var retryMs: Int64?
    private(set) var isTooLong = false

    private var line: [UInt8] = []
    private var endedWithReturn = false
    private var pendingID: String?
    private var event: String?
    private var data: [String] = []

    /// Forgets what is half read: the connection ended.
    mutating func reset() {
        line = []
        event = nil
        data = []
        pendingID = lastID
        endedWithReturn = false
    }

    mutating func feed(_ bytes: some Sequence<UInt8>) -> [Message] {
        var messages: [Message] = []
        for byte in bytes {
            let isEnd = byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r")
            // A line feed behind a carriage return is no other line.
            if byte == UInt8(ascii: "\n"), endedWithReturn {
                endedWithReturn = false
                continue
            }
            endedWithReturn = byte == UInt8(ascii: "\r")
            if !isEnd {
                if line.count < Self.lineBytesMax { line.append(byte) } else { isTooLong = true }
                continue
            }
            if let message = finishLine() { messages.append(message) }
        }
        return messages
    }

    private mutating func finishLine() -> Message? {
        let text = String(decoding: line, as: UTF8.self)
        line = []
        if text.isEmpty {
            // Only a whole event moves the place from which a new connection goes on.
            lastID = pendingID
            defer {
                event = nil
                data = []
            }
            return data.isEmpty ? nil : Message(id: lastID, event: event, data: data.joined(separator: "\n"))
        }
        let name = text.prefix { $0 != ":" }
        var value = text.dropFirst(name.count + 1)
        if value.hasPrefix(" ") { value = value.dropFirst() }
        switch name {
        case "id": pendingID = String(value)
        case "event": event = String(value)
        case "data": data.append(String(value))
        case "retry": retryMs = Int64(value)
        default: break
        }
        return nil
    }
}
