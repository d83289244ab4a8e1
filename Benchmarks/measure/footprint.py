"""Owns what a server costs without load: memory at start, memory an idle connection, time to the first answer.
compare calls it with factories, since each figure wants a fresh process."""

import gc
import statistics
import time

from . import http
from .lab import memory

IDLE_CONNECTIONS = 2000


def _settled(pid):
    """Memory once two readings in a row agree: the last closing or opening may still be under way."""
    last = memory(pid)
    for _ in range(20):
        time.sleep(0.02)
        now = memory(pid)
        if now == last:
            break
        last = now
    return last


def measure_memory(factory, count=IDLE_CONNECTIONS):
    """Resident and anonymous KiB after the first answer, and anonymous bytes that each further idle connection adds."""
    start, each = _held(factory, count, "http")
    return {"rss_kib": start["Rss"], "anonymous_kib": start["Anonymous"], "idle_connection_bytes": each}


def measure_secure_memory(factory, count=IDLE_CONNECTIONS):
    """Anonymous bytes that an idle connection over TLS adds."""
    return {"idle_tls_connection_bytes": _held(factory, count, "https")[1]}


def _held(factory, count, scheme):
    """Memory after the first answer, and bytes an idle connection."""
    server, held = factory().start(), []
    port, is_secure = server.ports[scheme], scheme == "https"
    try:
        start = _settled(server.pid)
        # The first hundred make the tables exist; what grows after them is the price of a connection.
        for _ in range(100):
            held.append(_used(port, is_secure))
        before = _settled(server.pid)
        for _ in range(count):
            held.append(_used(port, is_secure))
        after = _settled(server.pid)
    finally:
        for connection in held:
            connection.close()
        server.stop()
    return start, (after["Anonymous"] - before["Anonymous"]) * 1024 / count


def _used(port, is_secure=False):
    connection = http.connect(port, is_secure=is_secure)
    http.exchange(connection)
    return connection


def measure_start(factory, tries):
    """Median ms from spawning the process to the last byte of its first proxied answer."""
    times = []
    for _ in range(tries):
        server = factory()
        gc.disable()
        try:
            begin = time.monotonic()
            server.spawn()
            while not http.answers(server.port):
                server.alive()
                if time.monotonic() - begin > 20:
                    break
                time.sleep(0.0001)
            times.append((time.monotonic() - begin) * 1000)
        finally:
            gc.enable()
            server.stop()
    return statistics.median(times)
