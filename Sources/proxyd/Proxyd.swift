// proxyd: the server as a program, with nginx's flags and signals. A shell over the library's ProxyServer.

import Control
import Engine
import Switchback

#if canImport(Glibc)
import Glibc
#endif

@main struct Proxyd {
    static func main() {
        ProcessFiles.openMissingDescriptors()
        let flags: Flags
        switch Flags.parse(Array(CommandLine.arguments.dropFirst())) {
        case .success(let parsed): flags = parsed
        case .failure(let problem): end(problem.text, status: 1)
        }
        if flags.showsHelp { end(Flags.help, status: 0) }
        if flags.showsVersion || flags.showsBuild {
            say("proxyd version: \(Product.name)/\(Product.version)")
            exit(0)
        }
        let server = ProxyServer(options: flags.options)
        if let name = flags.signal { send(name, server.supervisor) }
        if flags.tests { test(flags, server.supervisor) }
        serve(server.supervisor)
    }

    // MARK: -t, -T, -s

    private static func test(_ flags: Flags, _ supervisor: Supervisor) -> Never {
        let path = supervisor.options.path ?? "configuration"
        do throws(StartFailure) {
            let (built, files) = try supervisor.check()
            for warning in built.warnings { say("proxyd: [warn] \(warning)") }
            if !flags.isQuiet {
                say("proxyd: the configuration file \(path) syntax is ok")
                say("proxyd: configuration file \(path) test is successful")
            }
            if flags.dumps {
                for file in files {
                    write(1, "# configuration file \(file.name):\n")
                    write(1, file.bytes)
                    write(1, "\n")
                }
            }
            exit(0)
        } catch {
            report(error, supervisor)
            say("proxyd: configuration file \(path) test failed")
            exit(1)
        }
    }

    private static func send(_ name: String, _ supervisor: Supervisor) -> Never {
        let numbers: [String: Int32] = ["stop": SIGTERM, "quit": SIGQUIT, "reopen": SIGUSR1, "reload": SIGHUP]
        guard let number = numbers[name] else { end("proxyd: invalid option: \"-s \(name)\"; it must be stop, quit, reopen or reload", status: 1) }
        do throws(StartFailure) {
            let (built, _) = try supervisor.check()
            switch ProcessFiles.readPid(pidPath(built, supervisor)) {
            case .failure(let problem): end("proxyd: [error] \(problem)", status: 1)
            case .success(let pid):
                if kill(pid, number) == 0 { exit(0) }
                end("proxyd: [alert] kill(\(pid), \(number)) failed (\(errnoWords(errno)))", status: 1)
            }
        } catch {
            report(error, supervisor)
            exit(1)
        }
    }

    private static func pidPath(_ built: BuiltConfiguration, _ supervisor: Supervisor) -> String {
        if let path = built.process.pidPath { return supervisor.logs.absolute(path) }
        return supervisor.logs.absolute("logs/proxyd.pid")
    }

    // MARK: Serving

    private static func serve(_ supervisor: Supervisor) -> Never {
        Signals.block()
        do throws(StartFailure) {
            let prepared = try supervisor.prepare()
            let built = prepared.built
            if built.process.daemon, !ProcessFiles.detach() { exit(0) }
            let pid = pidPath(built, supervisor)
            if built.process.pidPath == nil { LinuxSystemFiles().makeFolder(supervisor.logs.absolute("logs")) }
            let file: Int32
            do { file = try ProcessFiles.writePid(pid).get() } catch { throw .process(error.description) }
            do throws(StartFailure) { try supervisor.start(prepared) } catch {
                ProcessFiles.removePid(pid, file)
                throw error
            }
            handleSignals(supervisor)
            supervisor.wait()
            ProcessFiles.removePid(pid, file)
            exit(0)
        } catch {
            report(error, supervisor)
            exit(1)
        }
    }

    /// Returns when the server has been told to stop.
    private static func handleSignals(_ supervisor: Supervisor) {
        while true {
            switch Signals.wait() {
            case SIGTERM, SIGINT: return supervisor.stop(gracefully: false)
            case SIGQUIT:
                supervisor.stop(gracefully: true)
                // A second signal while requests finish means now.
                supervisor.stopOnSignal()
                return
            case SIGHUP:
                do throws(StartFailure) {
                    try supervisor.reload()
                    supervisor.say(.notice, "reconfigured")
                } catch {
                    supervisor.say(.emerg, error.description)
                }
            case SIGUSR1: supervisor.reopenLogs()
            default: break
            }
        }
    }

    // MARK: Words

    private static func report(_ failure: StartFailure, _ supervisor: Supervisor) {
        say("proxyd: [emerg] \(failure)")
        if supervisor.options.errorLog != "stderr" { supervisor.say(.emerg, failure.description) }
    }

    private static func end(_ text: String, status: Int32) -> Never {
        say(text)
        exit(status)
    }

    private static func say(_ text: String) { write(2, text + "\n") }
    private static func write(_ fd: Int32, _ text: String) { write(fd, Array(text.utf8)) }
    private static func write(_ fd: Int32, _ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let n = rest.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
            if n <= 0 { return }
            rest = rest.dropFirst(n)
        }
    }
}
