// Owns the command line of SwitchLatency. `Benchmarks/switch` writes it; every value has a bound.

/// What can be told to switch, and how.
enum System: String {
    /// One PATCH over the kept admin socket.
    case proxyd
    /// Two commands in a line over the kept stats socket.
    case haproxy
    /// A new configuration file and SIGHUP: nothing acknowledges.
    case reload
}

struct UsageError: Error {
    let text: String
}

struct Options: Sendable {
    var system = System.proxyd
    /// Process under test: its figures are read from /proc, SIGHUP goes to it.
    var pid: Int32 = 0
    var proxyPort: UInt16 = 0
    var bluePort: UInt16 = 0
    var greenPort: UInt16 = 0
    /// The command socket.
    var socket = ""
    /// The configuration file to replace and its two texts: `FILE.blue`, `FILE.green`.
    var configuration = ""

    var switches = 1000
    var growthSwitches = 0
    /// Puts of a pool with this many servers, `puts` times.
    var servers = 0
    var puts = 20

    var busyConnections = 64
    /// What a busy connection waits between an answer and its next request, on average.
    var pauseUs = 1000
    var slowRequests = 16
    var slowMs = 100
    var tunnels = 8
    /// The wait after a switch, before the next: random between these.
    var gapUsMin = 1000
    var gapUsMax = 5000
    var seed: UInt64 = 42

    init(_ words: [String]) throws(UsageError) {
        guard words.count % 2 == 0 else { throw UsageError(text: "every option has a value") }
        for i in stride(from: 0, to: words.count, by: 2) {
            try set(words[i], to: words[i + 1])
        }
        guard pid > 1, proxyPort > 0, bluePort > 0, greenPort > 0 else {
            throw UsageError(text: "--pid, --proxy, --blue and --green are needed")
        }
        guard gapUsMin <= gapUsMax else { throw UsageError(text: "--gap-max is less than --gap-min") }
    }

    private mutating func set(_ name: String, to value: String) throws(UsageError) {
        func number<T: FixedWidthInteger>(_ bounds: ClosedRange<T>) throws(UsageError) -> T {
            guard let n = T(value), bounds.contains(n) else { throw UsageError(text: "\(name) takes \(bounds), not \(value)") }
            return n
        }
        switch name {
        case "--system":
            guard let known = System(rawValue: value) else { throw UsageError(text: "no system \(value)") }
            system = known
        case "--pid": pid = try number(2...Int32.max)
        case "--proxy": proxyPort = try number(1...65535)
        case "--blue": bluePort = try number(1...65535)
        case "--green": greenPort = try number(1...65535)
        case "--socket": socket = value
        case "--configuration": configuration = value
        case "--switches": switches = try number(1...1_000_000)
        case "--growth": growthSwitches = try number(0...1_000_000)
        case "--servers": servers = try number(0...20_000)
        case "--puts": puts = try number(1...1000)
        case "--connections": busyConnections = try number(1...4096)
        case "--pause": pauseUs = try number(0...1_000_000)
        case "--slow": slowRequests = try number(0...4096)
        case "--slow-ms": slowMs = try number(1...10_000)
        case "--tunnels": tunnels = try number(0...4096)
        case "--gap-min": gapUsMin = try number(0...10_000_000)
        case "--gap-max": gapUsMax = try number(0...10_000_000)
        case "--seed": seed = try number(1...UInt64.max)
        default: throw UsageError(text: "no option \(name)")
        }
    }
}

/// xorshift64*: the same numbers from the same seed on every machine.
struct Chance {
    private var state: UInt64

    init(seed: UInt64) { state = seed == 0 ? 1 : seed }

    mutating func next(in range: ClosedRange<Int>) -> Int {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        let drawn = (state &* 2_685_821_657_736_338_717) >> 33
        return range.lowerBound + Int(drawn % UInt64(range.count))
    }
}
