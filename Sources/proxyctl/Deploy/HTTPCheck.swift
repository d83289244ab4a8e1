// Asks an address once, and says whether the answer is the one that was wished for.
// Used by StepDoer for health, verify and bake, and by Notifier to send. Plain HTTP; each time a new connection.

import AdminAPI
import CLinux
import Deploy

enum HTTPCheck {
    /// Nil: as it should be; else why not.
    static func run(_ check: RequestCheck) -> String? {
        let (address, target): (AdminAddress, String)
        do throws(Failure) { (address, target) = try place(check.url) } catch { return error.text }
        var request = AdminRequest("GET", [])
        request.path = target
        request.host = check.host
        request.timeoutMs = Int(clamping: check.timeoutMs)
        let answer: AdminAnswer
        do throws(Failure) {
            answer = try AdminClient([address], connectTimeoutMs: Int32(clamping: check.timeoutMs)).send(request)
        } catch {
            return "\(check.url): \(error.text)"
        }
        if !check.statuses.range.contains(answer.status) { return "\(check.url) answers \(answer.status)" }
        for (name, wished) in check.headers.sorted(by: { $0.key < $1.key }) {
            let value = answer.fields.first { $0.name.lowercased() == name.lowercased() }?.value
            if value?.contains(wished) != true {
                return "\(check.url) answers with \(value.map { "\(name): \($0)" } ?? "no \(name)"), expected \(wished)"
            }
        }
        if let wished = check.body, !answer.text.contains(wished) {
            return "\(check.url) answers \"\(answer.text.prefix(80))\", expected \"\(wished)\""
        }
        return nil
    }

    /// The address and the target of `http://host:port/path?query`.
    static func place(_ url: String) throws(Failure) -> (AdminAddress, String) {
        let rest = url.dropFirst(7)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        var target = String(rest.dropFirst(authority.count))
        if !target.hasPrefix("/") { target = "/" + target }
        guard url.hasPrefix("http://"), target.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else {
            throw Failure(.usage, "\(url) is no address that begins with http://")
        }
        switch AdminAddress.parse("http://" + authority) {
        case .success(let address): return (address, target)
        case .failure(let problem): throw Failure(.usage, "\(url): \(problem.text)")
        }
    }
}
