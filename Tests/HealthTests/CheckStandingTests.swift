import Health
import Testing

/// What results in a row come to.
@Suite struct CheckStandingTests {
    /// `+` and `-`: a pass and a failure; a digit: so many seconds go by. The states behind each result.
    private func states(_ results: String, from state: CheckStanding.State, _ timing: CheckTiming, startPeriodMs: Int64 = 0) -> String {
        var nowMs: Int64 = 1000
        var standing = CheckStanding(state, startEndsMs: nowMs + startPeriodMs)
        var seen = ""
        for sign in results {
            if let seconds = sign.wholeNumberValue {
                nowMs += Int64(seconds) * 1000
                continue
            }
            let before = standing.state
            let hasChanged = standing.note(passed: sign == "+", nowMs: nowMs, timing)
            #expect(hasChanged == (before != standing.state))
            switch standing.state {
            case .assumed: seen += "a"
            case .waiting: seen += "w"
            case .passing: seen += "p"
            case .failing: seen += "f"
            }
        }
        return seen
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var results: String
        var from: CheckStanding.State
        var fails = 1
        var passes = 1
        var startPeriodMs: Int64 = 0
        var states: String
        var testDescription: String { "\(from) \(results)" }
    }

    @Test(arguments: [
        Row(results: "+-+", from: .assumed, states: "pfp"),
        Row(results: "--+-+--", from: .assumed, fails: 2, states: "afppppf"),
        Row(results: "-+-+-", from: .passing, fails: 2, states: "ppppp"),
        Row(results: "+-++-++", from: .waiting, passes: 2, states: "wffpffp"),
        Row(results: "++", from: .waiting, passes: 2, states: "wp"),
        Row(results: "--", from: .waiting, fails: 2, states: "wf"),
        // One pass is enough for what was taken for well before.
        Row(results: "+", from: .assumed, passes: 3, states: "p"),
        Row(results: "+-+++", from: .failing, passes: 3, states: "ffffp"),
        // Failures of the start do not count; the first pass ends it.
        Row(results: "-3-3-5-", from: .waiting, startPeriodMs: 10_000, states: "wwwf"),
        Row(results: "-+-", from: .waiting, startPeriodMs: 10_000, states: "wpf"),
        Row(results: "-9--", from: .assumed, fails: 2, startPeriodMs: 9_000, states: "aaf"),
    ])
    func resultsInARow(_ row: Row) {
        let timing = CheckTiming(fails: row.fails, passes: row.passes)
        #expect(states(row.results, from: row.from, timing, startPeriodMs: row.startPeriodMs) == row.states)
    }

    @Test func everythingIsCounted() {
        var standing = CheckStanding(.waiting)
        #expect(!standing.hasPassed && standing.lastPassed == nil)
        for passed in [false, false, true, false, true] { _ = standing.note(passed: passed, nowMs: 5, CheckTiming()) }
        #expect(standing.checks == 5 && standing.failures == 3 && standing.falls == 2)
        #expect(standing.hasPassed && standing.lastPassed == true && standing.failsInRow == 0 && standing.passesInRow == 1)
    }

    @Test func aServerPassesWhenAllGatesDo() {
        func sum(_ states: CheckStanding.State...) -> CheckSum {
            var sum = CheckSum()
            for state in states { sum.add(CheckStanding(state)) }
            return sum
        }
        #expect(sum().verdict == .unknown)
        #expect(sum(.assumed, .assumed).verdict == .unknown)
        #expect(sum(.assumed, .passing).verdict == .up)
        #expect(sum(.waiting, .passing).verdict == .checking)
        #expect(sum(.waiting, .failing).verdict == .unhealthy)
        #expect(sum(.passing, .failing).verdict == .unhealthy)
        #expect(sum(.waiting, .passing).isBarred && !sum(.failing).isBarred)
    }
}
