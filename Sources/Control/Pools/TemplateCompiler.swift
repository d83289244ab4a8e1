// From the words of a configuration, or the texts of the admin API, to templates: literals and variables in an arena.
// Used by `SnapshotBuilder` and `PoolBuilder`.

import Bytes
import ConfigurationFile
import Engine

struct TemplateCompiler {
    let variables: VariableNames
    let arena: Arena

    /// - Returns: the template, and the variables in it.
    func template(_ word: Word, of directive: String) throws(Diagnostic) -> (template: Template, variables: [Variable]) {
        var parts: [Engine.TemplatePart] = []
        var used: [Variable] = []
        var literal = PaddedBytes.empty
        func add(_ variable: Variable) {
            parts.append(Engine.TemplatePart(literal: literal, variable: variable))
            literal = .empty
        }
        for part in try word.template(of: directive) {
            switch part {
            case .literal(let bytes): literal = arena.freezePadded(bytes)
            case .variable(let name):
                let variable = try variable(name, at: word, of: directive)
                used.append(variable)
                add(variable)
            case .capture(let n): add(Variable(.capture, index: Int32(n)))
            }
        }
        if !literal.view.isEmpty { add(Variable(.none)) }
        return (Template(parts: arena.freeze(parts)), used)
    }

    func variable(_ name: String, at word: Word, of directive: String) throws(Diagnostic) -> Variable {
        if let own = variables.find(name) { return own }
        guard let variable = Variable.named(name, arena: arena) else {
            throw Diagnostic(
                at: word.position, directive: directive, "unknown \"\(name)\" variable", found: "$\(name)",
                expected: "a variable of nginx, or one that set, map or a named group of an expression defines",
                hint: nearestName(to: name, among: Array(Variable.builtIn.keys) + variables.names).map { "did you mean \"$\($0)\"?" })
        }
        return variable
    }
}
