// What is counted of two variants of a split while somebody watches it: requests, errors by class, latencies. One row a worker
// and variant, plain cells with one writer. Made by Control and handed to a snapshot; requests of other splits pay one compare.

import Bytes
import CLinux

/// A cell of a row, before those of the latencies.
package enum VariantTally: Int, CaseIterable, Sendable {
    /// Sent to the variant, and ended by an answer or by a fault of the variant.
    case started, finished
    // Of those that ended, what is an error.
    case connect, timeout, reset, invalidAnswer, status5xx, status4xx
    /// A call of gRPC that ended with a status that is the server's fault.
    case grpcStatus
}

/// The latencies of a row: 16 buckets for each power of two, up to 2^27 µs, as HdrHistogram has them.
package enum LatencyBuckets {
    package static let count = 384

    /// - Parameter us: microseconds.
    @inline(__always)
    package static func bucket(ofUs us: UInt64) -> Int {
        let us = min(us, 1 << 27 - 1)
        if us < 16 { return Int(truncatingIfNeeded: us) }
        let octave = 63 &- us.leadingZeroBitCount
        return (octave &- 3) &<< 4 | Int(truncatingIfNeeded: us &>> UInt64(truncatingIfNeeded: octave &- 4) & 15)
    }
}

/// The cells of one worker for one variant.
struct VariantRow: BitwiseCopyable {
    let cells: UnsafeMutablePointer<UInt64>

    func add(_ tally: VariantTally) { clinux_count_add(cells + tally.rawValue, 1) }
    func add(us: UInt64) { clinux_count_add(cells + SplitWatch.tallies + LatencyBuckets.bucket(ofUs: us), 1) }
}

/// Owns the rows. The snapshots of a watched split share it.
package final class SplitWatch: @unchecked Sendable {
    /// The names of the variants that are watched.
    package let variants: [String]
    fileprivate static let tallies = VariantTally.allCases.count
    /// A row begins on a line of the cache of its own.
    fileprivate static let rowCells = (tallies + LatencyBuckets.count + 7) / 8 * 8
    private let cells: UnsafeMutableRawPointer
    private let workers: Int

    package init(variants: [String], workers: Int) {
        self.variants = variants
        self.workers = max(1, workers)
        let bytes = self.workers * variants.count * Self.rowCells * 8
        cells = .allocate(byteCount: max(bytes, 64), alignment: 64)
        cells.initializeMemory(as: UInt8.self, repeating: 0, count: max(bytes, 64))
    }

    deinit { cells.deallocate() }

    private func row(_ variant: Int, worker: Int) -> UnsafeMutablePointer<UInt64> {
        cells.assumingMemoryBound(to: UInt64.self) + (worker * variants.count + variant) * Self.rowCells
    }

    /// Where the rows of a split's variants are, in the order of the split: what its entry in a snapshot holds.
    package func view(of splitVariants: [String], in arena: Arena) -> SplitWatchView {
        SplitWatchView(
            cells: row(0, worker: 0), perWorker: variants.count * Self.rowCells, workers: workers,
            places: arena.freeze(splitVariants.map { name in variants.firstIndex(of: name).map { Int32($0 * Self.rowCells) } ?? -1 }))
    }

    /// The sum of a variant's rows; others go on writing. Cells only ever grow.
    package func read(_ variant: Int) -> (tallies: [UInt64], latencies: [UInt64]) {
        var sums = [UInt64](repeating: 0, count: Self.tallies + LatencyBuckets.count)
        for worker in 0..<workers {
            let row = row(variant, worker: worker)
            // What ended is read before what began, so that no end is seen without its beginning.
            for i in stride(from: sums.count - 1, through: 0, by: -1) { sums[i] &+= clinux_count_read(row + i) }
        }
        return (Array(sums[..<Self.tallies]), Array(sums[Self.tallies...]))
    }
}

/// What workers see of a watch.
package struct SplitWatchView: BitwiseCopyable {
    fileprivate let cells: UnsafeMutablePointer<UInt64>
    fileprivate let perWorker: Int
    fileprivate let workers: Int
    /// By the split's variants; -1: not watched.
    fileprivate let places: Frozen<Int32>

    /// Nil: this variant is not watched.
    func row(_ variant: Int, worker: Int) -> VariantRow? {
        guard variant < places.count, worker < workers, places[variant].value >= 0 else { return nil }
        return VariantRow(cells: cells + worker * perWorker + Int(places[variant].value))
    }
}

extension Fault {
    /// The tally of a fault that is the variant's; nil: it is not.
    fileprivate var tally: VariantTally? {
        switch self {
        case .connectRefused, .connectTimeout, .upstreamTLS, .noLivePeer, .peersBusy, .queueFull, .queuedTooLong, .hostNotFound, .tooManyActive,
            .tooManyPending:
            .connect
        case .upstreamTimeout, .upstreamSendTimeout: .timeout
        case .upstreamReset, .upstreamClosed, .upstreamEndedEarly, .upstreamRefused: .reset
        case .upstreamBadHead, .upstreamBadBody, .upstreamHeadTooLarge: .invalidAnswer
        default: blame == .upstream ? .reset : nil
        }
    }
}

extension Worker {
    /// The first try of an exchange that is watched begins.
    @inline(never)
    func observeStart(_ x: Ref<Exchange>, _ row: VariantRow) {
        if x.proxyTarget.watchedSinceNs > 0 { return }
        x.proxyTarget.watchedSinceNs = max(1, nowNs)
        row.add(.started)
    }

    /// The answer is whole, or one that lives on has begun: then nothing is told of the connection it came on.
    @inline(never)
    func observeAnswer(_ x: Ref<Exchange>, _ row: VariantRow, on u: Ref<UpstreamConnection>? = nil) {
        x.proxyTarget.row = nil
        if x.tried.onBackup {
            // The client is well served. But no server of the variant itself was there to do it.
            row.add(.connect)
            row.add(.finished)
            return
        }
        row.add(us: (nowNs &- min(nowNs, x.proxyTarget.watchedSinceNs)) / 1000)
        let status = x.upstreamHead.status
        if status >= 500 {
            row.add(.status5xx)
        } else if status >= 400 {
            row.add(.status4xx)
        } else if x.location.proxy.isGRPC, let stream = u?.stream.upstreamStream, stream.call.isServersFault {
            row.add(.grpcStatus)
        }
        row.add(.finished)
    }

    /// There will be no answer of the variant, and nobody else of it is asked.
    @inline(never)
    func observeFault(_ x: Ref<Exchange>, _ row: VariantRow, _ fault: Fault) {
        x.proxyTarget.row = nil
        guard x.proxyTarget.watchedSinceNs > 0, let tally = fault.tally else { return }
        row.add(tally)
        row.add(.finished)
    }
}
