// Sessions that stay with their peer: a cookie names it, each answer sets the cookie anew.
// Asked by Connect.swift before a peer is balanced, and by the composer of answer heads. What it may take is Balancing's to say.

import Balancing
import Bytes
import HTTPMessage

/// `sticky cookie` of an upstream.
package struct StickySettings: BitwiseCopyable {
    /// The cookie's name; empty: sessions do not stick.
    package var cookie = ByteView.empty
    package static let noExpiry: Int64 = -1
    /// `expires=max`: the last moment that a time of 32 bits knows, as in nginx.
    package static let expiryMax = Int64.max
    package var expiresSeconds = noExpiry
    package var domain = Template.empty
    package var sameSite = Template.empty
    /// `; httponly; secure`, as far as they are wanted.
    package var flags = ByteView.empty
    /// `; path=...`
    package var path = ByteView.empty
    /// The names of peers in cookies, to their places.
    package var peers = NameTable.empty
    package init() {}
}

/// The name of a peer in cookies: 16 hexadecimal digits from the text of its address, the same on every machine. It hides the
/// address from casual readers and is no secret (FNV-1a of 64 bits, with the last mixing steps of MurmurHash3).
package func stickyID(of address: String) -> String {
    var h: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in address.utf8 { h = (h ^ UInt64(byte)) &* 0x100_0000_01B3 }
    h = (h ^ h >> 33) &* 0xFF51_AFD7_ED55_8CCD
    h = (h ^ h >> 33) &* 0xC4CE_B9FE_1A85_EC53
    h ^= h >> 33
    let digits = String(h, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

extension Worker {
    /// Takes the peer that the request's cookie names, drained or not. False: another is to be chosen.
    func pickSticky(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>, _ context: PickContext) -> Bool {
        guard let id = cookie(pool.settings.sticky.cookie, x), let peer = pool.settings.sticky.peers.find(id), peer >= 0,
            pool.balancer.pointee.pickStuck(peer, context, tried: &x.value.tried)
        else { return false }
        x.proxyTarget.peer = peer
        x.holdsPeer = true
        // It does not count among the tries that the others are good for.
        if pool.settings.peers[Int(peer)].isDrained, x.location.proxy.nextUpstreamTries == 0 {
            x.triesLeft = min(x.triesLeft + 1, Limits.triesMax)
        }
        return true
    }

    /// Set-Cookie with the peer that answers (RFC 6265 4.1).
    func appendStickyCookie(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) {
        let sticky = pool.settings.sticky
        let peer = x.proxyTarget.peer
        if peer < 0 { return }
        let domain = copiedExpansion(sticky.domain, x)
        let sameSite = copiedExpansion(sticky.sameSite, x)
        w.value.append("Set-Cookie: ")
        w.value.append(sticky.cookie)
        w.value.append(0x3D)
        w.value.append(pool.settings.peers[Int(peer)].stickyID)
        if sticky.expiresSeconds == StickySettings.expiryMax {
            w.value.append("; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000")
        } else if sticky.expiresSeconds != StickySettings.noExpiry {
            w.value.append("; expires=")
            w.value.appendHTTPDate(realtimeNs / 1_000_000_000 + sticky.expiresSeconds)
            w.value.append("; max-age=")
            w.value.append(decimal: sticky.expiresSeconds)
        }
        if !domain.isEmpty, isAttribute(domain) {
            w.value.append("; domain=")
            w.value.append(domain)
        }
        w.value.append(sticky.flags)
        if !sameSite.isEmpty {
            w.value.append("; samesite=")
            w.value.append(isSameSite(sameSite) ? sameSite : ByteView("strict"))
        }
        w.value.append(sticky.path)
        w.value.append("\r\n")
    }

    private func isSameSite(_ value: ByteView) -> Bool {
        value.equalsIgnoringCase(ByteView("strict")) || value.equalsIgnoringCase(ByteView("lax")) || value.equalsIgnoringCase(ByteView("none"))
    }

    /// What a variable says must not end the attribute, or the line.
    private func isAttribute(_ value: ByteView) -> Bool { (0..<value.count).allSatisfy { value[$0] > 0x20 && value[$0] < 0x7F && value[$0] != 0x3B } }
}
