#!/usr/bin/env python3
"""A service small enough to read: it says its version, and how it is. What the examples of this folder deploy.

PORT and VERSION (or DEPLOY_COMMIT) come from the environment. DATABASE names a file of SQLite; the service is well when it has the
columns of NEEDS. SERVED names a file that gets a line for each request: when it came, the version, the request's id, the status of the answer.

For trying out what a deploy does with a bad release (BREAKS_VERSION says which), BREAKS is one of these, with a number or without:
start (ends at once), health (is never well), starts-slowly:10 (is not well the first times), dies (when it is asked for its health), dies-in-service:20 (after so many requests),
dies-later:60 (so many seconds after its first request, with whatever it has in hand), errors:1 (share of requests that get a 500),
slow:300 (ms that each answer takes longer), answers (another price).
"""
import http.server, os, signal, sqlite3, sys, threading, time

PORT = int(os.environ["PORT"])
VERSION = os.environ.get("VERSION") or os.environ.get("DEPLOY_COMMIT") or "unknown"
BREAKS = os.environ.get("BREAKS", "") if os.environ.get("BREAKS_VERSION", VERSION) == VERSION else ""
BREAKS, _, NUMBER = BREAKS.partition(":")
NUMBER = float(NUMBER or {"starts-slowly": 10, "dies-in-service": 20, "dies-later": 60, "errors": 1, "slow": 300}.get(BREAKS, 0))
SERVED = os.open(os.environ["SERVED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if os.environ.get("SERVED") else None
active = asked = served = 0
lock = threading.Condition()


def is_well():
    global asked
    asked += 1
    if BREAKS == "health":
        return False
    if BREAKS == "starts-slowly" and asked <= NUMBER:
        return False
    path, needs = os.environ.get("DATABASE"), os.environ.get("NEEDS", "")
    if not path or not needs:
        return True
    with sqlite3.connect("file:%s?mode=ro" % path, uri=True) as database:
        columns = [row[1] for row in database.execute("pragma table_info(users)")]
    return all(name in columns for name in needs.split())


def note(*words):
    if SERVED is not None:
        os.write(SERVED, (" ".join(map(str, (time.time(), VERSION, *words))) + "\n").encode())


def die():
    note("died")
    os._exit(9)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "app"
    wbufsize = -1

    def do_GET(self):
        global active, served
        is_user = self.path not in ("/health", "/version")
        with lock:
            active += 1
            served += is_user
            number = served
        try:
            status, text = 200, VERSION + "\n"
            if self.path == "/health":
                if BREAKS == "dies":
                    die()
                status, text = (200, "well\n") if is_well() else (503, "not well\n")
            elif BREAKS == "errors" and int(number * NUMBER) > int((number - 1) * NUMBER):
                status, text = 500, "broken\n"
            elif self.path == "/price":
                text = "43\n" if BREAKS == "answers" else "42\n"
            elif self.path.startswith("/slow"):
                time.sleep(0.2)
            if BREAKS == "slow" and is_user:
                time.sleep(NUMBER / 1000)
            if BREAKS == "dies-later" and number == 1 and is_user:
                threading.Timer(NUMBER, die).start()
            if is_user:
                note(self.headers.get("X-Request-Id", "-"), status)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Version", VERSION)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
        finally:
            with lock:
                active -= 1
                lock.notify_all()
                if BREAKS == "dies-in-service" and served > NUMBER and active == 0:
                    die()

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


def end(*_):
    """Finish what is in hand, then go: in a thread, since the server may be in the middle of accepting."""

    def finish():
        server.shutdown()
        with lock:
            lock.wait_for(lambda: active == 0, timeout=30)
        os._exit(0)

    threading.Thread(target=finish).start()


if BREAKS == "start":
    sys.exit("this release cannot start")
server = Server(("127.0.0.1", PORT), Handler)
signal.signal(signal.SIGTERM, end)
print("version", VERSION, "on port", PORT, flush=True)
server.serve_forever(poll_interval=0.05)
