// Directives of the main level and of `events`: workers, connections, pid, user, daemon.

import CLinux
import ConfigurationFile
import Engine

enum ProcessDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("worker_processes", [.main], 1...1) { (scope, d) throws(Diagnostic) in
            let word = d.arguments[0]
            if word == "auto" {
                scope.builder.process.workerProcesses = max(1, Int(clinux_processors()))
            } else {
                scope.builder.process.workerProcesses = try word.integer(in: 1...Limits.workersMax, of: "worker_processes")
            }
        },
        DirectiveRule("worker_connections", [.events], 1...1) { (scope, d) throws(Diagnostic) in
            scope.builder.process.connectionsMax = try d.arguments[0].integer(in: 1...Limits.connectionsMax, of: "worker_connections")
        },
        DirectiveRule("worker_rlimit_nofile", [.main], 1...1) { (scope, d) throws(Diagnostic) in
            scope.builder.process.descriptorsMax = try d.arguments[0].integer(in: 16...10_000_000, of: "worker_rlimit_nofile")
        },
        DirectiveRule("worker_shutdown_timeout", [.main], 1...1) { (scope, d) throws(Diagnostic) in
            scope.builder.process.shutdownTimeoutMs = Int64(try d.arguments[0].milliseconds(of: "worker_shutdown_timeout"))
        },
        DirectiveRule("pid", [.main], 1...1) { (scope, d) throws(Diagnostic) in scope.builder.process.pidPath = d.arguments[0].text },
        DirectiveRule("state", [.main], 1...1, isOwn: true) { (scope, d) throws(Diagnostic) in
            scope.builder.process.stateFolder = d.arguments[0].text
        },
        DirectiveRule("rollout_commands", [.main], 1...1, isOwn: true) { (scope, d) throws(Diagnostic) in
            scope.builder.process.rolloutCommands = d.arguments[0].text
        },
        DirectiveRule("daemon", [.main], 1...1) { (scope, d) throws(Diagnostic) in
            scope.builder.process.daemon = try d.arguments[0].flag(of: "daemon")
        },
        DirectiveRule("user", [.main], 1...2) { (scope, d) throws(Diagnostic) in
            let name = d.arguments[0]
            guard clinux_user_exists(name.text) != 0 else {
                throw .invalidValue(name, of: "user", expected: "the name of a user of this system")
            }
            scope.builder.process.user = name.text
            guard d.arguments.count > 1 else { return }
            guard clinux_group_exists(d.arguments[1].text) != 0 else {
                throw .invalidValue(d.arguments[1], of: "user", expected: "the name of a group of this system")
            }
            scope.builder.process.group = d.arguments[1].text
        },
        .acceptedFlag("master_process", [.main], why: "there is one process; its threads are the workers"),
        .accepted("worker_priority", [.main], 1...1, why: "set the priority of the service instead"),
        .accepted("worker_cpu_affinity", [.main], 1...(.max), why: "the kernel places the threads"),
        .accepted("timer_resolution", [.main], 1...1, why: "the clock is read once a turn in any case"),
        .acceptedFlag("pcre_jit", [.main], why: "expressions are always compiled"),
        .accepted("debug_points", [.main], 1...1, why: "for nginx's own developers"),
        .accepted("lock_file", [.main], 1...1, why: "no lock is needed"),
        .acceptedFlag("multi_accept", [.events], why: "how many connections are taken at once adapts itself"),
        .accepted("use", [.events], 1...1, why: "epoll is always used"),
        .acceptedFlag("accept_mutex", [.events], why: "the kernel wakes one worker"),
        .accepted("accept_mutex_delay", [.events], 1...1, why: "the kernel wakes one worker"),
        .accepted("debug_connection", [.events], 1...1, why: "use error_log with level debug"),
    ]
}
