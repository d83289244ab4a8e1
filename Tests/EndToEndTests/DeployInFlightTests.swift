// Owns the promises about what is in flight when a release comes: nothing of it is cut, sessions live on, and the old process is
// ended only when its last request has been. A real process serves downloads, uploads, events and tunnels, and waits for the test.

import Foundation
import TestSupport
import Testing

@Suite("deploys: in flight", .ownThread, .enabled(if: !Harness.isNginx))
struct DeployInFlightTests {
    /// Answers that began wait for the file `go`. Sessions are in a file that both versions have, as in a database.
    /// At SIGTERM it writes down how much it had in hand, and ends when that is done; with a file `stubborn` it does not end.
    private static let app = """
        import http.server, os, signal, threading, time
        VERSION, active, lock = os.environ['DEPLOY_COMMIT'], 0, threading.Condition()
        def until_told():
            while not os.path.exists('go'): time.sleep(0.005)
        class App(http.server.BaseHTTPRequestHandler):
            protocol_version, wbufsize = 'HTTP/1.1', -1
            def do_GET(self):
                global active
                with lock: active += 1
                try: self.serve()
                finally:
                    with lock:
                        active -= 1
                        lock.notify_all()
            do_POST = do_GET
            def head(self, status, **fields):
                self.send_response(status)
                for name, value in fields.items(): self.send_header(name.replace('_', '-'), str(value))
                self.end_headers()
                self.wfile.flush()
            def say(self, text, status=200, **fields):
                self.head(status, Content_Length=len(text), X_Version=VERSION, **fields)
                self.wfile.write(text.encode())
                self.wfile.flush()
            def put(self, data):
                self.wfile.write(data)
                self.wfile.flush()
            def chunk(self, text): self.put(b'%x\\r\\n%s\\r\\n' % (len(text), text.encode()))
            def serve(self):
                if self.path == '/download':
                    self.head(200, Content_Length=2000000)
                    self.put(VERSION[:1].encode() * 1000000)
                    until_told()
                    self.put(VERSION[1:2].encode() * 1000000)
                elif self.path == '/upload':
                    body = self.rfile.read(int(self.headers['Content-Length']))
                    self.say('%s %d' % (VERSION, body.count(b'u')))
                elif self.path == '/events':
                    self.head(200, Content_Type='text/event-stream', Transfer_Encoding='chunked')
                    self.chunk('data: first\\n\\n')
                    until_told()
                    self.chunk('data: last\\n\\n')
                    self.put(b'0\\r\\n\\r\\n')
                elif self.path == '/tunnel':
                    self.head(101, Connection='Upgrade', Upgrade='chat')
                    self.close_connection = True
                    while True:
                        data = self.connection.recv(100)
                        if not data: return
                        self.connection.sendall(data)
                elif self.path.startswith('/login/'):
                    with open('sessions', 'a') as file: file.write(self.path[7:] + '\\n')
                    self.say('', Set_Cookie='session=' + self.path[7:])
                elif self.path == '/me':
                    name = self.headers.get('Cookie', '').partition('session=')[2]
                    known = open('sessions').read().split() if os.path.exists('sessions') else []
                    self.say(VERSION + ' knows ' + name, 200) if name in known else self.say('who?', 401)
                else: self.say(VERSION + '\\n')
            def log_message(self, *words): pass
        class Server(http.server.ThreadingHTTPServer):
            request_queue_size, daemon_threads = 512, True
        def end(*_):
            with open('ended-' + VERSION, 'w') as file: file.write(str(active))
            if os.path.exists('stubborn'): return
            def finish():
                with lock: lock.wait_for(lambda: active == 0)
                os._exit(0)
            threading.Thread(target=finish).start()
        signal.signal(signal.SIGTERM, end)
        Server(('127.0.0.1', int(os.environ['PORT'])), App).serve_forever(poll_interval=0.05)

        """

    private func stage() throws -> DeployStage {
        let tunnel = "location /tunnel { proxy_pass http://service; proxy_http_version 1.1; "
            + "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } location / {"
        let stage = try DeployStage("two-ports", editing: [("location / {", tunnel)])
        try stage.write("stream.py", Self.app)
        try stage.write(
            "build.sh", "#!/bin/sh\nmkdir -p \"$DEPLOY_DIRECTORY\" && cp stream.py \"$DEPLOY_DIRECTORY/app.py\"\n")
        return stage
    }

    @Test func nothingIsCutAndSessionsLiveOn() throws {
        let stage = try stage()
        try stage.deploy("v1", ["--to", "green"])
        #expect(try stage.proxy.get("/login/ann")["Set-Cookie"] == "session=ann")
        let (download, upload, events, tunnel) = (
            try stage.proxy.client(), try stage.proxy.client(), try stage.proxy.client(), try stage.proxy.client()
        )
        try download.send(RawClient.text("GET", "/download"))
        #expect(try download.stream.readHead().word(1) == "200")
        #expect(try download.stream.read(exactly: 100_000) == [UInt8](repeating: UInt8(ascii: "v"), count: 100_000))
        try upload.send(RawClient.text("POST", "/upload", ["Content-Length: 200000"]) + String(repeating: "u", count: 100_000))
        try events.send(RawClient.text("GET", "/events"))
        _ = try events.stream.readHead()
        let first = "d\r\ndata: first\n\n\r\n"
        #expect(String(decoding: try events.stream.read(exactly: first.utf8.count), as: UTF8.self) == first)
        #expect(try tunnel.upgrade("/tunnel").word(1) == "101")
        #expect(try tunnel.echo("before") == "before")
        try stage.underLoad {
            let running = try stage.start(["deploy", "--commit", "v2"], ["BAKE": "500ms", "DRAIN": "20s"])
            try Harness.wait(for: "the switch: \(running.output)") { try stage.served() == "v2\n" }
            // On the other side of it, everything goes on where it was.
            #expect(try tunnel.echo("after") == "after")
            tunnel.close()
            try upload.send(String(repeating: "u", count: 100_000))
            #expect(try upload.response().text.hasSuffix(" 200000"))
            #expect(try stage.proxy.get("/me", ["Cookie: session=ann"]).text == "v2 knows ann")
            try stage.write("go", "")
            let rest = [UInt8](repeating: UInt8(ascii: "v"), count: 900_000) + [UInt8](repeating: UInt8(ascii: "1"), count: 1_000_000)
            #expect(try download.stream.read(exactly: 1_900_000) == rest)
            let last = "c\r\ndata: last\n\n\r\n0\r\n\r\n"
            #expect(String(decoding: try events.stream.read(exactly: last.utf8.count), as: UTF8.self) == last)
            let result = try running.result(withinMs: 60_000)
            #expect(result.status == 0, "\(result.all)")
        }
        let receipts = try Admin(stage.proxy, folder: "switchback.state")
        for revision in 2...(try stage.revision()) {
            let receipt = try receipts.get("/receipts/\(revision)")
            #expect(receipt["balances"].bool == true && receipt["after"]["failed_by_proxy"].int == 0, "\(receipt)")
        }
    }

    /// No more requests, then the last answer, then SIGTERM; SIGKILL for one that does not go.
    @Test func theOldOneIsEndedAfterItsLastRequest() throws {
        let stage = try stage()
        let plan = stage.read("two-ports.yaml")
        try stage.write("two-ports.yaml", plan.replacing("old: keep", with: "old: stop").replacing("grace: 30s", with: "grace: 300ms"))
        try stage.deploy("v1", ["--to", "green"])
        let download = try stage.proxy.client()
        try download.send(RawClient.text("GET", "/download"))
        _ = try download.stream.readHead()
        #expect(try download.stream.read(exactly: 1000).count == 1000)
        try stage.underLoad {
            let running = try stage.start(["deploy", "--commit", "v2"], ["BAKE": "0s", "DRAIN": "20s"])
            try Harness.wait(for: "the drain: \(running.output)") { running.output.contains("watch app") }
            let admin = try Admin(stage.proxy, folder: "switchback.state")
            try Harness.wait(for: "green to drain") {
                try admin.get("/upstreams/green")["servers"][0]["drain"].bool == true
            }
            #expect(running.isRunning && stage.processes["app-green"] != nil)
            #expect(stage.read("ended-v1") == "", "no signal while an answer is on its way")
            try stage.write("go", "")
            #expect(try download.stream.read(exactly: 1_999_000).count == 1_999_000)
            #expect(try running.result(withinMs: 60_000).status == 0)
            #expect(stage.read("ended-v1") == "0")
            #expect(Set(stage.processes.keys) == ["app-blue"])
            try stage.write("stubborn", "")
            try stage.deploy("v3", environment: ["BAKE": "0s"])
            #expect(stage.read("ended-v2") == "0", "it was asked first")
            #expect(Set(stage.processes.keys) == ["app-green"])
        }
    }

    /// Which environment serves, the health of both, and their shares of the traffic, before and after going back.
    @Test func theStatusTellsOfBothEnvironments() throws {
        let stage = try DeployStage("two-ports")
        try stage.deploy("v1", ["--to", "green"])
        try stage.deploy("v2")
        var status = try stage.run("deploy", "status").output
        #expect(status.contains("blue 100.0 %") && status.contains("green 0.0 %"), "\(status)")
        let servers = try Proxyctl(stage.proxy, ["status"], admin: DeployStage.socket).result().output
        for name in ["blue", "green"] { #expect(servers.contains(name), "\(servers)") }
        #expect(try stage.run("deploy", "rollback").status == 0)
        status = try stage.run("deploy", "status").output
        #expect(status.contains("green 100.0 %"), "\(status)")
    }
}
