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
CALL_PATH = "/bench.Echo/Call"
HANDSHAKE_PATH = "/handshake"

# A message of gRPC: not compressed, its length, its bytes. The upstream answers each call with the same one.
MESSAGE = b"\0" + (100).to_bytes(4, "big") + b"m" * 100

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
    server {{
        listen 127.0.0.1:{call_port} http2 backlog=4096;
        root {directory}/bodies;
        default_type application/grpc;
        add_trailer grpc-status 0 always;
        location = {call} {{ error_page 405 =200 /message; }}
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
    {secure}
    server {{
        listen 127.0.0.1:{port};
        {secure_server}
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

# The same certificate, one version, one cipher and one group for everyone: what differs is what is done around libssl.
SECURE = """
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    ssl_ecdh_curve X25519;
    ssl_session_cache shared:sessions:10m;
    upstream calls {{
        server 127.0.0.1:{call_upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
"""
SECURE_SERVER = """
        listen 127.0.0.1:{https} ssl http2 backlog=4096;
        listen 127.0.0.1:{h2c} http2 backlog=4096;
        location = {handshake} {{ return 204; }}
        location = {call} {{ grpc_pass grpc://calls; }}
"""

HAPROXY = """
global
    nbthread 1
    maxconn 8192
    tune.bufsize 16384
    log stdout format raw daemon
    {secure}
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
    {secure_frontend}
    default_backend static
backend static
    http-reuse always
    server one 127.0.0.1:{upstream}
"""

HAPROXY_SECURE = """
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
"""
HAPROXY_SECURE_FRONTEND = """
    bind 127.0.0.1:{https} ssl crt {both} alpn h2,http/1.1 curves X25519
    bind 127.0.0.1:{h2c} proto h2
    http-request return status 204 if {{ path {handshake} }}
    use_backend calls if {{ path {call} }}
"""
HAPROXY_CALLS = """
backend calls
    http-reuse always
    server one 127.0.0.1:{call_upstream} proto h2
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
        # By scheme. What is not secure has only the first.
        self.ports = {"http": self.port}
        self.process = None
        self.dropped = []
        self.log = None

    def secure(self, secrets):
        """What a template needs to speak TLS and HTTP/2; without secrets, nothing."""
        if not secrets:
            return {}
        self.ports |= {"https": free_port(), "h2c": free_port()}
        return {"certificate": secrets.certificate, "key": secrets.key, "both": secrets.both, "https": self.ports["https"],
                "h2c": self.ports["h2c"], "call_upstream": secrets.call_upstream, "call": CALL_PATH, "handshake": HANDSHAKE_PATH}

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

    def __init__(self, lab, name, binary, core, upstream_port, buffers=BUFFERS, secrets=None):
        super().__init__(lab, name, os.path.abspath(binary), core)
        nginx = is_nginx(self.binary)
        secure = self.secure(secrets)
        self.text = PROXY.format(directory=self.directory, port=self.port, upstream=upstream_port, buffers=buffers,
                                 temp_paths=TEMP_PATHS.format(directory=self.directory) if nginx else "",
                                 secure=SECURE.format(**secure) if secure else "",
                                 secure_server=SECURE_SERVER.format(**secure) if secure else "")
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
    def __init__(self, lab, name, binary, core, upstream_port, secrets=None):
        super().__init__(lab, name, binary, core)
        secure = self.secure(secrets)
        text = HAPROXY.format(port=self.port, upstream=upstream_port, secure=HAPROXY_SECURE if secure else "",
                              secure_frontend=HAPROXY_SECURE_FRONTEND.format(**secure) if secure else "")
        if secure:
            text += HAPROXY_CALLS.format(**secure)
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
        for name in ("message", CALL_PATH[1:]):
            os.makedirs(os.path.dirname(os.path.join(bodies, name)), exist_ok=True)
            with open(os.path.join(bodies, name), "wb") as file:
                file.write(MESSAGE)
        self.call_port = free_port()
        path = self.write("upstream.conf", UPSTREAM.format(
            directory=self.directory, port=self.port, call_port=self.call_port, call=CALL_PATH, small="x" * BODIES["small"],
            temp_paths=TEMP_PATHS.format(directory=self.directory)))
        self.argv = [binary, "-p", self.directory + "/", "-c", path, "-g", "daemon off; master_process off;"]


class Secrets:
    """A certificate of its own making (P-256) for everybody under test, and the upstream that calls go to."""

    def __init__(self, lab, call_upstream):
        openssl = find("openssl")
        if not openssl:
            raise Failure("openssl is needed to make a certificate")
        self.call_upstream = call_upstream
        self.certificate, self.key, self.both = (lab.path(name) for name in ("cert.pem", "key.pem", "both.pem"))
        subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=bench.local", "-keyout", self.key, "-out", self.certificate],
                       check=True, capture_output=True, stdin=subprocess.DEVNULL)
        with open(self.both, "w") as both:
            for path in (self.certificate, self.key):
                with open(path) as file:
                    both.write(file.read())


def find(name):
    """The path of an installed program, looked for where daemons live too."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def proxies(lab, upstream_port, proxyd, secrets=None):
    """Factories of the servers under test, in order of the report: name -> a new, not yet started server.
    With secrets they speak TLS and HTTP/2 too."""
    core, found = lab.cores.proxy, {}
    if proxyd:
        found["proxyd"] = lambda: NginxLike(lab, "proxyd", proxyd, core, upstream_port, secrets=secrets)
    if nginx := find("nginx"):
        found["nginx"] = lambda: NginxLike(lab, "nginx", nginx, core, upstream_port, secrets=secrets)
        # With its own 4 KiB buffers, which most people run, nginx pays over twice as much for a large body.
        found[SHIPPED] = lambda: NginxLike(lab, SHIPPED, nginx, core, upstream_port, buffers="")
    if haproxy := find("haproxy"):
        found["haproxy"] = lambda: Haproxy(lab, "haproxy", haproxy, core, upstream_port, secrets)
    return found


def version(name, proxyd):
    """One line that says what was measured."""
    path = proxyd if name == "proxyd" else find(name.split("-")[0])
    answer = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    lines = (answer.stdout + answer.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"
