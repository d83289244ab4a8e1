// Files with a name for request bodies: where the configuration asks for one, or tells others its name (`$request_body_file`).
// Called by RequestBody.swift when a body begins to be spooled, and when the exchange ends. All other spools have no name.

import Bytes
import CLinux
import HTTPMessage

/// `client_body_in_file_only`.
package enum BodyInFile: UInt8, BitwiseCopyable {
    case off
    /// Every body is written to a file, which stays.
    case on
    /// As above; the file goes with the exchange.
    case clean
}

extension Worker {
    /// Opens the spool of a request's body under a name, if it is to have one. False when the disk refuses.
    func openBodyFile(_ x: Ref<Exchange>) -> Bool {
        if x.bodySpool.isOpen || x.location.bodyInFile == .off && !x.root.namesBodyFiles { return true }
        let folder = x.location.clientBodyTempPath.isEmpty ? ByteView("/tmp") : x.location.clientBodyTempPath
        let fd = openRandomName(in: folder)
        guard fd >= 0 else {
            logProcess(.crit, "cannot make a file for a body in", folder, errno: -fd)
            return false
        }
        x.bodySpool.file = fd
        guard let name = x.value.region.copy(scratchText.view, from: &buffers, limit: Limits.regionBytesMax) else {
            scratchText.view.withCString { _ = kernel.unlink($0) }
            return false
        }
        x.bodyFileName = name.slice(0, name.count - 1)
        return true
    }

    /// The exchange is over: its file goes, unless it is to stay.
    func dropBodyFile(_ x: Ref<Exchange>) {
        if x.location.bodyInFile == .on { return }
        // A zero byte stands behind the name.
        ByteView(x.bodyFileName.start, x.bodyFileName.count + 1).withCString { _ = kernel.unlink($0) }
    }
}
