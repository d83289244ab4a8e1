// What the commands of a page ask for: texts are put out, variables set, conditions judged, requests made within the page's own.
// Called by the scan of a page. It sends nothing.

import Bytes
import HTTPMessage

extension Worker {
    /// A whole command, as it stands between `<!--#` and `>`.
    func obey(_ x: Ref<Exchange>, _ page: SSIPage, _ text: [UInt8]) {
        let command: SSICommand
        do throws(SSIFault) { command = try parseSSICommand(text) } catch {
            if page.blockName == nil { refuse(x, page, error.words, text) }
            return
        }
        if page.blockName != nil { return keepInBlock(page, command, text) }
        do throws(SSIFault) {
            switch command.word {
            case .if, .elif, .else, .endif: try judge(x, page, command)
            case _ where !page.isOutput: break
            case .include: try include(x, page, command)
            case .echo: try echo(x, page, command)
            case .set:
                let value = try ssiText(x, page, command["value"] ?? [])
                if !page.variables.set(lowered(command["var"]), value) { refuse(x, page, "too many variables in SSI") }
            case .config:
                if let text = command["errmsg"] { page.errorText = try ssiText(x, page, text) }
                if let text = command["timefmt"] { page.timeFormat = text }
            case .block:
                page.blockName = lowered(command["name"])
                page.block = []
            case .endblock: refuse(x, page, "endblock without block in SSI")
            }
        } catch { refuse(x, page, error.words, text) }
    }

    private func lowered(_ name: [UInt8]?) -> String { String(decoding: name ?? [], as: UTF8.self).lowercased() }

    /// The text of a block is looked at when it is used.
    private func keepInBlock(_ page: SSIPage, _ command: SSICommand, _ text: [UInt8]) {
        if command.word == .endblock {
            if let name = page.blockName, page.blocks.count < Limits.ssiBlocksMax { page.blocks[name] = page.block }
            page.blockName = nil
            page.block = []
        } else if page.block.count + text.count + 6 <= Limits.ssiBlockBytesMax {
            page.block += Array("<!--#".utf8) + text + [UInt8(ascii: ">")]
        }
    }

    /// Puts out the text of an error, unless nobody is to see it.
    func refuse(_ x: Ref<Exchange>, _ page: SSIPage, _ words: StaticString, _ detail: [UInt8] = []) {
        if page.blockName != nil || !page.isOutput { return }
        detail.withUnsafeBufferPointer { bytes in
            logExchange(.error, words, x, detail: bytes.baseAddress.map { ByteView($0, min(bytes.count, 200)) } ?? .empty)
        }
        if !x.location.ssi.isSilent { page.put(page.errorText) }
    }

    // MARK: Texts

    /// The text with the values of its variables; what is not set is empty. No longer than all variables may be together.
    private func ssiText(_ x: Ref<Exchange>, _ page: SSIPage, _ text: [UInt8]) throws(SSIFault) -> [UInt8] {
        var result: [UInt8] = []
        for part in try parseSSIText(text) {
            switch part {
            case .bytes(let bytes): result += bytes
            case .variable(let name): result += ssiValue(x, page, name) ?? []
            }
            // A variable that stands in a text a thousand times.
            if result.count > Limits.ssiVariableBytesMax { throw .tooLong }
        }
        return result
    }

    /// What a command has set, a group of the last expression, or a variable of the configuration.
    private func ssiValue(_ x: Ref<Exchange>, _ page: SSIPage, _ name: String) -> [UInt8]? {
        if let value = page.variables.values[name] { return value }
        if let group = Int(name) { return page.groups.indices.contains(group) ? page.groups[group] : nil }
        var name = name
        return name.withUTF8 { utf8 -> [UInt8]? in
            guard let start = utf8.baseAddress else { return nil }
            let bytes = ByteView(start, utf8.count)
            var variable: Variable?
            if let code = x.root.userVariables.find(bytes) {
                variable = Variable(code: code)
                // `set` in a place that the request did not pass leaves what the name means by itself.
                if let v = variable, v.kind == .set, slotValue(x, v.index) == nil { variable = Variable.named(bytes) ?? v }
            } else {
                variable = Variable.named(bytes)
            }
            guard let variable, let value = value(of: variable, for: x) else { return nil }
            return Array(value.buffer)
        }
    }

    private func echo(_ x: Ref<Exchange>, _ page: SSIPage, _ command: SSICommand) throws(SSIFault) {
        let text = command["default"] ?? Array("(none)".utf8)
        let value = ssiValue(x, page, lowered(command["var"])) ?? text
        switch command["encoding"].map({ String(decoding: $0, as: UTF8.self) }) ?? "entity" {
        case "none": page.put(value)
        case "url":
            value.withUnsafeBufferPointer { bytes in
                scratchText.value.reset()
                if let start = bytes.baseAddress { appendEscaped(ByteView(start, bytes.count), .uri, to: scratchText) }
            }
            page.put(scratchText.overflowed ? [] : Array(scratchText.view.buffer))
        case "entity": page.put(escapedHTML(value))
        default: throw .badSyntax
        }
    }

    private func escapedHTML(_ text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        for byte in text {
            switch byte {
            case UInt8(ascii: "<"): result += Array("&lt;".utf8)
            case UInt8(ascii: ">"): result += Array("&gt;".utf8)
            case UInt8(ascii: "&"): result += Array("&amp;".utf8)
            case UInt8(ascii: "\""): result += Array("&quot;".utf8)
            default: result.append(byte)
            }
        }
        return result
    }

    // MARK: Conditions

    private func judge(_ x: Ref<Exchange>, _ page: SSIPage, _ command: SSICommand) throws(SSIFault) {
        if command.word == .if {
            if page.conditions.count == Limits.ssiConditionsMax { throw .badExpression }
            if !page.isOutput {
                page.conditions.append(SSIPage.Condition(isDecided: true, isTaken: false))
            } else {
                let holds = doesHold(x, page, command)
                page.conditions.append(SSIPage.Condition(isDecided: holds, isTaken: holds))
            }
            return
        }
        guard var condition = page.conditions.popLast() else { throw .unknownCommand }
        if command.word == .endif { return }
        var holds = !condition.isDecided
        if holds, command.word == .elif { holds = doesHold(x, page, command) }
        condition.isTaken = holds
        condition.isDecided = condition.isDecided || holds
        page.conditions.append(condition)
    }

    /// An expression that is none does not hold.
    private func doesHold(_ x: Ref<Exchange>, _ page: SSIPage, _ command: SSICommand) -> Bool {
        do throws(SSIFault) { return try holds(x, page, command["expr"] ?? []) } catch {
            refuse(x, page, error.words)
            return false
        }
    }

    private func holds(_ x: Ref<Exchange>, _ page: SSIPage, _ text: [UInt8]) throws(SSIFault) -> Bool {
        let expression = try parseSSIExpression(text)
        let left = try ssiText(x, page, expression.left)
        let holds: Bool
        switch expression.test {
        case .isNotEmpty: holds = !left.isEmpty
        case .equals(let right): holds = try left == ssiText(x, page, right)
        case .matches(let pattern): holds = try ssiMatches(x, page, pattern, left)
        }
        return holds != expression.isNegated
    }

    /// The expression is compiled for this once: pages are not read before they are sent.
    private func ssiMatches(_ x: Ref<Exchange>, _ page: SSIPage, _ pattern: [UInt8], _ subject: [UInt8]) throws(SSIFault) -> Bool {
        let arena = Arena(blockBytes: 512)
        guard let compiled = try? CompiledExpression(pattern, ignoringCase: true, arena: arena) else { throw .badExpression }
        return withExtendedLifetime((compiled, arena)) {
            subject.withUnsafeBufferPointer { bytes -> Bool in
                let view = bytes.baseAddress.map { ByteView($0, bytes.count) } ?? .empty
                guard case .match(let count) = matcher.match(compiled.expression, view) else { return false }
                page.groups = (0..<count).map { matcher.group($0, of: view).map { Array($0.buffer) } }
                for i in 0..<compiled.expression.names.count {
                    let group = compiled.expression.names[i].value
                    guard Int(group.number) < count, let value = page.groups[Int(group.number)] else { continue }
                    _ = page.variables.set(group.name.string.lowercased(), value)
                }
                return true
            }
        }
    }

    // MARK: Includes

    private func include(_ x: Ref<Exchange>, _ page: SSIPage, _ command: SSICommand) throws(SSIFault) {
        let named = [command["virtual"], command["file"]].compactMap { $0 }
        guard named.count == 1 else { throw .missingParameter }
        var waits = false
        switch command["wait"].map({ String(decoding: $0, as: UTF8.self) }) {
        case nil, "no": break
        case "yes": waits = true
        default: throw .badSyntax
        }
        let name = command["set"].map { lowered($0) }
        guard let request = try begin(x, page, named[0], isKept: name != nil) else {
            return refuse(x, page, "an include cannot be made in SSI", named[0])
        }
        if name == nil { page.put(request, stub: command["stub"].map { lowered($0) }) }
        // What stands in a block waits for nobody: there is no going on in the middle of it.
        if page.stubDepth > 0 { return }
        if name != nil || waits {
            page.awaited = request
            page.awaitedName = name
        }
    }

    private func begin(_ x: Ref<Exchange>, _ page: SSIPage, _ text: [UInt8], isKept: Bool) throws(SSIFault) -> Ref<InnerRequest>? {
        var target = try ssiText(x, page, text)
        if target.first != UInt8(ascii: "/") {
            // Beside the page.
            let folder = x.path.slice(0, (x.path.lastIndex(of: 0x2F) ?? -1) + 1)
            target = Array(folder.buffer) + target
        }
        let question = target.firstIndex(of: UInt8(ascii: "?"))
        let raw = Array(target[..<(question ?? target.count)])
        let arguments = question.map { Array(target[($0 + 1)...]) } ?? []
        var path = [UInt8](repeating: 0, count: raw.count + 1)
        var span = path.mutableSpan
        guard unescapePath(raw.span, into: &span) != nil, let n = normalizePath(raw.span, mergeSlashes: x.server.mergeSlashes, into: &span)
        else { return nil }
        return path.withUnsafeBufferPointer { path in
            arguments.withUnsafeBufferPointer { arguments in
                guard let start = path.baseAddress else { return nil }
                let plan = InnerPlan(
                    receiver: isKept ? .kept : .included, path: ByteView(start, n),
                    arguments: arguments.baseAddress.map { ByteView($0, arguments.count) } ?? .empty)
                return beginInner(x, plan)
            }
        }
    }

    /// The inner request that the scan has waited for is over. False: so is the exchange.
    func awaitedCame(_ x: Ref<Exchange>, _ page: SSIPage, _ request: Ref<InnerRequest>) -> Bool {
        page.awaited = nil
        // Else its body stands among the outputs.
        guard let name = page.awaitedName else { return true }
        page.awaitedName = nil
        let isTooLarge = request.isTooLarge
        let value = request.isWhole ? Array(ByteView(request.body.start, request.bodyCount).buffer) : []
        release(request, of: x)
        if isTooLarge {
            finish(x, .failed(.noMemory))
            return false
        }
        if !page.variables.set(name, value) { refuse(x, page, "too many variables in SSI") }
        return true
    }
}

extension Worker {
    /// `$date_local` and `$date_gmt`, in the format that the page has asked for.
    func dateValue(_ v: Variable, _ x: Ref<Exchange>) -> ByteView? {
        let format = x.page?._withUnsafeGuaranteedRef { $0.timeFormat } ?? Array("%A, %d-%b-%Y %H:%M:%S %Z".utf8)
        let isLocal = v.kind == .dateLocal && parameters.utcOffsetMinutes != 0
        let text = formatTime(
            format, seconds: realtimeNs / 1_000_000_000, offsetMinutes: isLocal ? parameters.utcOffsetMinutes : 0, zone: isLocal ? "" : "GMT")
        valueText.value.reset()
        for byte in text { valueText.value.append(byte) }
        return valueText.view
    }
}
