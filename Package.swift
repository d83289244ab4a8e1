// swift-tools-version: 6.2
import PackageDescription

/// Floor 1 is pure: every use of an unsafe construct there is marked `unsafe`, or the build warns.
let pure: [SwiftSetting] = [.strictMemorySafety()]

let package = Package(
    name: "Switchback",
    products: [
        .library(name: "Switchback", targets: ["Switchback"]),
        .executable(name: "proxyctl", targets: ["proxyctl"]),
        .executable(name: "proxyd", targets: ["proxyd"]),
    ],
    dependencies: [
        // Of proxyctl alone: proxyd and the library are built without them.
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // Floor 0: the kernel and C libraries.
        .target(name: "CLinux"),
        .systemLibrary(name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .target(name: "COpenSSL", linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]),
        .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

        // Floor 1: pure code. No system call, clock, random number or Foundation.
        .target(name: "Bytes", swiftSettings: pure),
        .target(name: "HTTPMessage", dependencies: ["Bytes"], swiftSettings: pure),
        .target(name: "ConfigurationFile", swiftSettings: pure),
        .target(name: "Balancing", dependencies: ["Bytes"], swiftSettings: pure),
        .target(name: "AdminAPI", swiftSettings: pure),
        .target(name: "Deploy", dependencies: ["AdminAPI"], swiftSettings: pure),
        .target(name: "Health", swiftSettings: pure),
        .target(name: "Rollout", dependencies: ["AdminAPI"], swiftSettings: pure),

        // Floor 2: the data path.
        .target(name: "Engine", dependencies: ["CLinux", "CNghttp2", "COpenSSL", "CPCRE2", "CZlib", "Bytes", "HTTPMessage", "Balancing"]),

        // Floor 3: what the operator touches.
        .target(
            name: "Control",
            dependencies: ["AdminAPI", "CLinux", "Bytes", "HTTPMessage", "ConfigurationFile", "Balancing", "Health", "Rollout", "Engine"]),

        // Floor 4: products.
        .target(name: "Switchback", dependencies: ["ConfigurationFile", "Control", "Engine"]),
        .executableTarget(
            name: "proxyctl",
            dependencies: [
                "AdminAPI", "CLinux", "Deploy", .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Yams", package: "Yams"),
            ]),
        .executableTarget(name: "proxyd", dependencies: ["CLinux", "Control", "Engine", "Switchback"]),

        // Support of tests: simulated traffic for rollouts; the simulated kernel and its world.
        .target(name: "RolloutSimulation", dependencies: ["Rollout"], path: "Tests/RolloutSimulation"),
        .target(name: "Simulation", dependencies: ["Bytes", "CLinux", "CZlib", "Engine"], path: "Tests/Simulation"),

        .testTarget(name: "AdminAPITests", dependencies: ["AdminAPI", "ConfigurationFile", "TestChance", "TestSupport"]),
        .testTarget(name: "BalancingTests", dependencies: ["Balancing"]),
        .testTarget(name: "BytesTests", dependencies: ["Bytes"]),
        .testTarget(name: "ConfigurationFileTests", dependencies: ["ConfigurationFile"]),
        .testTarget(
            name: "ControlTests",
            dependencies: [
                "AdminAPI", "Balancing", "Bytes", "CLinux", "ConfigurationFile", "Control", "Engine", "HTTPMessage", "Health", "Rollout", "TestChance",
            ]),
        .testTarget(name: "DeployTests", dependencies: ["AdminAPI", "Deploy", "TestChance"]),
        .testTarget(name: "EndToEndTests", dependencies: ["CZlib", "TestSupport"], exclude: ["SCENARIOS.md"]),
        .testTarget(name: "HealthTests", dependencies: ["Health", "Rollout"]),
        .testTarget(name: "HTTPMessageTests", dependencies: ["Bytes", "HTTPMessage"]),
        .testTarget(name: "ProxyctlTests", dependencies: ["AdminAPI", "CLinux", "Deploy", "TestSupport", "proxyctl"]),
        .testTarget(name: "RolloutTests", dependencies: ["AdminAPI", "Rollout", "RolloutSimulation", "TestChance"]),
        .testTarget(
            name: "SimulationTests",
            dependencies: ["AdminAPI", "Balancing", "CLinux", "ConfigurationFile", "Control", "Engine", "Simulation"]),
        .testTarget(name: "SwitchbackTests", dependencies: ["Switchback", "TestSupport"]),
        .target(name: "TestChance", path: "Tests/TestChance"),
        .target(name: "TestSupport", dependencies: ["CLinux", "CNghttp2", "COpenSSL"], path: "Tests/TestSupport"),
        .testTarget(name: "TidyTests"),
    ],
    swiftLanguageModes: [.v6]
)
