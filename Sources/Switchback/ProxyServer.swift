// The proxy inside another Swift program: what proxyd itself is a thin shell over.

import ConfigurationFile
import Control
import Engine

/// Why a server could not be made, started or reloaded: a place in the configuration, an address that cannot be listened on, or the
/// process. Nothing has changed.
public struct ProxyServerError: Error, CustomStringConvertible, Sendable {
    public let description: String
    /// `file:line:column` when the configuration is to blame.
    public let place: String?

    init(_ failure: StartFailure) {
        description = failure.description
        if case .configuration(let diagnostic) = failure { place = diagnostic.position.description } else { place = nil }
    }
}

/// A reverse proxy that runs on threads of its own.
///
/// ```swift
/// let server = try ProxyServer(configuration: """
///     events { }
///     http { access_log off;
///            server { listen 127.0.0.1:8080; location / { proxy_pass http://127.0.0.1:3001; } } }
///     """)
/// try server.start()
/// // ...
/// server.shutdown(gracefully: true)
/// server.waitUntilStopped()
/// ```
public final class ProxyServer: Sendable {
    package let supervisor: Supervisor

    /// A server of a configuration in nginx's syntax.
    /// - Parameter prefix: where relative paths of logs and roots start.
    /// - Throws: what is wrong with the configuration, with its place.
    public init(configuration: String, prefix: String = "./") throws(ProxyServerError) {
        supervisor = Supervisor(options: ServerOptions(source: .text(configuration), prefix: prefix))
        do throws(StartFailure) { _ = try supervisor.check() } catch { throw ProxyServerError(error) }
    }

    /// As above, with everything proxyd can be told.
    package init(options: ServerOptions) { supervisor = Supervisor(options: options) }

    /// Listens and starts the workers; returns when connections are accepted.
    public func start() throws(ProxyServerError) {
        do throws(StartFailure) {
            let built = try supervisor.prepare()
            try supervisor.start(built)
        } catch {
            throw ProxyServerError(error)
        }
    }

    /// Starts and returns when the server has been shut down.
    public func run() throws(ProxyServerError) {
        try start()
        waitUntilStopped()
    }

    /// Serves by a new configuration from the next request on; connections and requests in flight go on untouched.
    /// - Parameter configuration: nil reads the same source again.
    public func reload(configuration: String? = nil) throws(ProxyServerError) {
        do throws(StartFailure) { try supervisor.reload(configuration.map { .text($0) }) } catch { throw ProxyServerError(error) }
    }

    /// Stops accepting. `gracefully`: requests in flight are answered first; else they are cut.
    public func shutdown(gracefully: Bool) { supervisor.stop(gracefully: gracefully) }

    /// Returns when every worker has ended after `shutdown`.
    public func waitUntilStopped() { supervisor.wait() }
}
