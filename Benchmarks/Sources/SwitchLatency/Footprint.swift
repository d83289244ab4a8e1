// Owns what /proc says of a process and its children: memory, descriptors, threads' processor time.
// The commander asks before and after a stretch; nothing here is on a measured path.

import Glibc

struct Footprint {
    var residentKiB = 0
    var descriptors = 0
    var processes = 0
    var processorMs = 0

    init() {}

    /// The sums over a process and its children: nginx has its work done by them.
    init(of pid: Int32) {
        let children = Self.text("/proc/\(pid)/task/\(pid)/children").split(separator: " ").compactMap { Int32($0) }
        for one in [pid] + children { add(one) }
    }

    private mutating func add(_ pid: Int32) {
        processes += 1
        for line in Self.text("/proc/\(pid)/status").split(separator: "\n") where line.hasPrefix("VmRSS:") {
            residentKiB += Int(line.filter(\.isNumber)) ?? 0
        }
        if let folder = opendir("/proc/\(pid)/fd") {
            while readdir(folder) != nil { descriptors += 1 }
            closedir(folder)
            descriptors -= 2
        }
        // Behind the name in brackets: state is the first word, the twelfth to the fifteenth are ticks of user and
        // system time, of the process and of the children it has waited for.
        let words = Self.text("/proc/\(pid)/stat").split(separator: ")").last?.split(separator: " ") ?? []
        if words.count > 15 {
            let ticks = words[11...14].reduce(0) { $0 + (Int($1) ?? 0) }
            processorMs += ticks * 1000 / max(1, sysconf(Int32(_SC_CLK_TCK)))
        }
    }

    private static func text(_ path: String) -> String {
        let fd = open(path, O_RDONLY)
        guard fd >= 0 else { return "" }
        defer { close(fd) }
        var bytes = [UInt8](repeating: 0, count: 16384)
        let count = read(fd, &bytes, bytes.count)
        return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
    }
}
