// Messages to receivers of news, in their order for each: one that does not answer holds up nobody else.
// Owned by RolloutOutside; sent from threads of its own. A message that cannot be delivered is told of and dropped.

import Synchronization

final class RolloutMail: Sendable {
    private struct Box {
        var waiting: [[UInt8]] = []
        /// A thread is at it.
        var isBusy = false
    }

    private let boxes = Mutex<[String: Box]>([:])
    private let threads = ErrandThreads(threadsMax: ControlLimits.rolloutMessengersMax, jobsMax: ControlLimits.rolloutReceiversMax)
    /// What an operator should know.
    private let tell: @Sendable (String) -> Void

    init(tell: @escaping @Sendable (String) -> Void) { self.tell = tell }

    func send(_ body: [UInt8], to receiver: String) {
        guard let url = ErrandURL(receiver) else { return }
        let (isTaken, begins) = boxes.withLock { boxes -> (Bool, Bool) in
            var box = boxes[receiver] ?? Box()
            let isFull = box.waiting.count >= ControlLimits.rolloutMessagesMax || (boxes[receiver] == nil && boxes.count >= ControlLimits.rolloutReceiversMax)
            if isFull { return (false, false) }
            let begins = !box.isBusy
            box.waiting.append(body)
            box.isBusy = true
            boxes[receiver] = box
            return (true, begins)
        }
        if isTaken, !begins || threads.run({ [self] in deliver(url, receiver) }) { return }
        if begins { boxes.withLock { $0[receiver] = nil } }
        tell("\(url.host) is not told of everything: too many messages wait")
    }

    private func deliver(_ url: ErrandURL, _ receiver: String) {
        while let body = next(receiver) {
            if let trouble = OutsideLook.tell(url, body) { tell("\(url.host) was not told: \(trouble)") }
        }
    }

    private func next(_ receiver: String) -> [UInt8]? {
        boxes.withLock { boxes in
            guard var box = boxes[receiver], !box.waiting.isEmpty else {
                boxes[receiver] = nil
                return nil
            }
            defer { boxes[receiver] = box }
            return box.waiting.removeFirst()
        }
    }
}
