"""Owns the programs that make load: wrk, h2load and `openssl s_time`. Each runs a row for some seconds and says what it saw.
load.py calls it. It measures nothing of the server."""

import json
import re
import subprocess
import time

from .lab import Failure
from .servers import BODIES, MESSAGE, find

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


class Generators:
    """Runs the generator of a row. A result has `requests`, `bytes` of answers, `duration` in microseconds, `failed`, and
    `p50` and `p99` in microseconds where the generator tells them."""

    def __init__(self, lab, rows):
        self.lab = lab
        self.programs = {}
        for name in {row.generator for row in rows}:
            program = {"s_time": "openssl"}.get(name, name)
            self.programs[name] = find(program)
            if not self.programs[name]:
                raise Failure(f"{program} is needed to make load")
        self.script = lab.path("load.lua")
        with open(self.script, "w") as file:
            file.write(SCRIPT)
        self.message = lab.path("message")
        with open(self.message, "wb") as file:
            file.write(MESSAGE)

    def run(self, server, row, seconds):
        result = {"wrk": self._wrk, "h2load": self._h2load, "s_time": self._s_time}[row.generator](server, row, seconds)
        server.alive()
        return result

    def _output(self, argvs, seconds, what):
        """Output of programs that run side by side."""
        begun = [self.lab.spawn(argv, self.lab.cores.load, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for argv in argvs]
        try:
            return [process.communicate(timeout=seconds + 20)[0].decode() for process in begun]
        except subprocess.TimeoutExpired:
            raise Failure(f"the load did not end: {what}")
        finally:
            for process in begun:
                self.lab.stop(process)

    def _wrk(self, server, row, seconds):
        url = f"{row.url_scheme}://127.0.0.1:{server.ports[row.port]}{row.path}"
        argv = [self.programs["wrk"], "-t", "1", "-c", str(row.connections), "-d", f"{seconds}s", "--timeout", "10s", "--latency",
                "-s", self.script, url, "--", row.kind, str(BODIES["64k"])]
        output, = self._output([argv], seconds, f"{server.name} {row.name}")
        for line in output.splitlines():
            if line.startswith("RESULT "):
                return json.loads(line[7:])
        raise Failure(f"wrk gave no result for {server.name} {row.name}: {output}")

    def _h2load(self, server, row, seconds):
        url = f"{row.url_scheme}://127.0.0.1:{server.ports[row.port]}{row.path}"
        argv = [self.programs["h2load"], "-D", str(seconds), "-c", str(row.connections), "-m", str(row.streams)]
        if row.kind == "grpc":
            argv += ["-d", self.message, "-H", "content-type: application/grpc", "-H", "te: trailers"]
        output, = self._output([[*argv, url]], seconds, f"{server.name} {row.name}")
        counts = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, \d+ failed, (\d+) errored", output)
        statuses = re.search(r"status codes: (\d+) 2xx", output)
        length = re.search(r"traffic: .*\((\d+)\) total", output)
        if not counts or not statuses or not length:
            raise Failure(f"h2load gave no result for {server.name} {row.name}: {output}")
        done, succeeded, errors = (int(word) for word in counts.groups())
        return {"requests": done, "bytes": int(length.group(1)), "duration": seconds * 1_000_000,
                "failed": done - min(succeeded, int(statuses.group(1))) + errors}

    def _s_time(self, server, row, seconds):
        """Handshakes one after the other, by as many programs as the row has connections. Resumed ones carry a small request, since
        a client of TLS 1.3 has its next ticket only from what comes behind the handshake."""
        argv = [self.programs["s_time"], "s_time", "-connect", f"127.0.0.1:{server.ports[row.port]}", "-time", str(seconds), "-tls1_3"]
        argv += ["-reuse", "-www", row.path] if row.path else ["-new"]
        begin = time.monotonic()
        outputs = self._output([argv] * row.connections, seconds, f"{server.name} {row.name}")
        duration = int((time.monotonic() - begin) * 1e6)
        handshakes, as_wanted = 0, 0
        for output in outputs:
            counted = re.findall(r"(\d+) connections in \d+ real seconds", output)
            if not counted:
                raise Failure(f"s_time gave no result for {server.name} {row.name}: {output[-300:]}")
            handshakes += int(counted[-1])
            # It draws a letter a handshake: r for one that took a session up, * for a full one.
            as_wanted += sum(line.count("r" if row.path else "*") for line in output.splitlines() if re.fullmatch(r"[r*]+", line))
        return {"requests": handshakes, "bytes": 0, "duration": duration, "failed": max(0, handshakes - as_wanted)}
