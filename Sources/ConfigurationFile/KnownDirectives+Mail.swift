// The directives of nginx 1.31 that stand in the mail block: names grouped by where they are allowed.
// Facts read from the command tables of nginx's modules. Merged with the other groups by `KnownDirectives`.

extension KnownDirectives {
    static let mailGroups: [Group] = [
        Group(
            [.mail, .mailServer],
            """
            auth_http auth_http_header auth_http_pass_client_cert auth_http_timeout error_log imap_auth imap_capabilities
            imap_client_buffer max_errors pop3_auth pop3_capabilities proxy proxy_buffer proxy_pass_error_message
            proxy_protocol proxy_smtp_auth proxy_timeout resolver resolver_timeout server_name set_real_ip_from smtp_auth
            smtp_capabilities smtp_client_buffer smtp_greeting_delay ssl_certificate ssl_certificate_compression
            ssl_certificate_key ssl_ciphers ssl_client_certificate ssl_conf_command ssl_crl ssl_dhparam ssl_ecdh_curve
            ssl_password_file ssl_prefer_server_ciphers ssl_protocols ssl_session_cache ssl_session_ticket_key
            ssl_session_tickets ssl_session_timeout ssl_trusted_certificate ssl_verify_client ssl_verify_depth starttls
            timeout xclient
            """),
        Group(
            [.mailServer],
            """
            listen protocol
            """),
        Group(
            [.mail],
            """
            server
            """),
    ]
}
