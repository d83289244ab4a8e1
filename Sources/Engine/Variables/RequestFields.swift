// Header fields, arguments and cookies of the request, by name.
// Asked by Evaluate.swift and by whoever needs one field. Values point into the exchange's head unless several had to be joined.

import Bytes
import HTTPMessage

extension Worker {
    /// The first field of a known name.
    func requestField(_ name: HeaderName, _ x: Ref<Exchange>) -> ByteView? {
        if x.head.fields.presentNames & name.bit == 0, name.bit != 0 { return nil }
        for i in 0..<x.fields.count where x.fields[i].known == name { return x.bytes(x.fields[i].value.value) }
        return nil
    }

    /// All fields of a known name, with `separator` between; copied only when there are several.
    @inline(__always)
    func joinedRequestFields(_ name: HeaderName, _ x: Ref<Exchange>, _ separator: StaticString) -> ByteView? {
        if name.bit != 0, x.head.fields.presentNames & name.bit == 0 { return nil }
        return joinedPresentFields(name, x, separator)
    }

    private func joinedPresentFields(_ name: HeaderName, _ x: Ref<Exchange>, _ separator: StaticString) -> ByteView? {
        if name.bit != 0, x.head.fields.repeatedNames & name.bit == 0 { return requestField(name, x) }
        var first: ByteView?
        var isJoined = false
        for i in 0..<x.fields.count where x.fields[i].known == name {
            let value = x.bytes(x.fields[i].value.value)
            guard let only = first else {
                first = value
                continue
            }
            if !isJoined {
                valueText.value.reset()
                valueText.value.append(only)
                isJoined = true
            }
            valueText.value.append(separator)
            valueText.value.append(value)
        }
        return isJoined ? valueText.view : first
    }

    /// `$http_name`: `name` is in lower case with "_" for "-". Several fields are joined as nginx does.
    func namedRequestField(_ name: ByteView, _ x: Ref<Exchange>) -> ByteView? {
        var first: ByteView?
        var isJoined = false
        let separator = name == ByteView("cookie") ? ByteView("; ") : ByteView(", ")
        for i in 0..<x.fields.count {
            let f = x.fields[i].value
            if f.name.length != name.count || !fieldName(x.bytes(f.name), is: name) || isDropped(f, x) { continue }
            let value = x.bytes(f.value)
            guard let only = first else {
                first = value
                continue
            }
            if !isJoined {
                valueText.value.reset()
                valueText.value.append(only)
                isJoined = true
            }
            valueText.value.append(separator)
            valueText.value.append(value)
        }
        return isJoined ? valueText.view : first
    }

    /// Whether nginx's rules drop the field: a name with "_" or with characters it does not expect.
    @inline(__always)
    func isDropped(_ field: HeaderField, _ x: Ref<Exchange>) -> Bool {
        if field.flags.isEmpty { return false }
        if field.flags.contains(.underscore), !x.server.underscoresInHeaders { return x.server.ignoreInvalidHeaders }
        return field.flags.contains(.unusual) && x.server.ignoreInvalidHeaders
    }

    /// `$arg_name`: compared without case, the first one with a "=" wins; not decoded.
    func argument(_ name: ByteView, _ x: Ref<Exchange>) -> ByteView? {
        if name.isEmpty { return nil }
        var from = 0
        let text = x.arguments
        while from < text.count {
            let end = text.firstIndex(of: 0x26, from: from) ?? text.count
            let pair = text.slice(from, end - from)
            if pair.count > name.count, pair[name.count] == 0x3D, pair.slice(0, name.count).equalsIgnoringCase(name) {
                return pair.slice(name.count + 1)
            }
            from = end + 1
        }
        return nil
    }

    /// `$cookie_name`: compared without case, as nginx does.
    func cookie(_ name: ByteView, _ x: Ref<Exchange>) -> ByteView? {
        for i in 0..<x.fields.count where x.fields[i].known == .cookie {
            if let value = cookieValue(name, in: x.bytes(x.fields[i].value.value)) { return value }
        }
        return nil
    }

    func cookieValue(_ name: ByteView, in text: ByteView) -> ByteView? {
        var from = 0
        while from < text.count {
            let end = text.firstIndex(of: 0x3B, from: from) ?? text.count
            let pair = text.slice(from, end - from).trimmed
            if let equals = pair.firstIndex(of: 0x3D), pair.slice(0, equals).trimmed.equalsIgnoringCase(name) {
                return pair.slice(equals + 1).trimmed
            }
            from = end + 1
        }
        return nil
    }
}

/// Whether a field's name is `name`, given in lower case with "_" for "-".
func fieldName(_ field: ByteView, is name: ByteView) -> Bool {
    if field.count != name.count { return false }
    for i in 0..<field.count {
        let c = asciiLower(field[i])
        if c != name[i], !(c == 0x2D && name[i] == 0x5F) { return false }
    }
    return true
}
