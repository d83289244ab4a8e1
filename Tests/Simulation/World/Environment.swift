// Reads the environment of the test process, which is how a seed reaches a test that replays it.
// Called by `simulationSeeds` alone.

import Glibc

func environment(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
}
