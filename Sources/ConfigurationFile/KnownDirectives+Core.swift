// The directives of nginx 1.31 that stand at the top and in the events block: names grouped by where they are allowed.
// Facts read from the command tables of nginx's modules. Merged with the other groups by `KnownDirectives`.

extension KnownDirectives {
    static let coreGroups: [Group] = [
        Group(
            [.main],
            """
            daemon debug_points env error_log events google_perftools_profiles http load_module lock_file mail
            master_process pcre_jit pid quic_bpf ssl_engine ssl_object_cache_inheritable stream thread_pool timer_resolution
            user worker_cpu_affinity worker_priority worker_processes worker_rlimit_core worker_rlimit_nofile
            worker_shutdown_timeout working_directory
            """),
        Group(
            [.events],
            """
            accept_mutex accept_mutex_delay acceptex_read debug_connection devpoll_changes devpoll_events epoll_events
            eventport_events iocp_threads kqueue_changes kqueue_events multi_accept post_acceptex use worker_aio_requests
            worker_connections
            """),
        Group(
            Context.allCases,
            """
            include
            """),
    ]
}
