"""Owns the systems that `switch` compares: their configurations, how they are started and how each is told to switch.
Everything is one worker on loopback, behind it the pools blue and green, which the measuring program itself serves."""

import json
import os
import subprocess

from . import servers
from .lab import Failure, free_port

# The same for nginx and proxyd; `choice` says what `app` is.
PROXY = """
worker_processes 1;
error_log {directory}/error.log warn;
pid {directory}/proxy.pid;
{main}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    {temp_paths}
    {choice}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
        }}
        location /tunnel/ {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}
    }}
}}
"""

POOL = "upstream {name} {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 1000000000; keepalive_timeout 600s; }}"

HAPROXY = """
global
    nbthread 1
    maxconn 4096
    stats socket {directory}/admin.sock mode 600 level admin
    stats timeout 600s
defaults
    mode http
    timeout connect 10s
    timeout client 600s
    timeout server 600s
    timeout tunnel 600s
    timeout http-keep-alive 600s
frontend clients
    bind 127.0.0.1:{port}
    default_backend app
backend app
    balance roundrobin
    http-reuse always
    server blue 127.0.0.1:{blue} weight 100
    server green 127.0.0.1:{green} weight 100
"""


class System(servers.Server):
    """One server under test: `kind` is what SwitchLatency calls the way it switches."""

    kind = "reload"
    # A reload leaves an old worker behind that has work to finish; these would pile up at the pace of commands.
    gaps_us = (100_000, 150_000)
    is_ours = False

    def __init__(self, lab, name, binary):
        super().__init__(lab, name, os.path.abspath(binary), lab.cores.proxy)
        self.blue, self.green = free_port(), free_port()
        self.socket = ""
        self.configuration = ""

    def switches(self, options):
        return options.reloads

    def arguments(self, options):
        """What SwitchLatency is told, but for the load."""
        words = ["--system", self.kind, "--pid", str(self.pid), "--proxy", str(self.port), "--blue", str(self.blue),
                 "--green", str(self.green), "--switches", str(self.switches(options)),
                 "--gap-min", str(self.gaps_us[0]), "--gap-max", str(self.gaps_us[1])]
        if self.socket:
            words += ["--socket", self.socket]
        if self.configuration:
            words += ["--configuration", self.configuration]
        return words


class Reloaded(System):
    """nginx, or proxyd used as nginx is: a new file and SIGHUP. Nothing says when it is done."""

    def __init__(self, lab, name, binary):
        super().__init__(lab, name, binary)
        nginx = servers.is_nginx(self.binary)
        temp_paths = servers.TEMP_PATHS.format(directory=self.directory) if nginx else ""
        for pool, port in (("blue", self.blue), ("green", self.green)):
            self.write("proxy.conf." + pool, PROXY.format(
                directory=self.directory, port=self.port, main="", temp_paths=temp_paths,
                choice=POOL.format(name="app", port=port)))
        with open(os.path.join(self.directory, "proxy.conf.blue")) as file:
            self.configuration = self.write("proxy.conf", file.read())
        self.argv = [self.binary, "-p", self.directory + "/", "-c", self.configuration]
        if nginx:
            self.argv += ["-g", "daemon off;"]


class Commanded(System):
    """proxyd with a split, told through its admin socket, with or without a journal."""

    kind = "proxyd"
    gaps_us = (1000, 5000)
    is_ours = True

    def __init__(self, lab, name, binary, journal):
        super().__init__(lab, name, binary)
        state = os.path.join(self.directory, "state")
        choice = "\n    ".join([
            POOL.format(name="blue", port=self.blue), POOL.format(name="green", port=self.green),
            "split app { blue 100; green 0; }"])
        path = self.write("proxy.conf", PROXY.format(
            directory=self.directory, port=self.port, main=f"state {state};" if journal else "", temp_paths="", choice=choice))
        self.socket = os.path.join(state if journal else self.directory, "admin.sock")
        self.argv = [self.binary, "-p", self.directory + "/", "-c", path]

    def switches(self, options):
        return options.switches

    def knows_splits(self):
        """Whether this proxyd can do it, and if not, in what words it says so."""
        test = subprocess.run([*self.argv, "-t"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
        return test.returncode == 0, (test.stdout + test.stderr).strip()

    def arguments(self, options):
        return super().arguments(options) + ["--growth", str(options.growth), "--servers", str(options.servers),
                                             "--puts", str(options.puts)]


class Haproxy(System):
    """haproxy, told through its stats socket."""

    kind = "haproxy"
    gaps_us = (1000, 5000)

    def __init__(self, lab, name, binary):
        super().__init__(lab, name, binary)
        self.socket = os.path.join(self.directory, "admin.sock")
        text = HAPROXY.format(directory=self.directory, port=self.port, blue=self.blue, green=self.green)
        self.argv = [binary, "-db", "-q", "-f", self.write("haproxy.conf", text)]

    def switches(self, options):
        return options.switches


def systems(lab, proxyd):
    """Factories in order of the report: name -> a new, not yet started system."""
    found = {
        "proxyd": lambda: Commanded(lab, "proxyd", proxyd, journal=False),
        "proxyd-journal": lambda: Commanded(lab, "proxyd-journal", proxyd, journal=True),
        "proxyd-reload": lambda: Reloaded(lab, "proxyd-reload", proxyd),
    }
    if nginx := servers.find("nginx"):
        found["nginx"] = lambda: Reloaded(lab, "nginx", nginx)
    if haproxy := servers.find("haproxy"):
        found["haproxy"] = lambda: Haproxy(lab, "haproxy", haproxy)
    return found


def measure(lab, system, binary, options, timeout):
    """Starts a system, has SwitchLatency switch it to and fro, ends it, and returns what that printed."""
    system.spawn()
    printed, complaints = lab.path(f"{system.name}.json"), lab.path(f"{system.name}.err")
    words = [binary, *system.arguments(options), "--connections", str(options.connections), "--pause", str(options.pause),
             "--slow", str(options.slow), "--tunnels", str(options.tunnels), "--seed", str(options.seed)]
    try:
        with open(printed, "wb") as out, open(complaints, "wb") as err:
            process = lab.spawn(words, lab.cores.load, stdout=out, stderr=err)
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise Failure(f"{system.name}: no end after {timeout} s") from None
            finally:
                lab.stop(process)
        with open(complaints, errors="replace") as file:
            said = file.read().strip()
        if status != 0:
            raise Failure(f"{system.name}: {said or f'status {status}'}; the server said: {system.output()}")
        system.alive()
        with open(printed) as file:
            return json.load(file)
    finally:
        system.stop()
