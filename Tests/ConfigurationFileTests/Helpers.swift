import ConfigurationFile
import Testing

/// A tree on one line: `[word]` or `["quoted word"]`, `;` or `{...}` behind each directive.
func shape(_ directives: [Directive]) -> String {
    directives.map { directive in
        let words = ([directive.name] + directive.arguments).map { $0.isQuoted ? "[\"\($0.text)\"]" : "[\($0.text)]" }
        return words.joined() + (directive.block.map { "{" + shape($0) + "}" } ?? ";")
    }.joined()
}

/// What `parse` makes of `text` in a file named `x`: the shape, or the diagnostic.
func outcome(_ text: String, _ limits: ConfigurationLimits = ConfigurationLimits()) -> String {
    outcome(Array(text.utf8), limits)
}

func outcome(_ bytes: [UInt8], _ limits: ConfigurationLimits = ConfigurationLimits()) -> String {
    do { return shape(try parse(bytes, file: "x", limits: limits)) } catch { return error.description }
}

func limits(_ change: (inout ConfigurationLimits) -> Void) -> ConfigurationLimits {
    var limits = ConfigurationLimits()
    change(&limits)
    return limits
}

/// A word in line 1 of a file named `x`.
func word(_ text: String, quoted: Bool = false) -> Word { Word(text, position: Position(file: "x"), isQuoted: quoted) }

/// The description of what `body` throws, or what it returns.
func told<T>(_ body: () throws -> T) -> String {
    do { return "\(try body())" } catch { return "\(error)" }
}

/// A generator that gives the same numbers on every run.
struct Dice: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let x = state
        return (x ^ (x >> 29)) &* 0xBF58_476D_1CE4_E5B9 ^ (x >> 32)
    }
}

let sample = #"""
    # a comment with "quotes; and { braces
    user www-data;
    events { worker_connections 1024; }
    http {
        log_format main '$remote_addr - "$request" \'$status\'';
        map $uri $name { default 0; ~*\.(png|jpg)$ "a b"; "~^/(?<x>\d{2})/" $x; }
        upstream app { server 127.0.0.1:3001 max_fails=3; keepalive 32; }
        server {
            listen 80; server_name example.com *.example.org;
            location ~ "^/a{2}" { return 200 "ok\n"; }
            location /b{ proxy_pass http://${name}_app:80$request_uri; }
            if ($arg_a = "b") { return 404; }
        }
    }

    """#
