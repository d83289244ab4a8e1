// The directives of nginx 1.31 that stand in the stream block: names grouped by where they are allowed.
// Facts read from the command tables of nginx's modules. Merged with the other groups by `KnownDirectives`.

extension KnownDirectives {
    static let streamGroups: [Group] = [
        Group(
            [.stream, .streamServer],
            """
            access_log allow deny error_log limit_conn limit_conn_dry_run limit_conn_log_level open_log_file_cache
            preread_buffer_size preread_timeout proxy_bind proxy_buffer_size proxy_connect_timeout proxy_download_rate
            proxy_downstream_buffer proxy_half_close proxy_next_upstream proxy_next_upstream_timeout
            proxy_next_upstream_tries proxy_protocol proxy_protocol_timeout proxy_requests proxy_responses
            proxy_socket_keepalive proxy_socket_rcvbuf proxy_socket_sndbuf proxy_ssl proxy_ssl_alpn proxy_ssl_certificate
            proxy_ssl_certificate_cache proxy_ssl_certificate_key proxy_ssl_ciphers proxy_ssl_conf_command proxy_ssl_crl
            proxy_ssl_name proxy_ssl_password_file proxy_ssl_protocols proxy_ssl_server_name proxy_ssl_session_reuse
            proxy_ssl_trusted_certificate proxy_ssl_verify proxy_ssl_verify_depth proxy_timeout proxy_upload_rate
            proxy_upstream_buffer set_real_ip_from ssl_alpn ssl_certificate ssl_certificate_cache
            ssl_certificate_compression ssl_certificate_key ssl_ciphers ssl_client_certificate ssl_conf_command ssl_crl
            ssl_dhparam ssl_ecdh_curve ssl_ech_file ssl_handshake_timeout ssl_ocsp ssl_ocsp_cache ssl_ocsp_responder
            ssl_password_file ssl_prefer_server_ciphers ssl_preread ssl_protocols ssl_reject_handshake ssl_session_cache
            ssl_session_ticket_key ssl_session_tickets ssl_session_timeout ssl_stapling ssl_stapling_file
            ssl_stapling_responder ssl_stapling_verify ssl_trusted_certificate ssl_verify_client ssl_verify_depth
            tcp_nodelay
            """),
        Group(
            [.stream],
            """
            geo geoip_city geoip_country geoip_org limit_conn_zone log_format map map_hash_bucket_size map_hash_max_size
            server_names_hash_bucket_size server_names_hash_max_size split_clients upstream variables_hash_bucket_size
            variables_hash_max_size
            """),
        Group(
            [.streamServer],
            """
            listen pass proxy_pass return server_name set
            """),
        Group(
            [.streamUpstream],
            """
            hash least_conn least_time random zone
            """),
        Group(
            [.stream, .streamServer, .streamUpstream],
            """
            resolver resolver_timeout
            """),
        Group(
            [.stream, .streamUpstream],
            """
            server
            """),
    ]
}
