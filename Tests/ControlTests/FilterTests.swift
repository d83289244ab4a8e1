// Owns the words of gzip and charset: what is refused, and that only locations with filters have any.

import ConfigurationFile
import Testing

@testable import Control

@Suite("filters in a configuration")
struct FilterTests {
    @Test(
        "refused",
        arguments: [
            ("gzip yes;", #"invalid value "yes" in "gzip" directive, it must be "on" or "off" in 2:6"#),
            (
                "gzip_comp_level 10;",
                #"invalid value "10" in "gzip_comp_level" directive, it must be a whole number from 1 to 9 in 2:17"#
            ),
            ("gzip_http_version 2;", #"invalid value "2" in "gzip_http_version" directive, it must be "1.0" or "1.1" in 2:19"#),
            (
                "gzip_static maybe;",
                #"invalid value "maybe" in "gzip_static" directive, it must be "on", "off" or "always" in 2:13"#
            ),
            (
                "gzip_proxied off any;",
                #"invalid value "off" in "gzip_proxied" directive, it must be alone, when it is "off" in 2:14"#
            ),
            ("charset_map a a { }", #""charset_map" between the same charsets "a" and "a" in 2:1"#),
            ("charset_map utf-8 a { }", #""charset_map" with "utf-8" charset should be given in the second column in 2:13"#),
            ("charset_map a b { }\ncharset_map b a { }", #"duplicate "charset_map" between "b" and "a" in 3:1"#),
            ("charset_map a b { 80; }", #"invalid number of arguments in "80" directive in 2:19; expected two codes"#),
            (
                "charset_map a b { 100 80; }",
                #"invalid value "100" in "charset_map" directive, it must be a byte in hexadecimal digits in 2:19"#
            ),
            (
                "charset_map a b { 80 8000; }",
                #"invalid value "8000" in "charset_map" directive, it must be a byte in hexadecimal digits in 2:22"#
            ),
            (
                "charset_map a utf-8 { 80 FF; }",
                #"invalid value "FF" in "charset_map" directive, it must be one character of UTF-8, at most 3 bytes, in hexadecimal digits in 2:26"#
            ),
            (
                "charset a; source_charset b;\nserver { listen 80; }",
                #"no "charset_map" between the charsets "b" and "a" in 2:27"#
            ),
        ])
    func refused(text: String, message: String) {
        #expect(refusal(text) == message)
    }

    @Test func onlyLocationsWithFiltersHaveAny() throws {
        let built = try build(
            """
            gzip_types text/css; gzip_vary on; charset_map a b { }
            server {
                listen 80;
                location /none { return 200; }
                location /gzip { gzip on; }
                location /charset { charset a; }
                location /static { gzip_static on; }
                location /told { proxy_pass http://127.0.0.1:1; }
            }
            """)
        #expect(built.location("/none").filters == nil)
        #expect(built.location("").filters == nil)
        for name in ["/gzip", "/charset", "/static", "/told"] { #expect(built.location(name).filters != nil, "\(name)") }
        #expect(built.location("/gzip").filters?.gzipVary == true)
    }

    @Test func aTypeThatIsThereAlreadyIsAWarning() throws {
        let built = try build("gzip_types text/html text/css;\nserver { listen 80; }")
        #expect(built.warnings.count == 1)
        #expect(built.warnings.first?.contains(#"duplicate MIME type "text/html""#) == true)
    }
}
