"""Owns the time-bound load: rows, wrk, and system calls counted from outside the process.
compare calls it. It never starts or stops the servers it loads."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass

from .lab import CpuSample, Failure
from .servers import BODIES, find

CONNECTIONS = (1, 64, 512)

# wrk's static request path stays in use: no request() function, so the generator formats the request once.
SCRIPT = """
function init(args)
    if args[1] == "upload" then
        wrk.method = "POST"
        wrk.body = string.rep("0123456789abcdef", tonumber(args[2]) / 16)
    end
    if args[1] == "close" then wrk.headers["Connection"] = "close" end
end
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format('\\nRESULT {"requests":%d,"bytes":%d,"duration":%d,"p50":%d,"p99":%d,"failed":%d}\\n',
        summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True)
class Row:
    """One kind of load: what is asked for and over how many connections."""

    kind: str  # a body size, "upload" or "close" (small, a connection a request)
    connections: int

    @property
    def name(self):
        return f"{self.kind}-{self.connections}"

    @property
    def path(self):
        return {"upload": "/upload", "close": "/small"}.get(self.kind, "/" + self.kind)

    def seconds(self, seconds):
        """64 connections is where the targets are; the other rows get half the time."""
        return seconds if self.connections == 64 else max(1, seconds // 2)

    def rounds(self, rounds):
        """And two rounds fewer, so that a full run stays under eight minutes."""
        return rounds if self.connections == 64 else max(min(2, rounds), rounds - 2)


ALL_ROWS = [Row(kind, count) for kind in (*BODIES, "upload", "close") for count in CONNECTIONS]
QUICK_ROWS = ["small-1", "small-64", "small-512", "64k-64", "upload-64", "close-64"]


def choose_rows(words):
    """Rows by name ("64k-64") or by kind ("64k")."""
    chosen = [row for row in ALL_ROWS if row.name in words or row.kind in words]
    known = {row.name for row in ALL_ROWS} | {row.kind for row in ALL_ROWS}
    if unknown := [word for word in words if word not in known]:
        raise Failure(f"no such row: {', '.join(unknown)} (rows: {', '.join(row.name for row in ALL_ROWS)})")
    return chosen


class Load:
    """Runs wrk against a server and reads what it cost the server."""

    def __init__(self, lab):
        self.lab = lab
        self.wrk = find("wrk")
        if not self.wrk:
            raise Failure("wrk is needed to make load")
        self.script = lab.path("load.lua")
        with open(self.script, "w") as file:
            file.write(SCRIPT)
        self.counter = counter(lab)

    def _wrk(self, server, row, seconds):
        argv = [self.wrk, "-t", "1", "-c", str(row.connections), "-d", f"{seconds}s", "--timeout", "10s", "--latency",
                "-s", self.script, f"http://127.0.0.1:{server.port}{row.path}", "--", row.kind, str(BODIES["64k"])]
        process = self.lab.spawn(argv, self.lab.cores.load, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            output, errors = process.communicate(timeout=seconds + 20)
        except subprocess.TimeoutExpired:
            raise Failure(f"wrk did not end: {server.name} {row.name}")
        finally:
            self.lab.stop(process)
        server.alive()
        for line in output.decode().splitlines():
            if line.startswith("RESULT "):
                return json.loads(line[7:])
        raise Failure(f"wrk gave no result for {server.name} {row.name}: {output.decode()} {errors.decode()}")

    def _requests(self, result, row, answer_bytes):
        """Requests done, counting those cut off at the end by the bytes that had arrived, where the answer is the work."""
        if row.kind in ("upload", "close") or not answer_bytes:
            return result["requests"]
        return max(result["requests"], result["bytes"] / answer_bytes)

    def measure(self, server, row, seconds, answer_bytes):
        """One timed run. Microseconds a request, requests/s, latency in microseconds."""
        before = CpuSample(server.pid)
        result = self._wrk(server, row, seconds)
        user, system, total, busy = CpuSample(server.pid).since(before)
        requests = self._requests(result, row, answer_bytes)
        if requests < 1:
            raise Failure(f"{server.name} answered nothing in {row.name}: {server.output()}")
        return {"user_us": user / requests, "system_us": system / requests, "total_us": total / requests,
                "requests_s": requests * 1e6 / result["duration"], "p50_us": result["p50"], "p99_us": result["p99"],
                "busy": busy, "failed": result["failed"]}

    def system_calls(self, server, row, seconds, answer_bytes):
        """System calls a request in one run of its own, or None without a way to count them."""
        if not self.counter:
            return None
        finish = self.counter(server.pid)
        result = self._wrk(server, row, seconds)
        return finish() / max(1, self._requests(result, row, answer_bytes))


def counter(lab):
    """The best way here to count a running process's system calls: perf's tracepoint (free), else strace (slows it)."""
    perf, strace = find("perf"), find("strace")
    if perf and subprocess.run([perf, "stat", "-e", "raw_syscalls:sys_enter", "true"], capture_output=True).returncode == 0:
        return lambda pid: _perf(lab, perf, pid)
    return (lambda pid: _strace(lab, strace, pid)) if strace else None


def _perf(lab, perf, pid):
    path = lab.path("perf.csv")
    process = lab.spawn([perf, "stat", "-x", ",", "-o", path, "-e", "raw_syscalls:sys_enter", "-p", str(pid)],
                        lab.cores.load)
    time.sleep(0.15)  # perf has no sign of being attached; what it misses is a part of one run's first tenth.

    def finish():
        lab.stop(process, signal.SIGINT)
        with open(path) as file:
            return sum(int(line.split(",")[0]) for line in file if "raw_syscalls" in line)
    return finish


def _strace(lab, strace, pid):
    path = lab.path("strace.txt")
    process = lab.spawn([strace, "-f", "-c", "-o", path, "-p", str(pid)], lab.cores.load)
    time.sleep(0.3)

    def finish():
        lab.stop(process, signal.SIGINT)
        return sum(read_strace(path).values())
    return finish


def read_strace(path):
    """Calls by name from the table `strace -c` writes."""
    calls = {}
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                words = line.split()
                if len(words) >= 5 and words[0][0].isdigit() and words[-1] != "total":
                    calls[words[-1]] = int(words[3])
    return calls
