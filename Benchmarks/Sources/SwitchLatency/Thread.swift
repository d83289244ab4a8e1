// Owns the start and the end of a thread. Main uses it; nothing is cancelled: threads end when the board says so.

import Glibc

final class Thread: @unchecked Sendable {
    private var handle = pthread_t()
    private let body: @Sendable () -> Void

    /// Starts `body` on a thread of its own; nil if the system has none left.
    init?(_ body: @escaping @Sendable () -> Void) {
        self.body = body
        let this = Unmanaged.passRetained(self)
        let result = pthread_create(
            &handle, nil,
            { raw in
                guard let raw else { return nil }
                Unmanaged<Thread>.fromOpaque(raw).takeRetainedValue().body()
                return nil
            }, this.toOpaque())
        if result != 0 {
            this.release()
            return nil
        }
    }

    func join() { pthread_join(handle, nil) }
}
