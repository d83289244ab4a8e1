// swift-tools-version: 6.2
import PackageDescription

/// Programs that measure. A package of its own, so that the product does not depend on what measures it.
let package = Package(
    name: "Benchmarks",
    targets: [
        .target(name: "CKernel"),
        .executableTarget(name: "SwitchLatency", dependencies: ["CKernel"]),

        // Links to the product's own sources and to the simulation of its tests: the same code, without the rest.
        .target(name: "AdminAPI"),
        .target(name: "Rollout", dependencies: ["AdminAPI"]),
        .target(name: "RolloutSimulation", dependencies: ["Rollout"]),
        .executableTarget(name: "RolloutTable", dependencies: ["Rollout", "RolloutSimulation"]),
    ],
    swiftLanguageModes: [.v6]
)
