"""Owns a run's temporary directory, its processes and the cores they sit on; ends every process by its own pid.
Everything else in this package starts processes through here. Knows nothing of proxies or of what is measured."""

import atexit
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


class Failure(Exception):
    """Something the run needs did not happen; the text is for the person who started it."""


def free_port():
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cores:
    """Where each role runs: the proxy has a core to itself as soon as there are two."""

    def __init__(self):
        cores = sorted(os.sched_getaffinity(0))
        self.count = len(cores)
        self.proxy = cores[0]
        self.upstream = cores[1 % len(cores)]
        self.load = cores[2] if len(cores) > 2 else self.upstream

    def describe(self):
        return f"proxy on core {self.proxy}, upstream on {self.upstream}, load on {self.load}"


class Lab:
    """A temporary directory and the processes started for one run. Use with `with`."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="switchback-bench-")
        self.cores = Cores()
        self.processes = []
        atexit.register(self.close)
        # A terminated run must still reach close(), or its servers would outlive it.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        os.sched_setaffinity(0, {self.cores.load})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def spawn(self, argv, core, stdout=None, stderr=None, env=None):
        """Starts argv pinned to a core. Affinity is inherited, so nothing runs between fork and exec."""
        os.sched_setaffinity(0, {core})
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=stdout or subprocess.DEVNULL,
                stderr=stderr or subprocess.DEVNULL, cwd=self.directory, env=env)
        finally:
            os.sched_setaffinity(0, {self.cores.load})
        self.processes.append(process)
        return process

    def stop(self, process, number=signal.SIGTERM, pid=None, timeout=10):
        """Ends one process: the signal (to `pid` where a tracer stands in front), then the hard way."""
        end = time.monotonic() + timeout
        while process.poll() is None and time.monotonic() < end:
            # Again each second: nginx misses a signal that comes between its check and its wait.
            _signal(pid or process.pid, number)
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                continue
        if process.poll() is None:
            for victim in (pid, *children(process.pid), process.pid):
                _signal(victim, signal.SIGKILL)
            process.wait(timeout)
        if process in self.processes:
            self.processes.remove(process)

    def close(self):
        for process in list(self.processes):
            for pid in children(process.pid):
                _signal(pid, signal.SIGKILL)
            self.stop(process, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)


def _signal(pid, number):
    try:
        if pid:
            os.kill(pid, number)
    except ProcessLookupError:
        pass


def wait_until(condition, timeout, what, pause=0.002):
    """Polls a condition until it holds; what it waited for becomes the failure."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"gave up after {timeout} s waiting for {what}")
        time.sleep(pause)


def children(pid):
    """Pids of a process's direct children, whichever of its threads started them."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass
    return found


class CpuSample:
    """Processor time of a process with all its threads: total in ns from schedstat, split by the kernel's tick counts."""

    def __init__(self, pid):
        self.total_ns = 0
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                    self.total_ns += int(file.read().split()[0])
            except FileNotFoundError:
                continue
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        self.user_ticks, self.system_ticks = int(fields[11]), int(fields[12])
        self.at = time.monotonic()

    def since(self, before):
        """(user, system, total) microseconds and the share of one core, between two samples."""
        ticks_user = self.user_ticks - before.user_ticks
        ticks = ticks_user + self.system_ticks - before.system_ticks
        total = (self.total_ns - before.total_ns) / 1000
        if total == 0:  # A kernel without schedstat: whole ticks are what there is.
            total = ticks * 1e6 / os.sysconf("SC_CLK_TCK")
        user = total * ticks_user / ticks if ticks else 0.0
        return user, total - user, total, total / 1e6 / (self.at - before.at)


class Neighbours:
    """How much of the machine went to work that is not this run's, from creation until `share` is asked."""

    def __init__(self):
        self.begin = self._now()

    @staticmethod
    def _now():
        with open("/proc/stat") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
        usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        hertz = os.sysconf("SC_CLK_TCK")
        return sum(ticks) / hertz, (sum(ticks) - ticks[3] - ticks[4]) / hertz, own

    def share(self):
        """From 0 to 1, once this run's processes have ended: only then are their times known."""
        every, busy, own = (now - then for now, then in zip(self._now(), self.begin))
        return max(0.0, (busy - own) / every)


def memory(pid):
    """Resident and anonymous KiB of a process."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        text = file.read()
    return {name: int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M).group(1)) for name in ("Rss", "Anonymous")}
