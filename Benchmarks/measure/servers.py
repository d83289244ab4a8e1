"""Owns the configurations of the servers under test and of the upstream behind them, and starts them.
compare and budget call it. All proxies get the same job: see `Benchmarks/README.md` for what "the same" means."""

import os
import re
import shutil
import subprocess

from . import http
from .lab import Failure, free_port, wait_until

SHIPPED = "nginx-shipped"
BODIES = {"small": 200, "10k": 10 << 10, "64k": 64 << 10, "1m": 1 << 20}

UPSTREAM = """
worker_processes 1;
error_log {directory}/error.log warn;
pid {directory}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    open_file_cache max=64 inactive=600s;
    open_file_cache_valid 600s;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_body_buffer_size 128k;
    client_max_body_size 8m;
    {temp_paths}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {directory}/bodies;
        location = /small {{ return 200 "{small}"; }}
        # The mirror makes nginx read the whole body before it answers, which `return` alone would not wait for; a file
        # takes no POST, hence the 405 turned into the answer.
        location = /upload {{ mirror /void; error_page 405 =200 /done; }}
        location = /void {{ internal; return 204; }}
    }}
}}
"""

# Bodies stay in memory and flow through; a temporary file would measure the disk.
PROXY = """
worker_processes 1;
error_log {directory}/error.log warn;
pid {directory}/proxy.pid;
events {{ worker_connections 8192; }}
http {{
    access_log {directory}/access.log combined;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    {temp_paths}
    upstream static {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://static;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            {buffers}
            proxy_max_temp_file_size 0;
            proxy_request_buffering off;
        }}
    }}
}}
"""

HAPROXY = """
global
    nbthread 1
    maxconn 8192
    tune.bufsize 16384
    log stdout format raw daemon
defaults
    mode http
    log global
    option httplog
    option forwardfor
    timeout connect 10s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
frontend clients
    bind 127.0.0.1:{port}
    default_backend static
backend static
    http-reuse always
    server one 127.0.0.1:{upstream}
"""

# A proxyd that does not know one of these yet may run without it; the report then says so.
OPTIONAL = {"proxy_buffer_size", "proxy_buffers", "proxy_max_temp_file_size", "proxy_request_buffering",
            "keepalive_requests", "pid"}

BUFFERS = "proxy_buffer_size 16k; proxy_buffers 8 16k;"

TEMP_PATHS = "".join(f"{kind}_temp_path {{directory}}/{kind}; "
                     for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def is_nginx(path):
    """Whether a binary is nginx itself, which needs telling to stay in front as one process."""
    answer = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    return "nginx version: nginx" in answer.stderr


class Server:
    """One server: its command line, its port and, while it runs, its process."""

    def __init__(self, lab, name, binary, core):
        self.lab, self.name, self.binary, self.core = lab, name, binary, core
        self.directory = lab.path(f"{name}-{free_port()}")
        os.makedirs(self.directory)
        self.port = free_port()
        self.process = None
        self.dropped = []
        self.log = None

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def spawn(self, prefix=(), env=None):
        """Starts the process, behind `prefix` (a tracer) if given, and does not wait for it."""
        output = open(os.path.join(self.directory, "output"), "ab")
        log = open(self.log, "ab") if self.log else output
        with output, log:
            self.process = self.lab.spawn([*prefix, *self.argv], self.core, stdout=log, stderr=output, env=env)
        return self

    def start(self, prefix=(), env=None, path="/small", timeout=20):
        """Starts the process and waits until it answers a request for `path`."""
        self.spawn(prefix, env)
        wait_until(lambda: self.alive() and http.answers(self.port, path), timeout, f"{self.name}: {self.output()}")
        return self

    def alive(self):
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended by itself: {self.output()}")
        return True

    def output(self):
        text = ""
        for name in ("output", "error.log"):
            path = os.path.join(self.directory, name)
            if os.path.exists(path):
                with open(path, errors="replace") as file:
                    text += file.read()[-1000:]
        return text.strip() or "(it wrote nothing)"

    def stop(self, pid=None):
        self.lab.stop(self.process, pid=pid)

    def empty_logs(self):
        """Keeps a long run from filling the disk; every server appends, so a cut file grows from zero."""
        for name in ("access.log", "output"):
            path = os.path.join(self.directory, name)
            if os.path.exists(path):
                os.truncate(path, 0)

    @property
    def pid(self):
        return self.process.pid


class NginxLike(Server):
    """proxyd, or nginx itself: the same configuration file and the same flags."""

    def __init__(self, lab, name, binary, core, upstream_port, buffers=BUFFERS):
        super().__init__(lab, name, os.path.abspath(binary), core)
        nginx = is_nginx(self.binary)
        self.text = PROXY.format(directory=self.directory, port=self.port, upstream=upstream_port, buffers=buffers,
                                 temp_paths=TEMP_PATHS.format(directory=self.directory) if nginx else "")
        path = self.write("proxy.conf", self.text)
        self.argv = [self.binary, "-p", self.directory + "/", "-c", path]
        if nginx:
            self.argv += ["-g", "daemon off; master_process off;"]
        else:
            self._drop_unknown_directives(path)

    def _drop_unknown_directives(self, path):
        for _ in OPTIONAL:
            test = subprocess.run([*self.argv, "-t"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
            unknown = re.search(r'unknown directive "(\w+)"', test.stderr + test.stdout)
            if test.returncode == 0 or not unknown:
                return
            name = unknown.group(1)
            if name not in OPTIONAL or name in self.dropped:
                raise Failure(f"{self.name} refuses its configuration: {unknown.group(0)}")
            self.dropped.append(name)
            self.text = re.sub(rf"(?<![\w]){name} [^;]*;", "", self.text)
            self.write("proxy.conf", self.text)


class Haproxy(Server):
    def __init__(self, lab, name, binary, core, upstream_port):
        super().__init__(lab, name, binary, core)
        text = HAPROXY.format(port=self.port, upstream=upstream_port)
        self.argv = [binary, "-db", "-q", "-f", self.write("haproxy.conf", text)]
        # It has no access log of its own but standard output, which is a file here as for the others.
        self.log = os.path.join(self.directory, "access.log")


class Upstream(Server):
    """nginx with fixed answers: a body of each size, and one that reads an upload."""

    def __init__(self, lab):
        binary = find("nginx")
        if not binary:
            raise Failure("nginx is needed as the upstream behind the servers under test")
        super().__init__(lab, "upstream", binary, lab.cores.upstream)
        bodies = os.path.join(self.directory, "bodies")
        os.makedirs(bodies)
        for name, size in {**BODIES, "upload": 2, "done": 2}.items():
            with open(os.path.join(bodies, name), "w") as file:
                file.write(("0123456789abcde\n" * (size // 16 + 1))[:size])
        path = self.write("upstream.conf", UPSTREAM.format(
            directory=self.directory, port=self.port, small="x" * BODIES["small"],
            temp_paths=TEMP_PATHS.format(directory=self.directory)))
        self.argv = [binary, "-p", self.directory + "/", "-c", path, "-g", "daemon off; master_process off;"]


def find(name):
    """The path of an installed program, looked for where daemons live too."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def proxies(lab, upstream_port, proxyd):
    """Factories of the servers under test, in order of the report: name -> a new, not yet started server."""
    core, found = lab.cores.proxy, {}
    if proxyd:
        found["proxyd"] = lambda: NginxLike(lab, "proxyd", proxyd, core, upstream_port)
    if nginx := find("nginx"):
        found["nginx"] = lambda: NginxLike(lab, "nginx", nginx, core, upstream_port)
        # With its own 4 KiB buffers, which most people run, nginx pays over twice as much for a large body.
        found[SHIPPED] = lambda: NginxLike(lab, SHIPPED, nginx, core, upstream_port, buffers="")
    if haproxy := find("haproxy"):
        found["haproxy"] = lambda: Haproxy(lab, "haproxy", haproxy, core, upstream_port)
    return found


def version(name, proxyd):
    """One line that says what was measured."""
    path = proxyd if name == "proxyd" else find(name.split("-")[0])
    answer = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    lines = (answer.stdout + answer.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"
