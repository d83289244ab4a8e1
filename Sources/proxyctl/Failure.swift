// Owns the ways a verb can end other than well, and the status the program exits with.
// Thrown by the client and the verbs; Proxyctl prints it once.

enum ExitStatus: Int32 {
    case done = 0
    case refused = 1
    case usage = 2
    case unreachable = 3
    case lostRace = 4
}

struct Failure: Error {
    var status: ExitStatus
    /// What happened; one line or several.
    var text: String
    /// What to do next; empty: nothing to add.
    var hint = ""
    /// The server's answer, for --json; nil: the server said nothing.
    var document: [UInt8]?

    init(_ status: ExitStatus, _ text: String, hint: String = "", document: [UInt8]? = nil) {
        self.status = status
        self.text = text
        self.hint = hint
        self.document = document
    }
}
