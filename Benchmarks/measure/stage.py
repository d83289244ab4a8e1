"""Owns the setting of a release: an example of conf/deploy beside a running proxyd, with ports and times of its own, and what is asked
of both. `releases` calls it. What deploys have started ends with it, by the pids that they wrote down."""

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time

from .lab import Failure, free_port, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(HERE, "..", "..", "conf", "deploy")

# What the examples call their ports, in the order of their configurations' servers.
PORTS = {"BLUE_PORT": 0, "GREEN_PORT": 1, **{f"PORT{number + 1}": number for number in range(6)}}


def quiet_port():
    """One that no outgoing connection is given meanwhile: what is to listen there comes only later."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class _Socket(http.client.HTTPConnection):
    """HTTP over the admin socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Stage:
    """Use with `with`. `plan` is the file of conf/deploy that proxyctl deploys by when none is named."""

    def __init__(self, lab, binaries, plan, configuration, edit=lambda text: text, environment=None):
        self.lab, self.plan = lab, plan
        self.proxyd, self.proxyctl = binaries
        self.port = free_port()
        self.ports = [quiet_port() for _ in range(6)]
        self.directory = lab.path(f"stage-{self.port}")
        self.examples = os.path.join(self.directory, "conf", "deploy")
        shutil.copytree(EXAMPLES, self.examples, ignore=shutil.ignore_patterns(".deploy", "__pycache__"))
        with open(os.path.join(self.examples, configuration)) as file:
            text = file.read()
        text = edit(text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}"))
        for number, port in enumerate(self.ports):
            text = text.replace(f"127.0.0.1:{3001 + number}", f"127.0.0.1:{port}")
        text = text.replace("/dev/stdout", "access.log").replace("error_log stderr", "error_log error.log")
        with open(os.path.join(self.directory, "proxy.conf"), "w") as file:
            file.write(text)
        self.environment = {
            **os.environ, "PROXYCTL_ADMIN": "unix:switchback.state/admin.sock", "NO_COLOR": "1",
            "PROXY": f"http://127.0.0.1:{self.port}", "SERVED": os.path.join(self.directory, "served"),
            **{name: str(self.ports[index]) for name, index in PORTS.items()}, **(environment or {})}
        self.process = None

    def __enter__(self):
        self.process = self.lab.spawn(
            [self.proxyd, "-p", self.directory + "/", "-c", os.path.join(self.directory, "proxy.conf")], self.lab.cores.proxy,
            stderr=subprocess.STDOUT, stdout=open(os.path.join(self.directory, "output"), "ab"))
        wait_until(self._is_up, 20, f"proxyd: {self.log()}")
        return self

    def __exit__(self, *_):
        for pid in self.pids().values():
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.lab.stop(self.process)

    def _is_up(self):
        if self.process.poll() is not None:
            raise Failure(f"proxyd ended by itself: {self.log()}")
        return os.path.exists(os.path.join(self.directory, "switchback.state", "admin.sock"))

    def log(self):
        text = ""
        for name in ("output", "error.log"):
            path = os.path.join(self.directory, name)
            if os.path.exists(path):
                with open(path, errors="replace") as file:
                    text += file.read()[-1000:]
        return text.strip() or "(it wrote nothing)"

    def pids(self):
        """Of what deploys have started, by the name of the pid file."""
        folder, found = os.path.join(self.examples, ".deploy", "pids"), {}
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            with open(os.path.join(folder, name)) as file:
                words = file.read().split()
            if words and words[0].isdigit() and os.path.exists(f"/proc/{words[0]}"):
                found[name.removesuffix(".pid")] = int(words[0])
        return found

    def edit(self, name, old, new):
        """Puts `new` in the place of `old` in a file of the examples."""
        path = os.path.join(self.examples, name)
        with open(path) as file:
            text = file.read()
        if old not in text:
            raise Failure(f"{name} has no {old!r}")
        with open(path, "w") as file:
            file.write(text.replace(old, new, 1))

    # Asking

    def get(self, path):
        """An answer of the admin API."""
        connection = _Socket(os.path.join(self.directory, "switchback.state", "admin.sock"))
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise Failure(f"GET {path}: {answer.status} {body[:300]!r}")
            return json.loads(body)
        finally:
            connection.close()

    def begin(self, *words, environment=None, plan=None):
        """Starts proxyctl; (process, when, the path of what it says)."""
        if words[0] == "deploy":
            words = (*words, "-f", os.path.join("conf", "deploy", plan or self.plan))
        path = os.path.join(self.directory, f"said-{time.monotonic_ns()}")
        with open(path, "wb") as file:
            process = subprocess.Popen(
                [self.proxyctl, *words], cwd=self.directory, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                env={**self.environment, **(environment or {})})
        self.lab.processes.append(process)
        return process, path

    def run(self, *words, environment=None, plan=None, timeout=60):
        """Runs proxyctl to its end: (exit status, what it said)."""
        process, path = self.begin(*words, environment=environment, plan=plan)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"proxyctl {' '.join(words)}: no end after {timeout} s") from None
        finally:
            self.lab.stop(process, signal.SIGKILL)
        with open(path, errors="replace") as file:
            return status, file.read()

    def deploy(self, commit, *words, environment=None, plan=None):
        """A version that comes into service, or the run ends here."""
        status, said = self.run("deploy", "--commit", commit, *words, environment=environment, plan=plan)
        if status != 0:
            raise Failure(f"proxyctl deploy --commit {commit}: {said}")

    # What the applications say

    def served(self, commit):
        """What a version wrote: for each request when it came, its id and the status of the answer; or when it died."""
        path = os.path.join(self.directory, "served")
        if not os.path.exists(path):
            return []
        with open(path) as file:
            lines = [line.split() for line in file]
        return [(float(when), *words) for when, version, *words in lines if version == commit]

    def receipts(self):
        """Of every change of this proxy."""
        revision = self.get("/upstreams")["revision"]
        return [self.get(f"/receipts/{number}") for number in range(2, revision + 1)]

