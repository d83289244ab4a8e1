// swift-tools-version: 6.2
import PackageDescription

/// Programs that measure. A package of its own, so that the product does not depend on what measures it.
let package = Package(
    name: "Benchmarks",
    targets: [
        .target(name: "CKernel"),
        .executableTarget(name: "SwitchLatency", dependencies: ["CKernel"]),
    ],
    swiftLanguageModes: [.v6]
)
