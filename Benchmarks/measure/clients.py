"""Owns the clients of the lockstep driver: HTTP/1.1, the same over TLS, and HTTP/2 with many requests in flight on a connection.
lockstep.py drives them. Each sends a fixed request and counts whole answers; none of them reads a clock."""

import ssl

from . import http
from .lab import Failure


class PlainClient:
    """One request at a time over one connection."""

    scheme = "http"

    def __init__(self, port, timeout=20):
        self.connection = http.connect(port, timeout, is_secure=self.scheme == "https")
        self.data = b""

    def fileno(self):
        return self.connection.fileno()

    def ask(self, _count=1):
        self.connection.sendall(http.request())

    def take(self):
        """How many answers are whole by what has come now."""
        self.data += self._receive()
        whole = http.response_bytes(self.data)
        if whole is None or len(self.data) < whole:
            return 0
        if not self.data.startswith(b"HTTP/1.1 200"):
            raise Failure(f"lockstep: the proxy answered {self.data[:40]!r}")
        self.data = self.data[whole:]
        return 1

    def _receive(self):
        piece = self.connection.recv(1 << 16)
        if not piece:
            raise Failure("lockstep: the proxy closed a client's connection")
        return piece

    def close(self):
        self.connection.close()


class SecureClient(PlainClient):
    """The same over TLS. What comes may be a ticket, of which no byte is the answer's."""

    scheme = "https"

    def _receive(self):
        self.connection.setblocking(False)
        piece = b""
        try:
            while True:
                read = self.connection.recv(1 << 16)
                if not read:
                    raise Failure("lockstep: the proxy closed a client's connection")
                piece += read
        except ssl.SSLWantReadError:
            return piece
        finally:
            self.connection.setblocking(True)


# A field block that leaves no trace in the table of names: GET, http, /small, and what a plain client sends besides.
def _literal(name, value):
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


FIELDS = (b"\x82\x86" + b"\x04\x06/small" + b"\x01\x0bbench.local" + _literal(b"user-agent", b"bench/1") + _literal(b"accept", b"*/*"))
HEADERS, SETTINGS, PING, GOAWAY, END_STREAM, END_HEADERS, ACK = 1, 4, 6, 7, 1, 4, 1


def _frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class HTTP2Client(PlainClient):
    """HTTP/2 with prior knowledge. Answers count when their streams end; windows are so wide that none closes."""

    scheme = "h2c"

    def __init__(self, port, timeout=20):
        super().__init__(port, timeout)
        self.next_stream = 1
        widest = (1 << 31) - 1
        self.connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, b"\x00\x04" + widest.to_bytes(4, "big"))
                                + _frame(8, 0, 0, (widest - 65535).to_bytes(4, "big")))

    def ask(self, count=1):
        requests = b""
        for _ in range(count):
            requests += _frame(HEADERS, END_STREAM | END_HEADERS, self.next_stream, FIELDS)
            self.next_stream += 2
        self.connection.sendall(requests)

    def take(self):
        self.data += self._receive()
        done, at = 0, 0
        while len(self.data) - at >= 9:
            length, kind, flags = int.from_bytes(self.data[at:at + 3], "big"), self.data[at + 3], self.data[at + 4]
            if len(self.data) - at < 9 + length:
                break
            at += 9 + length
            if kind == SETTINGS and not flags & ACK:
                self.connection.sendall(_frame(SETTINGS, ACK, 0))
            elif kind in (GOAWAY, 3):
                raise Failure("lockstep: the proxy ended a stream or its connection")
            elif kind in (0, HEADERS) and flags & END_STREAM:
                done += 1
        self.data = self.data[at:]
        return done


KINDS = {client.scheme: client for client in (PlainClient, SecureClient, HTTP2Client)}
