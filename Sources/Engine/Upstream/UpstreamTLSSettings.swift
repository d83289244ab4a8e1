// How TLS is spoken to the peers of a location: what its `proxy_ssl_` directives come to, or those of another kind of upstream.
// Made by Control, frozen in a snapshot; read by TLSClient.swift. One value serves all locations that say the same.

import Bytes

package struct UpstreamTLSSettings: BitwiseCopyable {
    /// An SSL_CTX that the snapshot keeps alive.
    package let context: OpaquePointer
    /// A digest of everything the context was made of. Connections and sessions of one digest may stand for each other, also when one
    /// of them is older than a reload.
    package let digest: ByteView
    /// The name to verify and to ask for; empty: `$proxy_host`.
    package var name = Template.empty
    package var asksForName = false
    package var verifies = false
    package var reusesSessions = true
    /// A certificate of our own that is computed for each connection: a file, or a text behind `data:`. A fixed one is in the context.
    package var certificate = Template.empty
    package var certificateKey = Template.empty
    package var files = CertificateFiles()

    package init(context: OpaquePointer, digest: ByteView) {
        self.context = context
        self.digest = digest
    }

    /// The name is of any consequence.
    var usesName: Bool { asksForName || verifies }
}

/// Where computed names of certificates and keys lead.
package struct CertificateFiles: BitwiseCopyable {
    /// Relative names begin here; ends in "/".
    package var folder = ByteView.empty
    /// For keys, tried one after the other; each ends in a zero.
    package var passwords = Frozen<ByteView>.empty
    /// Where what was read is kept, by its number among `SnapshotRoot.certificateCaches`; -1: nowhere.
    package var cache: Int32 = -1
    package init() {}
}

/// A directive such as `proxy_ssl_certificate_cache`.
package struct CertificateCacheSettings: BitwiseCopyable {
    /// No two caches of the process have the same.
    package let number: UInt64
    package let entriesMax: Int
    /// What has not been asked for so long makes way when something new comes.
    package let inactiveMs: Int64
    /// So long the file is not looked at again.
    package let validMs: Int64

    package init(number: UInt64, entriesMax: Int, inactiveMs: Int64, validMs: Int64) {
        self.number = number
        self.entriesMax = entriesMax
        self.inactiveMs = inactiveMs
        self.validMs = validMs
    }
}
