// Tells a webhook what happens: JSON with "text", which Slack and its likes take, and the facts beside it. In a thread of its own.
// Used by DeployDriver. A receiver that is slow or gone delays nobody: notes wait in a short queue, and the oldest is dropped.

import AdminAPI
import CLinux
import Deploy
import Glibc

final class Notifier: @unchecked Sendable {
    struct Note: Sendable {
        var moment: NotifyPlan.Moment
        var text: String
        var record: DeployRecord
    }

    static let queueMax = 100

    private let url: String
    private let headers: [(name: String, value: String)]
    private let plan: NotifyPlan
    /// All below is the lock's.
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private var queue: [Note] = []
    private var isSending = false
    private var failure: String?

    init(_ plan: NotifyPlan, url: String, headers: [(name: String, value: String)]) {
        self.plan = plan
        self.url = url
        self.headers = headers
        lock = .allocate(capacity: 1)
        pthread_mutex_init(lock, nil)
    }

    deinit {
        pthread_mutex_destroy(lock)
        lock.deallocate()
    }

    private func locked<Value>(_ body: () -> Value) -> Value {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return body()
    }

    /// Returns at once.
    func tell(_ note: Note) {
        guard plan.moments.contains(note.moment) else { return }
        let isToBegin = locked {
            queue.append(note)
            if queue.count > Self.queueMax { queue.removeFirst() }
            defer { isSending = true }
            return !isSending
        }
        guard isToBegin else { return }
        var thread = pthread_t()
        let me = Unmanaged.passRetained(self)
        let result = pthread_create(
            &thread, nil,
            { pointer in
                if let pointer { Unmanaged<Notifier>.fromOpaque(pointer).takeRetainedValue().drain() }
                return nil
            }, me.toOpaque())
        if result == 0 {
            pthread_detach(thread)
            return
        }
        me.release()
        locked {
            isSending = false
            failure = "there is no thread to send notes"
        }
    }

    /// Waits until everything is sent, but not for long. What the last failure was; nil: none.
    func finish(ms: Int64) -> String? {
        let endMs = Clock.monotonicMs + ms
        while locked({ isSending }), Clock.monotonicMs < endMs { clinux_sleep_ms(5) }
        return locked { isSending ? "the receiver of notes is slow: what it was not told yet is lost" : failure }
    }

    private func drain() {
        while true {
            let note: Note? = locked {
                if queue.isEmpty { isSending = false } else { return queue.removeFirst() }
                return nil
            }
            guard let note else { return }
            var pauseMs = plan.pauseMs
            var why: String?
            for attempt in 1...plan.tries {
                why = send(Self.body(note))
                if why == nil { break }
                if attempt < plan.tries { clinux_sleep_ms(Int32(clamping: pauseMs)) }
                pauseMs = min(pauseMs * 2, 60_000)
            }
            if let why { locked { failure = "a note was not taken: \(why)" } }
        }
    }

    static func body(_ note: Note) -> [UInt8] {
        let record = note.record
        let way = record.to.isEmpty ? "" : " to \(record.to)"
        let commit = record.commit.isEmpty ? "" : " (\(record.commit))"
        return JSON.members([
            "commit": .string(record.commit), "deploy": .integer(Int64(record.number)), "event": .string(note.moment.rawValue),
            "from": .string(record.from), "name": .string(record.name),
            "services": .array(record.services.map { .string($0) }),
            "text": .string("\(record.kind.rawValue) \(record.name) \(record.number)\(way)\(commit): \(note.text)"),
            "to": .string(record.to), "who": .string(record.who),
        ]).bytes(pretty: false)
    }

    /// Nil: it was taken.
    private func send(_ body: [UInt8]) -> String? {
        if url.hasPrefix("https://") { return sendByCurl(body) }
        do throws(Failure) {
            let (address, target) = try HTTPCheck.place(url)
            var request = AdminRequest("POST", [])
            request.path = target
            request.body = body
            request.fields = headers
            request.timeoutMs = Int(clamping: plan.timeoutMs)
            let answer = try AdminClient([address], connectTimeoutMs: Int32(clamping: plan.timeoutMs)).send(request)
            return (200...299).contains(answer.status) ? nil : "the receiver answers \(answer.status)"
        } catch {
            return error.text
        }
    }

    /// We speak no TLS; curl does. Its words come from its standard input: others see the list of processes.
    private func sendByCurl(_ body: [UInt8]) -> String? {
        func quoted(_ text: String) -> String {
            "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n") + "\""
        }
        var lines = ["url = \(quoted(url))", "data-raw = \(quoted(String(decoding: body, as: UTF8.self)))"]
        lines += [("Content-Type", "application/json")].map { "header = \(quoted("\($0): \($1)"))" }
        lines += headers.map { "header = \(quoted("\($0.name): \($0.value)"))" }
        do throws(Failure) {
            let spawned = try Spawn.shell(
                "curl --silent --show-error --fail --output /dev/null --max-time \"$1\" --config /dev/fd/3",
                ["\(max(1, plan.timeoutMs / 1000))"], env: [:], log: "/dev/null", isSession: false)
            let bytes = Array((lines.joined(separator: "\n") + "\n").utf8)
            _ = bytes.withUnsafeBytes { clinux_write(spawned.gate, $0.baseAddress, $0.count) }
            spawned.close()
            var status: Int32 = 0
            while waitpid(spawned.pid, &status, 0) < 0 && errno == EINTR {}
            return status == 0 ? nil : "curl ended with status \((status >> 8) & 0xff)"
        } catch {
            return error.text
        }
    }
}
