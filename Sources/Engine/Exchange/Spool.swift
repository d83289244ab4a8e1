// A temporary file through which a large body waits: first in, first out. It has no name, so nothing is left behind.
// Used for request bodies beyond `client_body_buffer_size` and for responses that a slow client cannot take yet.

import Bytes
import CLinux

struct Spool: BitwiseCopyable {
    var file: Int32 = -1
    var written: Int64 = 0
    var taken: Int64 = 0

    var isOpen: Bool { file >= 0 }
    var isEmpty: Bool { taken == written }

    /// An empty spool begins anew at the front of its file.
    mutating func rewind() {
        written = 0
        taken = 0
    }
}

extension Worker {
    /// Appends to the spool, opening it in the folder `path` first. False when the disk refuses.
    func spool(_ s: inout Spool, _ bytes: ByteView, folder path: ByteView) -> Bool {
        if !s.isOpen {
            guard let fd = openTemporary(in: path) else { return false }
            s.file = fd
        }
        var done = 0
        while done < bytes.count {
            let n = kernel.writeAt(s.file, bytes.start + done, bytes.count - done, offset: s.written)
            if n == -Int(EINTR) { continue }
            if n <= 0 { return false }
            done += n
            s.written += Int64(n)
        }
        return true
    }

    /// Reads at most `count` bytes that wait, from the front. Nil when the disk refuses.
    func unspool(_ s: inout Spool, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int? {
        let want = Int(min(Int64(count), s.written - s.taken))
        if want == 0 { return 0 }
        let n = kernel.readAt(s.file, buffer, want, offset: s.taken)
        if n <= 0 { return nil }
        s.taken += Int64(n)
        return n
    }

    func closeSpool(_ s: inout Spool) {
        if s.isOpen { kernel.close(s.file) }
        s = Spool()
    }

    private func openTemporary(in folder: ByteView) -> Int32? {
        let folder = folder.isEmpty ? ByteView("/tmp") : folder
        scratchText.value.reset()
        scratchText.value.append(folder)
        scratchText.value.append(0)
        if scratchText.overflowed { return nil }
        var fd = openFile(scratchText.view, flags: O_RDWR | clinux_unnamed_temporary())
        // File systems that know no files without a name (NFS, overlays of old kernels) give one its name for a moment.
        if fd == -EOPNOTSUPP || fd == -EISDIR {
            fd = openRandomName(in: folder)
            if fd >= 0 { scratchText.view.withCString { _ = kernel.unlink($0) } }
        }
        if fd < 0 {
            logProcess(.crit, "cannot make a temporary file in", folder, errno: -fd)
            return nil
        }
        return fd
    }

    /// A new file with a random name, which is left in `scratchText` with a zero byte behind it; or `-errno`.
    func openRandomName(in folder: ByteView) -> Int32 {
        for _ in 0..<Limits.bodyFileNames {
            let w = scratchText
            w.value.reset()
            w.value.append(folder)
            w.value.append("/")
            w.value.append(hex: kernel.random(), minimumDigits: 16)
            w.value.append(0)
            if w.overflowed { return -ENAMETOOLONG }
            let fd = openFile(w.view, flags: O_RDWR | O_CREAT | O_EXCL)
            if fd != -EEXIST { return fd }
        }
        return -EEXIST
    }

    private func openFile(_ name: ByteView, flags: Int32) -> Int32 { name.withCString { kernel.open($0, flags: flags, mode: 0o600) } }
}

extension ByteView {
    /// Bytes that end with a zero byte.
    func withCString<R>(_ body: (UnsafePointer<CChar>) -> R) -> R {
        UnsafeRawPointer(start).withMemoryRebound(to: CChar.self, capacity: count, body)
    }
}
