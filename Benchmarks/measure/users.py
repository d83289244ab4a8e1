"""Owns the users of `releases`: an open loop of requests at random moments from a fixed seed, and what became of each of them.
Half of the users are known by a cookie of their own, half by the one that the proxy gives them. Knows nothing of what is released."""

import asyncio
import random
import threading
import time
from dataclasses import dataclass

WAIT_S = 15
# A kept connection is given up well before the proxy closes it: a request that meets the closing would be our own doing.
KEPT_S = 20


@dataclass
class Visit:
    """One request. Times are of the wall clock: answers of applications and proxy are compared with them."""

    name: str
    user: int
    began: float
    ended: float = 0
    status: int = 0
    version: str = ""
    text: str = ""
    # What went wrong before there was an answer.
    fault: str = ""

    @property
    def is_failed(self):
        return self.status != 200

    @property
    def seconds(self):
        return self.ended - self.began


class Users:
    """A thread with the load. `visits` grows in the order in which answers came."""

    made = 0

    def __init__(self, port, rate, count, seed, path="/price"):
        Users.made += 1
        self.mark = f"u{Users.made}-"
        self.port, self.rate, self.path = port, rate, path
        self.random = random.Random(seed)
        # By user: the cookie to send. Users with odd numbers have none before the proxy gives them one.
        self.cookies = {user: f"user=u{user}" for user in range(0, count, 2)}
        self.count = count
        self.visits = []
        self.begun = 0
        # How late requests left, in seconds: an open loop that cannot keep up is none.
        self.late = 0.0
        self.idle = []
        self.is_ending = False
        self.clock = time.time() - time.monotonic()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def now(self):
        return time.monotonic() + self.clock

    def start(self):
        self.thread.start()
        return self

    def finish(self):
        """Begins no more requests, and waits for the answers that are due."""
        self.is_ending = True
        self.thread.join(WAIT_S + 5)
        return self.visits

    async def _run(self):
        tasks = set()
        due = time.monotonic()
        while not self.is_ending:
            due += self.random.expovariate(self.rate)
            user = self.random.randrange(self.count)
            pause = due - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            self.late = max(self.late, time.monotonic() - due)
            self.begun += 1
            task = asyncio.create_task(self._visit(Visit(f"{self.mark}{self.begun}", user, self.now())))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks)
        for _, writer, _ in self.idle:
            writer.close()

    async def _visit(self, visit):
        try:
            await asyncio.wait_for(self._ask(visit), WAIT_S)
        except TimeoutError:
            visit.fault = f"no answer within {WAIT_S} s"
        except (OSError, EOFError, ValueError) as error:
            visit.fault = f"{type(error).__name__}: {error}"
        visit.ended = self.now()
        if visit.fault:
            visit.status = 0
        self.visits.append(visit)

    async def _ask(self, visit):
        reader, writer = await self._connection()
        is_kept = False
        try:
            cookie = self.cookies.get(visit.user)
            writer.write((f"GET {self.path} HTTP/1.1\r\nHost: shop.example\r\nX-Request-Id: {visit.name}\r\n"
                          + (f"Cookie: {cookie}\r\n" if cookie else "") + "\r\n").encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            visit.status = int(head[0].split(" ")[1])
            keeps, length = True, 0
            for line in head[1:]:
                name, _, value = line.partition(":")
                name, value = name.lower(), value.strip()
                if name == "content-length":
                    length = int(value)
                elif name == "x-version":
                    visit.version = value
                elif name == "set-cookie":
                    self.cookies[visit.user] = value.partition(";")[0]
                elif name == "connection" and value.lower() == "close":
                    keeps = False
            visit.text = (await reader.readexactly(length)).decode("latin-1").strip()
            is_kept = keeps
        finally:
            if is_kept and not self.is_ending:
                self.idle.append((reader, writer, time.monotonic()))
            else:
                writer.close()

    async def _connection(self):
        while self.idle:
            reader, writer, since = self.idle.pop()
            if time.monotonic() - since < KEPT_S:
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port)
