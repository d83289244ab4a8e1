"""Owns what a row costs a server: processor time while a generator runs, and system calls counted from outside the process.
compare calls it. It never starts or stops the servers it loads."""

import os
import signal
import subprocess
import time

from .generators import Generators
from .lab import CpuSample, Failure
from .servers import find

class Load:
    """Loads a server by a row and reads what it cost the server."""

    def __init__(self, lab, rows):
        self.generators = Generators(lab, rows)
        self.counter = counter(lab)

    def _requests(self, result, row, answer_bytes):
        """Requests done, counting those cut off at the end by the bytes that had arrived, where the answer is the work."""
        if not row.counts_bytes or not answer_bytes:
            return result["requests"]
        return max(result["requests"], result["bytes"] / answer_bytes)

    def measure(self, server, row, seconds, answer_bytes):
        """One timed run. Microseconds a request, requests/s, latency in microseconds."""
        before = CpuSample(server.pid)
        result = self.generators.run(server, row, seconds)
        user, system, total, busy = CpuSample(server.pid).since(before)
        requests = self._requests(result, row, answer_bytes)
        if requests < 1:
            raise Failure(f"{server.name} answered nothing in {row.name}: {server.output()}")
        return {"user_us": user / requests, "system_us": system / requests, "total_us": total / requests,
                "requests_s": requests * 1e6 / result["duration"], "p50_us": result.get("p50"), "p99_us": result.get("p99"),
                "busy": busy, "failed": result["failed"]}

    def system_calls(self, server, row, seconds, answer_bytes):
        """System calls a request in one run of its own, or None without a way to count them."""
        if not self.counter:
            return None
        finish = self.counter(server.pid)
        result = self.generators.run(server, row, seconds)
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
