// nginx's command line flags. Read by hand: they are nginx's forms (`-s stop`, `-tq`, `-?`), and a parser library would bring
// Foundation, which costs more at start than the whole server.

import Control

struct Flags {
    var configuration = "conf/proxyd.conf"
    var prefix = "./"
    var errorLog = "stderr"
    var globalDirectives = ""
    var signal: String?
    var tests = false
    var dumps = false
    var isQuiet = false
    var showsVersion = false
    var showsBuild = false
    var showsHelp = false

    struct Problem: Error { let text: String }

    static let help = """
        Usage: proxyd [-?hvVtTq] [-s signal] [-p prefix] [-e filename] [-c filename] [-g directives]

          -?,-h         : this help
          -v            : show version and exit
          -V            : show version and exit
          -t            : test configuration and exit
          -T            : test configuration, dump it and exit
          -q            : suppress non-error messages during configuration testing
          -s signal     : send signal to a running proxyd: stop, quit, reopen, reload
          -p prefix     : set prefix path (default: ./)
          -e filename   : set error log file (default: stderr)
          -c filename   : set configuration file (default: conf/proxyd.conf)
          -g directives : set global directives out of configuration file
        """

    var options: ServerOptions {
        ServerOptions(source: .file(configuration), prefix: prefix, errorLog: errorLog, globalDirectives: globalDirectives)
    }

    static func parse(_ arguments: [String]) -> Result<Flags, Problem> {
        var flags = Flags()
        var rest = arguments[...]
        while let word = rest.popFirst() {
            guard word.hasPrefix("-"), word.count > 1 else { return .failure(Problem(text: "proxyd: invalid option: \"\(word)\"\n" + help)) }
            var letters = Substring(word.dropFirst())
            while let letter = letters.popFirst() {
                switch letter {
                case "?", "h": flags.showsHelp = true
                case "v": flags.showsVersion = true
                case "V": flags.showsBuild = true
                case "t": flags.tests = true
                case "T":
                    flags.tests = true
                    flags.dumps = true
                case "q": flags.isQuiet = true
                case "p", "e", "c", "g", "s":
                    // The value is the rest of the word, or the next word.
                    guard let value = letters.isEmpty ? rest.popFirst() : String(letters) else {
                        return .failure(Problem(text: "proxyd: option \"-\(letter)\" requires a value"))
                    }
                    letters = ""
                    flags.set(letter, value)
                default: return .failure(Problem(text: "proxyd: invalid option: \"\(letter)\"\n" + help))
                }
            }
        }
        return .success(flags)
    }

    private mutating func set(_ letter: Character, _ value: String) {
        switch letter {
        case "p": prefix = value
        case "e": errorLog = value
        case "c": configuration = value
        case "g": globalDirectives += value + "\n"
        default: signal = value
        }
    }
}
