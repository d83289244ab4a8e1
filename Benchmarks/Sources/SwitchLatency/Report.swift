// Owns the JSON that a run prints: one object, flat words, no arithmetic but percentiles. Main calls it.

/// p50, p90, p99 and max of a series, by nearest rank.
private func percentiles(_ values: [Double]) -> String {
    guard !values.isEmpty else { return "null" }
    let sorted = values.sorted()
    func at(_ share: Double) -> String {
        let rank = Int((share * Double(sorted.count)).rounded(.up))
        return rounded(sorted[min(sorted.count, max(1, rank)) - 1])
    }
    return #"{"p50":\#(at(0.5)),"p90":\#(at(0.9)),"p99":\#(at(0.99)),"max":\#(at(1))}"#
}

private func rounded(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

private func json(_ counts: Counts) -> String {
    #"{"requests":\#(counts.requests),"slow_requests":\#(counts.slowRequests),"tunnel_messages":\#(counts.tunnelMessages),"#
        + #""failed":\#(counts.failed),"closed":\#(counts.closed),"cut":\#(counts.cut),"slow_lost":\#(counts.slowLost),"#
        + #""stale":\#(counts.stale)}"#
}

private func json(_ footprint: Footprint) -> String {
    #"{"resident_kib":\#(footprint.residentKiB),"descriptors":\#(footprint.descriptors),"processes":\#(footprint.processes),"#
        + #""processor_ms":\#(footprint.processorMs)}"#
}

private func json(_ stretch: Stretch, _ board: Board, _ phase: Phase) -> String {
    #"{"switches":\#(stretch.switches),"seconds":\#(rounded(stretch.seconds)),"unseen":\#(stretch.unseen),"#
        + #""first_new_us":\#(percentiles(stretch.firstNewUs)),"acknowledged_us":\#(percentiles(stretch.acknowledgedUs)),"#
        + #""last_old_us":\#(percentiles(stretch.lastOldUs)),"answer_us":\#(latency(board, phase)),"#
        + #""counts":\#(json(stretch.counts)),"before":\#(json(stretch.before)),"after":\#(json(stretch.after))}"#
}

private func latency(_ board: Board, _ phase: Phase) -> String {
    guard let found = board.latency(of: phase) else { return "null" }
    return #"{"p50":\#(found.p50),"p99":\#(found.p99),"max":\#(found.max)}"#
}

private func text(_ words: String) -> String {
    var out = "\""
    for scalar in words.unicodeScalars {
        switch scalar {
        case "\"", "\\": out += "\\\(scalar)"
        case " "..."~": out.unicodeScalars.append(scalar)
        default: out += "?"
        }
    }
    return out + "\""
}

func report(_ results: Results, _ board: Board) -> String {
    var parts = [#""switches":\#(json(results.switches, board, .switches))"#]
    if let growth = results.growth { parts.append(#""growth":\#(json(growth, board, .growth))"#) }
    if let puts = results.puts {
        parts.append(
            #""puts":{"acknowledged_us":\#(percentiles(puts.acknowledgedUs)),"body_bytes":\#(puts.bodyBytes),"#
                + #""answer_us":\#(latency(board, .puts)),"counts":\#(json(puts.counts)),"before":\#(json(puts.before)),"#
                + #""after":\#(json(puts.after))}"#)
    }
    // What a drain at the end found is in the total alone.
    parts.append(#""total":\#(json(board.counts)),"faults":[\#(board.faults.map(text).joined(separator: ","))]"#)
    return "{" + parts.joined(separator: ",") + "}\n"
}
