// Owns the words and places of refusals: unknown, unsupported, misplaced, repeated and misused directives, whole messages.
// The text under test begins in line 2 of the file; a message ends in `in LINE:COLUMN` and a hint.

import ConfigurationFile
import Testing

@testable import Control

@Suite("refusals")
struct RefusalTests {
    @Test(
        "addresses to connect from",
        arguments: [
            ("127.0.0.1", "accepted"), ("127.0.0.1:8080", "accepted"), ("::1", "accepted"), ("[::1]:80", "accepted"), ("off", "accepted"),
            ("$remote_addr", "accepted"), ("eth0", "refused"), ("127.0.0.1:0", "refused"), ("127.0.0.1:http", "refused"), ("1.5", "refused"),
            ("localhost", "refused"), ("[::1:80", "refused"),
        ])
    func localAddresses(address: String, verdict: String) {
        for directive in ["proxy_bind", "grpc_bind"] {
            let wrong = #"invalid value "\#(address)" in "\#(directive)" directive, it must be an address in digits, or "off" in 2:\#(directive.count + 2)"#
            #expect(refusal("\(directive) \(address);") == (verdict == "refused" ? wrong : verdict))
        }
    }

    @Test(
        "what says nothing",
        arguments: [
            ("try_files $uri =x;", #"invalid value "x" in "try_files" directive, it must be a whole number from 0 to 999 in 2:16"#),
            ("try_files $uri =1000;", #"invalid value "1000" in "try_files" directive, it must be a whole number from 0 to 999 in 2:16"#),
            (#"rewrite ^ "";"#, #"invalid value "" in "rewrite" directive, it must be a path, a URL or "?" in 2:11"#),
            ("try_files $uri =404; rewrite ^ ?;", "accepted"), ("try_files =x $uri =444;", "accepted"),
        ])
    func empty(text: String, message: String) { #expect(refusal(server: text) == message) }

    @Test func blocksOfMainStandOnce() {
        #expect(refusal(whole: "events { } events { } http { }") == #""events" directive is duplicate in 1:12; the first is at 1:1"#)
        #expect(refusal(whole: "events { }\nhttp { } http { }") == #""http" directive is duplicate in 2:10; the first is at 2:1"#)
    }

    @Test(
        "locations that nothing reaches",
        arguments: [
            ("location /a { location /b { deny all; } }", #"location "/b" is outside location "/a" in 2:15"#),
            ("location /a/ { location = /a { } }", #"location "/a" is outside location "/a/" in 2:16"#),
            ("location ^~ /a { location ^~ /b { } }", #"location "/b" is outside location "/a" in 2:18"#),
            ("location /a { location /ab { } location = /a { } location ~ ^/b { } }", "accepted"),
            ("location ~ ^/a { location /ab { } }", "accepted"), ("location / { location /a { location /a/b { } } }", "accepted"),
        ])
    func outside(text: String, message: String) { #expect(refusal(server: text) == message) }

    @Test(
        "inside http",
        arguments: [
            ("nonsense on;", #"unknown directive "nonsense" in 2:1"#),
            ("keepalive_timout 3s;", #"unknown directive "keepalive_timout" in 2:1; did you mean "keepalive_timeout"?"#),
            ("sub_filter a b;", #"directive "sub_filter" of nginx is not supported yet in 2:1"#),
            ("proxy_cache_path /x keys_zone=a:1m;", #"directive "proxy_cache_path" of nginx is not supported yet in 2:1"#),
            ("worker_processes 2;", #""worker_processes" directive is not allowed here in 2:1; allowed in: main"#),
            (
                "proxy_pass http://x;",
                #""proxy_pass" directive is not allowed here in 2:1; allowed in: location, if in location, limit_except"#
            ),
            ("location / { }", #""location" directive is not allowed here in 2:1; allowed in: server, location"#),
            ("if ($a) { }", #""if" directive is not allowed here in 2:1; allowed in: server, location"#),
            ("events { }", #""events" directive is not allowed here in 2:1; allowed in: main"#),
            ("root;", #"invalid number of arguments in "root" directive in 2:1; expected one argument"#),
            ("root a b;", #"invalid number of arguments in "root" directive in 2:1; expected one argument"#),
            ("error_page 404;", #"invalid number of arguments in "error_page" directive in 2:1; expected at least 2 arguments"#),
            ("add_header a b c d;", #"invalid number of arguments in "add_header" directive in 2:1; expected 2 to 3 arguments"#),
            (
                "root a\nindex b;",
                #"invalid number of arguments in "root" directive in 2:1; is a ";" missing after "a" at line 2?"#
            ),
            ("root a { }", #"directive "root" is not terminated by ";" in 2:1"#),
            ("map $uri $a;", #"directive "map" has no opening "{" in 2:1"#),
            ("server;", #"directive "server" has no opening "{" in 2:1"#),
            ("server x { }", #"invalid number of arguments in "server" directive in 2:1; expected no arguments"#),
            ("root a;\n  root b;", #""root" directive is duplicate in 3:3; the first is at 2:1"#),
            ("send_timeout 1s; send_timeout 2s;", #""send_timeout" directive is duplicate in 2:18; the first is at 2:1"#),
            (
                "upstream u { server 127.0.0.1; }\nupstream u { server 127.0.0.1; }",
                #""upstream" directive is duplicate in 3:1; the first is at 2:1"#
            ),
            ("log_format f a; log_format f b;", #""log_format" directive is duplicate in 2:17"#),
            ("log_format combined a;", #""log_format" directive is duplicate in 2:1"#),
            ("sendfile maybe;", #"invalid value "maybe" in "sendfile" directive, it must be "on" or "off" in 2:10"#),
            ("access_log a nosuch;", #"unknown log format "nosuch" in 2:14; did you mean "main"?"#),
            (
                "access_log off x;",
                #"invalid number of arguments in "access_log" directive in 2:1; expected one argument with "off""#
            ),
            (
                "access_log a combined zip;",
                #"invalid value "zip" in "access_log" directive, it must be buffer=SIZE, flush=TIME, gzip[=LEVEL] or if=CONDITION in 2:23"#
            ),
            (
                "access_log syslog:server=x;",
                #"invalid value "syslog:server=x" in "access_log" directive, it must be a path (syslog is not supported yet) in 2:12"#
            ),
            (
                "error_log a loud;",
                #"invalid value "loud" in "error_log" directive, it must be one of emerg, alert, crit, error, warn, notice, info, debug in 2:13"#
            ),
            ("error_log a; error_log b; error_log c;", "more than two error logs at one level in 2:27"),
            (
                "add_header \"a b\" c;",
                #"invalid value "a b" in "add_header" directive, it must be the name of a header field in 2:12"#
            ),
            (
                "add_header a b sometimes;",
                #"invalid value "sometimes" in "add_header" directive, it must be "always", or nothing in 2:16"#
            ),
            (
                "error_page 200 /x;",
                #"invalid value "200" in "error_page" directive, it must be a whole number from 300 to 599 in 2:12"#
            ),
            (
                "error_page 499 /x;",
                #"invalid value "499" in "error_page" directive, it must be a code from 300 to 599 but 499 in 2:12"#
            ),
            (
                "error_page = /x;",
                #"invalid number of arguments in "error_page" directive in 2:1; expected at least one code and a URI"#
            ),
            ("log_format f $nonsense;", #"unknown "nonsense" variable in 2:14"#),
            ("log_format f $remote_adr;", #"unknown "remote_adr" variable in 2:14; did you mean "$remote_addr"?"#),
            ("include gone.conf;", #"open() "gone.conf" failed (2: No such file or directory) in 2:9"#),
            (
                "proxy_http_version 3;",
                #"invalid value "3" in "proxy_http_version" directive, it must be "1.0", "1.1" or "2" in 2:20"#
            ),
            (
                "proxy_next_upstream error http_418;",
                #"invalid value "http_418" in "proxy_next_upstream" directive, it must be one of error, http_403, http_404, http_429, http_500, http_502, http_503, http_504, invalid_header, non_idempotent, off, timeout, updating in 2:27"#
            ),
        ])
    func inHTTP(written: String, wanted: String) {
        let format = written.hasPrefix("access_log a nosuch") ? "log_format main a; " : ""
        // A format that must be known is declared in the line before.
        let told = format.isEmpty ? refusal(written) : refusal(whole: "events { } http { \(format)\n\(written)\n}")
        #expect(format.isEmpty ? told == wanted : told.hasPrefix("unknown log format \"nosuch\" in 2:14"), "\(told)")
    }

    @Test(
        "inside server",
        arguments: [
            ("location /a { }\nlocation /a { }", #"duplicate location "/a" in 3:1; the first is at 2:1"#),
            ("location /a { }\nlocation ^~ /a { }", #"duplicate location "/a" in 3:1; the first is at 2:1"#),
            ("location = /a { }\nlocation /a { }", "accepted"),
            ("location @a { }\nlocation @a { }", #"duplicate location "@a" in 3:1; the first is at 2:1"#),
            (
                "location ! /a { }",
                #"invalid value "!" in "location" directive, it must be "=", "^~", "~" or "~*" before the name in 2:10"#
            ),
            (
                "location { }",
                #"invalid number of arguments in "location" directive in 2:1; expected a name, with or without a modifier"#
            ),
            ("location /a { location @b { } }", #"named location "@b" can be on the server level only in 2:15"#),
            ("location = /a { location /a/b { } }", #"location "/a/b" cannot be inside this location in 2:17"#),
            ("location ~ ( { }", #"pcre2_compile() failed: missing closing parenthesis at offset 1 in 2:12"#),
            ("location /a { root x; alias y; }", #""alias" directive is duplicate in 2:23; the first is at 2:15"#),
            ("location @a { alias y; }", #"the "alias" directive cannot be used inside the named location in 2:15"#),
            ("limit_except GET { }", #""limit_except" directive is not allowed here in 2:1; allowed in: location"#),
            ("location / { limit_except GIT { } }", #"invalid method "GIT" in 2:27"#),
            ("location / { limit_except { } }", #"invalid number of arguments in "limit_except" directive in 2:14; expected at least one method"#),
            ("location / { grpc_pass grpc://127.0.0.1; }", #"no port in upstream "127.0.0.1" in 2:24"#),
            ("location / { grpc_pass grpc://; }", #"no host in upstream "grpc://" in 2:24"#),
            ("location / { grpc_pass 127.0.0.1:1/x; }", #"invalid host in upstream "127.0.0.1:1/x" in 2:24"#),
            ("mirror /a; mirror /b; mirror_request_body off;", "accepted"),
            ("mirror off; mirror /b;", #"invalid value "/b" in "mirror" directive, it must be nothing beside "mirror off" in 2:20"#),
            ("mirror a;", #"invalid value "a" in "mirror" directive, it must be a path that begins with "/", or "off" in 2:8"#),
            ("auth_request on;", #"invalid value "on" in "auth_request" directive, it must be a path that begins with "/", or "off" in 2:14"#),
            ("auth_request /a; auth_request_set $x $upstream_status; auth_request_set $args y; set $x z;", "accepted"),
            ("auth_request_set $uri x;", #"the duplicate "uri" variable in 2:18"#),
            ("set $uri x;", #"the duplicate "uri" variable in 2:5"#),
            ("set $args x; set $own x; set $http_x x;", "accepted"),
            ("set a x;", #"invalid variable name "a" in 2:5"#),
            ("return 1000;", #"invalid value "1000" in "return" directive, it must be a whole number from 0 to 999 in 2:8"#),
            (
                "rewrite ^/a /b next;",
                #"invalid value "next" in "rewrite" directive, it must be "last", "break", "redirect" or "permanent" in 2:16"#
            ),
            ("try_files x;", #"invalid number of arguments in "try_files" directive in 2:1; expected at least 2 arguments"#),
            (
                "expires modified 1d;",
                #"invalid value "modified" in "expires" directive, it must be one argument ("modified" is not supported yet) in 2:9"#
            ),
        ])
    func inServer(written: String, wanted: String) {
        #expect(refusal(server: written) == wanted)
    }

    @Test(
        "at the main level",
        arguments: [
            ("http { }", #"no "events" section in configuration in 1:1"#),
            (
                "events { worker_connections 0; }",
                #"invalid value "0" in "worker_connections" directive, it must be a whole number from 1 to 10000000 in 1:29"#
            ),
            (
                "events { } worker_processes none;",
                #"invalid value "none" in "worker_processes" directive, it must be a whole number from 1 to 256 in 1:29"#
            ),
            (
                "events { } user no-such-user-here;",
                #"invalid value "no-such-user-here" in "user" directive, it must be the name of a user of this system in 1:17"#
            ),
            ("events { } stream { }", #"directive "stream" of nginx is not supported yet in 1:12"#),
            ("events { } mail { }", #"directive "mail" of nginx is not supported yet in 1:12"#),
            ("events { } load_module x.so;", #"directive "load_module" of nginx is not supported yet in 1:12"#),
            ("events { use epoll; multi_accept on; }", "accepted"),
            ("events { } daemon off; master_process off; pid x; worker_rlimit_nofile 1024;", "accepted"),
        ])
    func atMain(written: String, wanted: String) {
        #expect(refusal(whole: written) == wanted)
    }

    @Test func aLogThatCannotBeOpenedIsAnError() {
        let system = PlayedSystem()
        system.lockedLogs = ["/prefix/locked.log"]
        #expect(
            refusal("access_log locked.log;", on: system)
                == #"open() "/prefix/locked.log" failed (13: Permission denied) in 2:12"#)
    }

    @Test func anErrorInAnIncludedFileIsThere() throws {
        let system = PlayedSystem()
        system.files = ["sites/a.conf": "server { listen 1; }", "sites/b.conf": "\n  nonsense;"]
        #expect(refusal("include sites/*.conf;", on: system) == #"unknown directive "nonsense" in sites/b.conf:2:3"#)
        system.files["sites/b.conf"] = "server { listen 2; }"
        #expect(try build("include sites/*.conf;", on: system).listens == ["0.0.0.0:1", "0.0.0.0:2"])
    }

    /// Directives of nginx that are refused must not be in the table, and the table has no name nginx has not, but our own.
    @Test func theTableHasOnlyNamesOfNginxInBlocksOfNginx() {
        for (name, rules) in DirectiveTable.rules {
            let places = rules.filter { !$0.isOwn }.reduce(into: Set<Context>()) { $0.formUnion($1.contexts) }
            let known = KnownDirectives.contexts(of: name) ?? []
            #expect(places.isSubset(of: known), "\(name): \(places.subtracting(known).map(\.rawValue))")
        }
    }
}
