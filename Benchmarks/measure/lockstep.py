"""Owns a client and an upstream in one thread, so that every run sends a proxy the same bytes in the same order.
counts.py drives it. Time plays no part here: a slow proxy (under valgrind, say) sees the same run as a fast one."""

import select
import socket
import time

from .clients import PlainClient
from .lab import Failure, wait_until

HEAD = ("HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
        "Content-Length: 200\r\nConnection: keep-alive\r\n\r\n")
RESPONSE = HEAD.encode() + b"x" * 200


class Lockstep:
    """Answers as the upstream at `port`; `clients` connections then ask through the proxy one by one or all at once."""

    def __init__(self, client=PlainClient):
        self.kind = client
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.upstream = {}  # fd -> [socket, bytes of an unfinished request]
        self.clients = {}  # fd -> client
        self.held = None  # upstream sockets waiting for the burst to be complete, or None to answer at once
        self.done = 0
        self.upstream_connections = 0

    def open(self, server, count, timeout=20):
        """Waits until the proxy listens, then opens the client connections."""
        def connected():
            server.alive()
            try:
                return self.kind(server.ports[self.kind.scheme])
            except OSError:
                return None
        connections = [wait_until(connected, timeout, "the proxy to listen", pause=0.02)]
        connections += [self.kind(server.ports[self.kind.scheme]) for _ in range(count - 1)]
        for connection in connections:
            self.clients[connection.fileno()] = connection
            self.poll.register(connection, select.EPOLLIN)

    def one_by_one(self, requests):
        """Sends each request after the answer to the one before, over the connections in turn."""
        clients = list(self.clients.values())
        for index in range(requests):
            self.done = 0
            clients[index % len(clients)].ask()
            self._turn_until(lambda: self.done == 1)

    def all_at_once(self, rounds, each=1):
        """Rounds in which every client has `each` requests in flight: no answer leaves the upstream before all have arrived."""
        clients = list(self.clients.values())
        for _ in range(rounds):
            self.done, self.held = 0, []
            for client in clients:
                client.ask(each)
            self._turn_until(lambda: len(self.held) == each * len(clients))
            held, self.held = self.held, None
            for connection in held:
                connection.sendall(RESPONSE)
            self._turn_until(lambda: self.done == each * len(clients))

    def _turn_until(self, condition, timeout=30):
        end = time.monotonic() + timeout
        while not condition():
            for fd, _ in self.poll.poll(1):
                self._ready(fd)
            if time.monotonic() > end:
                raise Failure(f"lockstep: no answer in {timeout} s ({self.done} answered, {len(self.held or [])} held)")

    def _ready(self, fd):
        if fd == self.listener.fileno():
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.upstream[connection.fileno()] = [connection, b""]
            self.upstream_connections += 1
            self.poll.register(connection, select.EPOLLIN)
        elif fd in self.clients:
            self.done += self.clients[fd].take()
        elif fd in self.upstream:
            self._upstream_ready(fd)

    def _upstream_ready(self, fd):
        entry = self.upstream[fd]
        try:
            piece = entry[0].recv(1 << 16)
        except ConnectionResetError:
            piece = b""
        if not piece:
            entry[0].close()  # The proxy may shed idle connections; closing also leaves the poll set.
            del self.upstream[fd]
            return
        entry[1] += piece
        while (end := entry[1].find(b"\r\n\r\n")) >= 0:
            entry[1] = entry[1][end + 4:]
            if self.held is None:
                entry[0].sendall(RESPONSE)
            else:
                self.held.append(entry[0])

    def close(self):
        for connection in [*self.clients.values(), *(entry[0] for entry in self.upstream.values())]:
            connection.close()
        self.listener.close()
        self.poll.close()
