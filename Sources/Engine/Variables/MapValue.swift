// The value of a `map` or `split_clients` variable for an exchange.
// Asked by Evaluate.swift. A map is evaluated once a request unless it is volatile; maps may read maps, to a bounded depth.

import Balancing
import Bytes

extension Worker {
    func mapValue(_ x: Ref<Exchange>, _ index: Int) -> ByteView? {
        let map = x.root.maps[index]
        if let slot = slot(x, map.slot), slot.isKnown { return slot.value.value }
        if x.variableDepth >= Limits.variableDepthMax {
            logExchange(.error, "variables depend on each other in a cycle", x)
            return nil
        }
        x.variableDepth += 1
        defer { x.variableDepth -= 1 }
        let source = copiedExpansion(map.source, x)
        let text = copiedExpansion(mapTemplate(map, source, x), x)
        if map.slot >= 0 { setValue(x, map.slot, text) }
        return text
    }

    /// The template of the entry that `source` selects, in nginx's order: exact, longest suffix, longest prefix, expressions.
    private func mapTemplate(_ map: Ref<MapSettings>, _ source: ByteView, _ x: Ref<Exchange>) -> Template {
        let values = map.values
        let name = map.takesHostnames && source.hasSuffix(ByteView(".")) ? source.slice(0, source.count - 1) : source
        if let i = map.exact.find(name) { return values[Int(i)].value }
        if !map.suffixes.isEmpty {
            var dot = name.firstIndex(of: 0x2E)
            while let d = dot {
                if let i = map.suffixes.find(name.slice(d + 1)) { return values[Int(i)].value }
                dot = name.firstIndex(of: 0x2E, from: d + 1)
            }
        }
        if !map.prefixes.isEmpty {
            var rest = name
            while let dot = rest.lastIndex(of: 0x2E) {
                rest = rest.slice(0, dot)
                if let i = map.prefixes.find(rest) { return values[Int(i)].value }
            }
        }
        for i in 0..<map.regexes.count where matches(map.regexes[i].regex, source, for: x) { return map.regexes[i].value.value }
        return map.defaultValue
    }

    func splitValue(_ x: Ref<Exchange>, _ index: Int) -> ByteView? {
        let split = x.root.splitClients[index]
        if x.variableDepth >= Limits.variableDepthMax { return nil }
        x.variableDepth += 1
        defer { x.variableDepth -= 1 }
        let source = copiedExpansion(split.source, x)
        let hash = murmur2(source)
        for i in 0..<split.parts.count {
            let part = split.parts[i]
            if part.below == 0 || hash < part.below { return copiedExpansion(part.value.value, x) }
        }
        return nil
    }

    /// The text of a template while another evaluation may be under way above: never in a shared scratch.
    func copiedExpansion(_ template: Template, _ x: Ref<Exchange>) -> ByteView {
        if template.isLiteral { return template.literal }
        var size = 0
        for i in 0..<template.parts.count {
            let part = template.parts[i]
            size += part.literal.view.count
            if part.variable.kind != .none { size += value(of: part.variable, for: x)?.count ?? 0 }
        }
        guard let memory = x.value.region.allocate(size, from: &buffers, limit: Limits.regionBytesMax) else { return .empty }
        var w = ByteWriter(memory, capacity: size)
        for i in 0..<template.parts.count {
            let part = template.parts[i]
            w.append(part.literal.view)
            if part.variable.kind != .none, let value = value(of: part.variable, for: x) { w.append(value) }
        }
        return w.view
    }
}

/// MurmurHash2, 32 bits, seed 0: what nginx's `split_clients` spreads by, so that shares fall on the same users as there.
func murmur2(_ data: ByteView) -> UInt32 {
    let m: UInt32 = 0x5bd1_e995
    var h = UInt32(truncatingIfNeeded: data.count)
    var i = 0
    while data.count - i >= 4 {
        var k = UInt32(data[i]) | UInt32(data[i + 1]) << 8 | UInt32(data[i + 2]) << 16 | UInt32(data[i + 3]) << 24
        k = k &* m
        k ^= k >> 24
        k = k &* m
        h = (h &* m) ^ k
        i += 4
    }
    let rest = data.count - i
    if rest >= 3 { h ^= UInt32(data[i + 2]) << 16 }
    if rest >= 2 { h ^= UInt32(data[i + 1]) << 8 }
    if rest >= 1 { h = (h ^ UInt32(data[i])) &* m }
    h ^= h >> 13
    h = h &* m
    return h ^ (h >> 15)
}
