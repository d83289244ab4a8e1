// The ring of `hash KEY consistent`: the points of each server name, and the peers behind a name.
// Built once for an upstream, read by the balancers of all workers. It never changes and knows nothing of availability.
import Bytes

struct RingPoint: BitwiseCopyable {
    var hash: UInt32
    var name: Int32
}

/// The points of the primaries of one upstream, equal to nginx's and Cache::Memcached::Fast's (ketama): 160 for each unit of
/// weight, 8 bytes each. Made once and shared by the balancers of the workers; of peers it reads weight and name only.
public final class HashRing: @unchecked Sendable {
    static var pointsPerWeight: Int { 160 }
    /// A bound on memory and time: beyond it, weights are scaled down together. nginx has none.
    static var pointsMax: Int { 1 << 22 }

    private let points: Table<RingPoint>
    private let members: Table<Int32>
    private let firstMembers: Table<Int32>

    /// What a balancer reads, without counting references.
    var view: RingView { RingView(points: points.view, members: members.view, firstMembers: firstMembers.view) }

    /// `peers`: all peers of the upstream, in the order its balancers are given.
    public convenience init(peers: [PeerSpec]) { self.init(peers: peers, pointsMax: Self.pointsMax) }

    init(peers all: [PeerSpec], pointsMax: Int) {
        let crc = CRC32()
        let peers = all.filter { !$0.isBackup }
        var numbers: [[UInt8]: Int] = [:]
        var slotsOfName: [[Int32]] = []
        var points: [RingPoint] = []
        let total = peers.reduce(0) { $0 + $1.cutWeight } * Self.pointsPerWeight
        for (slot, peer) in peers.enumerated() {
            let name = numbers[peer.hashName] ?? slotsOfName.count
            if name == slotsOfName.count {
                numbers[peer.hashName] = name
                slotsOfName.append([])
            }
            slotsOfName[name].append(Int32(slot))
            let own = peer.cutWeight * Self.pointsPerWeight
            let count = total <= pointsMax ? own : max(min(own, 1), own / (total / pointsMax + 1))
            Self.addPoints(count, of: peer.hashName, number: Int32(name), to: &points, crc: crc)
        }
        points.sort { ($0.hash, $0.name) < ($1.hash, $1.name) }
        var last: UInt32?
        points.removeAll { point in
            defer { last = point.hash }
            return point.hash == last
        }
        self.points = Table(points)
        members = Table(slotsOfName.flatMap { $0 })
        var first: Int32 = 0
        firstMembers = Table(
            [0]
                + slotsOfName.map { slots in
                    first += Int32(slots.count)
                    return first
                })
    }

    private static func addPoints(
        _ count: Int, of name: [UInt8], number: Int32, to points: inout [RingPoint], crc: borrowing CRC32
    ) {
        let (host, port) = split(name)
        var base = crc.add(host.span, to: CRC32.start)
        base = crc.add(0, to: base)
        base = crc.add(port.span, to: base)
        var previous: UInt32 = 0
        for _ in 0..<count {
            previous = crc.finish(crc.add(littleEndian: previous, to: base))
            points.append(RingPoint(hash: previous, name: number))
        }
    }

    /// Host and port: digits after the last colon are the port; a path behind `unix:` is a host without one.
    private static func split(_ name: [UInt8]) -> (host: [UInt8], port: [UInt8]) {
        let prefix = Array("unix:".utf8)
        if name.count >= 5 && zip(name, prefix).allSatisfy({ asciiLower($0) == $1 }) { return (Array(name.dropFirst(5)), []) }
        let digits = name.reversed().prefix { $0 >= 0x30 && $0 <= 0x39 }.count
        let colon = name.count - digits - 1
        if colon < 0 || name[colon] != 0x3A { return (name, []) }
        return (Array(name[..<colon]), Array(name[(colon + 1)...]))
    }
}

/// A ring as its balancers read it; they keep the `HashRing` alive.
struct RingView: BitwiseCopyable {
    let points: TableView<RingPoint>
    /// The slots of all peers, those of one name side by side.
    let members: TableView<Int32>
    /// Where the members of each name begin, and where the last end.
    let firstMembers: TableView<Int32>

    /// The first point at or after `hash`; their count when there is none.
    func position(_ hash: UInt32) -> UInt32 {
        var (low, high) = (0, points.count)
        while low < high {
            let middle = (low + high) / 2
            if points[middle].hash < hash { low = middle + 1 } else { high = middle }
        }
        return UInt32(low)
    }

    /// Which of `members` are behind the point at `position`, counted around the ring.
    func membersRange(_ position: UInt32) -> Range<Int> {
        let name = Int(points[Int(position) % points.count].name)
        return Int(firstMembers[name])..<Int(firstMembers[name + 1])
    }
}
