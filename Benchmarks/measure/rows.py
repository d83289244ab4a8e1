"""Owns the rows of the table: what is asked for, over how many connections, and what speaks to the server.
compare chooses among them; load and generators carry them out. Pure data."""

from dataclasses import dataclass

from .lab import Failure
from .servers import BODIES, CALL_PATH, HANDSHAKE_PATH

CONNECTIONS = (1, 64, 512)

# Rows over TLS and HTTP/2: kind -> (port, generator, streams a connection, path).
SECURE_KINDS = {
    "tls-full": ("https", "s_time", 1, ""),
    "tls-resumed": ("https", "s_time", 1, HANDSHAKE_PATH),
    "tls-small": ("https", "wrk", 1, "/small"),
    "tls-64k": ("https", "wrk", 1, "/64k"),
    "h2-1": ("https", "h2load", 1, "/small"),
    "h2-100": ("https", "h2load", 100, "/small"),
    "h2-64k": ("https", "h2load", 4, "/64k"),
    "h2c-1": ("h2c", "h2load", 1, "/small"),
    "h2c-100": ("h2c", "h2load", 100, "/small"),
    "grpc": ("h2c", "h2load", 10, CALL_PATH),
}
SECURE_CONNECTIONS = {"tls-full": 4, "tls-resumed": 4, "h2-100": 8, "h2c-100": 8, "h2-64k": 16, "grpc": 16}


@dataclass(frozen=True)
class Row:
    """One kind of load: what is asked for and over how many connections."""

    kind: str  # a body size, "upload", "close" (small, a connection a request), or one of SECURE_KINDS
    connections: int

    @property
    def name(self):
        return f"{self.kind}-{self.connections}"

    @property
    def is_secure(self):
        return self.kind in SECURE_KINDS

    @property
    def port(self):
        return SECURE_KINDS[self.kind][0] if self.is_secure else "http"

    @property
    def generator(self):
        return SECURE_KINDS[self.kind][1] if self.is_secure else "wrk"

    @property
    def streams(self):
        return SECURE_KINDS[self.kind][2] if self.is_secure else 1

    @property
    def path(self):
        if self.is_secure:
            return SECURE_KINDS[self.kind][3]
        return {"upload": "/upload", "close": "/small"}.get(self.kind, "/" + self.kind)

    @property
    def url_scheme(self):
        return "https" if self.port == "https" else "http"

    @property
    def counts_bytes(self):
        """The bytes of answers tell how many there were, those cut off at the end too."""
        return self.generator == "wrk" and self.kind not in ("upload", "close")

    def seconds(self, seconds):
        """64 connections is where the targets are, and all that is secure; the other rows get half the time."""
        return seconds if self.connections == 64 or self.is_secure else max(1, seconds // 2)

    def rounds(self, rounds):
        """And two rounds fewer, so that a full run ends in a while."""
        return rounds if self.connections == 64 or self.is_secure else max(min(2, rounds), rounds - 2)


PLAIN_ROWS = [Row(kind, count) for kind in (*BODIES, "upload", "close") for count in CONNECTIONS]
SECURE_ROWS = [Row(kind, SECURE_CONNECTIONS.get(kind, 64)) for kind in SECURE_KINDS]
ALL_ROWS = PLAIN_ROWS + SECURE_ROWS
QUICK_ROWS = ["small-1", "small-64", "small-512", "64k-64", "upload-64", "close-64",
              "tls-full-4", "tls-small-64", "h2-1-64", "h2-100-8"]


def choose_rows(words):
    """Rows by name ("64k-64"), by kind ("64k"), or all that are "plain" or "secure"."""
    def names(row):
        return {row.name, row.kind, "secure" if row.is_secure else "plain"}
    chosen = [row for row in ALL_ROWS if names(row) & set(words)]
    known = set().union(*(names(row) for row in ALL_ROWS))
    if unknown := [word for word in words if word not in known]:
        raise Failure(f"no such row: {', '.join(unknown)} (rows: {', '.join(row.name for row in ALL_ROWS)})")
    return chosen
