"""Owns the few lines of HTTP the measurements speak themselves: one small request, and when its answer is whole.
Load proper comes from wrk; this is for readiness, idle connections and the lockstep driver."""

import re
import socket
import ssl

# What a plain client sends, so that a head has more than one field to parse.
REQUEST = "GET {path} HTTP/1.1\r\nHost: bench.local\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n"


def request(path="/small"):
    return REQUEST.format(path=path).encode()


def response_bytes(data):
    """Bytes of the response that starts `data`, or None while its head is not there. Content-Length framing only."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = re.search(rb"\r\ncontent-length: *(\d+)", data[:end + 2], re.I)
    return end + 4 + (int(length.group(1)) if length else 0)


def exchange(connection, path="/small"):
    """One request and its whole answer over an open connection."""
    connection.sendall(request(path))
    data = b""
    while (whole := response_bytes(data)) is None or len(data) < whole:
        piece = connection.recv(1 << 18)
        if not piece:
            break
        data += piece
    return data


def _secure():
    """A client of TLS that trusts anybody: who measures made the certificate himself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


SECURE = _secure()


def connect(port, timeout=10, is_secure=False):
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SECURE.wrap_socket(connection) if is_secure else connection


def answers(port, path="/small", is_secure=False):
    """The bytes of a 200 answer from a server that may not listen yet; otherwise 0."""
    try:
        with connect(port, is_secure=is_secure) as connection:
            data = exchange(connection, path)
            return len(data) if data.startswith(b"HTTP/1.1 200") else 0
    except OSError:
        return 0
