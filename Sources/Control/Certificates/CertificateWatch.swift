// When a certificate is about to expire, and whether that has been said: 30, 7 and 1 days before, and when it has expired.
// Owned by the controller, which asks at a start, a reload, a replacement and once an hour. It knows no clock.

import AdminAPI
import Engine

struct CertificateWatch {
    static let dayMs: Int64 = 86_400_000
    /// Days before the end at which is warned.
    static let warningDays: [Int64] = [30, 7, 1]
    private var said: [String: (chain: String, stage: Int, atMs: Int64)] = [:]

    /// 0: there is time; then one more for each warning that is due; the last: it has expired.
    static func stage(_ notAfterMs: Int64, _ nowMs: Int64) -> Int {
        let leftMs = notAfterMs - nowMs
        if leftMs <= 0 { return warningDays.count + 1 }
        return warningDays.count { leftMs <= $0 * dayMs }
    }

    /// What is to be said of this one now; nil: nothing, or it has been said. One that has expired is told of once a day.
    /// - Parameter isFresh: at a start and a reload everything is told of.
    mutating func remark(on name: String, _ path: String, _ chain: TLSCertificateChain, nowMs: Int64, isFresh: Bool) -> String? {
        let notAfterMs = chain.first.notAfterMs
        let stage = Self.stage(notAfterMs, nowMs)
        let last = said[name]
        if stage == 0 {
            said[name] = nil
            return nil
        }
        let isExpired = stage > Self.warningDays.count
        let isSaid = last.map { $0.chain == chain.digest && $0.stage >= stage && !(isExpired && nowMs - $0.atMs >= Self.dayMs) } ?? false
        if isSaid, !isFresh { return nil }
        said[name] = (chain.digest, stage, nowMs)
        let file = name == path ? "" : " (\(path))"
        let end = Timestamp.text(ms: notAfterMs)
        if isExpired { return "certificate \"\(name)\"\(file) has expired: clients refuse it since \(end)" }
        let days = CertificateInfo.days(from: nowMs, to: notAfterMs)
        return "certificate \"\(name)\"\(file) expires in \(days == 0 ? "less than a day" : days == 1 ? "1 day" : "\(days) days"), at \(end)"
    }
}
