"""Owns the figures that do not depend on time: instructions, allocations, reference counts and system calls a request.
Each is the difference between a long and a short lockstep run, so that start-up cancels. compare and budget call it."""

import glob
import os
import re
import subprocess

from .clients import HTTP2Client, PlainClient
from .lab import Failure, children, wait_until
from .load import read_strace
from .lockstep import Lockstep
from .servers import find

SHORT, LONG = 200, 1200  # sequential requests
CLIENTS = 8
BURST, SHORT_ROUNDS, LONG_ROUNDS = 64, 5, 25  # rounds of 64 requests: each on a connection of its own, or of HTTP/2, all on one

ALLOCATORS = ("malloc", "calloc", "realloc", "reallocarray", "memalign", "posix_memalign", "aligned_alloc", "valloc")
SWIFT_ALLOCATORS = re.compile(r"^(_*swift_allocObject_?|swift_allocBox|swift_slowAlloc|swift::swift_slowAllocTyped\(.*)$")
# glibc's own floors below those doors: posix_memalign reaches malloc through the first.
INSIDE_ALLOCATORS = re.compile(r"^(_mid_memalign|_int_|__libc_|tcache_|malloc_|sysmalloc)")
REFERENCE_COUNTS = re.compile(
    r"^_*swift_(nonatomic_)?(bridgeObject|unknownObject|unowned|weak|error|try)?([Rr]etain|[Rr]elease)(Strong)?(_n)?_?$")


def callgrind_figures(server_with_upstream, client=PlainClient):
    """User instructions, heap allocations, Swift objects and reference counts a sequential small request.

    Takes a function from an upstream's port to a new server. Needs valgrind."""
    short, long = (_callgrind(server_with_upstream, requests, client) for requests in (SHORT, LONG))
    per = {key: (long[key] - short[key]) / (LONG - SHORT) for key in long if key != "callers"}
    callers = {key: (count - short["callers"].get(key, 0)) / (LONG - SHORT) for key, count in long["callers"].items()}
    per["callers"] = {key: value for key, value in callers.items() if value >= 0.01}
    # A Swift program retains or allocates something at start; if nothing was seen, the binary has lost its symbols.
    per["swift_seen"] = long["swift_objects"] + long["reference_counts"] > 0
    return per


def _callgrind(server_with_upstream, requests, client):
    valgrind = find("valgrind")
    if not valgrind:
        raise Failure("valgrind is needed to count instructions")
    lockstep = Lockstep(client)
    server = server_with_upstream(lockstep.port)
    server.argv[0] = loadable(server.argv[0], server.directory)
    out = os.path.join(server.directory, "callgrind.out")
    prefix = [valgrind, "--tool=callgrind", f"--callgrind-out-file={out}.%p"]
    # Hash seeds differ from run to run otherwise, and instruction counts with them.
    env = {**os.environ, "SWIFT_DETERMINISTIC_HASHING": "1"}
    try:
        server.spawn(prefix, env)
        lockstep.open(server, CLIENTS)
        lockstep.one_by_one(requests)
    finally:
        alive = server.process.poll() is None
        server.stop()
        lockstep.close()
    files = glob.glob(out + ".*")
    if not alive or not files:
        raise Failure(f"{server.name} left no profile: {server.output()}")
    return read_callgrind(files)


def loadable(binary, folder):
    """A copy without debugging sections, which valgrind's reader may not understand. The names of functions stay."""
    strip = find("strip")
    if not strip:
        return binary
    copy = os.path.join(folder, os.path.basename(binary))
    subprocess.run([strip, "--strip-debug", "-o", copy, binary], check=True)
    return copy


def read_callgrind(paths):
    """Instructions in all, and calls of the functions of interest, from callgrind's own files."""
    figures = {"instructions": 0, "allocations": 0, "swift_objects": 0, "reference_counts": 0, "callers": {}}
    for path in paths:
        with open(path, errors="replace") as file:
            _read_profile(file, figures)
    if figures["instructions"] == 0:
        raise Failure(f"callgrind wrote no totals: {', '.join(paths)}")
    return figures


def _read_profile(lines, figures):
    names, caller, callee = {}, "", ""
    for line in lines:
        if line.startswith("fn="):
            caller = _name(names, line[3:])
        elif line.startswith("cfn="):
            callee = _name(names, line[4:])
        elif line.startswith("calls="):
            kind = _kind(callee)
            # A member of a family that calls another (realloc calling malloc) is one event, counted at the door.
            if kind and _kind(caller) != kind and not INSIDE_ALLOCATORS.match(caller):
                count = int(line[6:].split()[0])
                figures[kind] += count
                key = f"{callee} from {caller}"
                figures["callers"][key] = figures["callers"].get(key, 0) + count
        elif line.startswith("totals:"):
            figures["instructions"] += int(line.split()[1])


def _name(names, text):
    """Callgrind writes a name once, as `(7) malloc`, and later only `(7)`. Recursion levels (`'2`) are one function."""
    match = re.match(r"\((\d+)\)(?: (.*))?", text.strip())
    if not match:
        return text.strip()
    if match.group(2):
        names[match.group(1)] = re.sub(r"'\d+$", "", match.group(2))
    return names.get(match.group(1), "?")


def _kind(name):
    if name in ALLOCATORS:
        return "allocations"
    if SWIFT_ALLOCATORS.match(name):
        return "swift_objects"
    return "reference_counts" if REFERENCE_COUNTS.match(name) else None


def system_call_figures(server_with_upstream, client=PlainClient):
    """System calls a request by name, with one connection and with 64 requests in flight. Needs strace."""
    figures = {}
    for key, in_flight, short, long in (("one", 1, SHORT, LONG), ("burst", BURST, SHORT_ROUNDS, LONG_ROUNDS)):
        before, after = (_strace(server_with_upstream, in_flight, turns, client) for turns in (short, long))
        requests = (long - short) * in_flight
        calls = {name: (count - before.get(name, 0)) / requests for name, count in after.items()}
        figures[key] = {name: value for name, value in sorted(calls.items(), key=lambda item: -item[1]) if value > 0.001}
    return figures


def _child(server):
    """The proxy behind its tracer, which first tries its tools on short-lived children of its own."""
    for pid in children(server.pid):
        try:
            if os.path.samefile(f"/proc/{pid}/exe", server.binary):
                return pid
        except OSError:
            continue
    return None


def _strace(server_with_upstream, in_flight, turns, client):
    strace = find("strace")
    if not strace:
        raise Failure("strace is needed to count system calls")
    lockstep = Lockstep(client)
    server = server_with_upstream(lockstep.port)
    path = os.path.join(server.directory, "strace.txt")
    pid = None
    try:
        server.spawn([strace, "-f", "-c", "-o", path])
        pid = wait_until(lambda: server.alive() and _child(server), 20, "strace to start the proxy")
        each = BURST if client is HTTP2Client else 1
        lockstep.open(server, max(1, in_flight // each))
        # Sequential mode at one request, else a round of the whole crowd at a time.
        lockstep.one_by_one(turns) if in_flight == 1 else lockstep.all_at_once(turns, each)
    finally:
        server.stop(pid=pid)
        lockstep.close()
    calls = read_strace(path)
    if not calls:
        raise Failure(f"strace counted nothing for {server.name}: {server.output()}")
    return calls
