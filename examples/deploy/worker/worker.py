#!/usr/bin/env python3
"""The worker of the deployment examples: any HTTP server can stand here.

GET /healthz says 200; everything else is a command, which takes `?ms=` milliseconds. On SIGTERM it takes no new
connection, finishes the commands that it has, and ends with 0. That is all that Fourmi asks of a worker.
"""

import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

in_hand = 0
changed = threading.Condition()


def count(by):
    global in_hand
    with changed:
        in_hand += by
        changed.notify_all()


class Command(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        count(+1)
        try:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            time.sleep(int(parse_qs(url.query).get("ms", ["0"])[0]) / 1000)
            body = f"done {url.path} {self.headers.get('Fourmi-Id', '-')}\n".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        finally:
            count(-1)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass  # Fourmi logs every command.


class Server(ThreadingHTTPServer):
    # A connection that is kept without a command must not keep the process.
    daemon_threads = True
    request_queue_size = 128


def stop(*_):
    # In another thread: `shutdown` waits for the loop that this handler interrupts.
    threading.Thread(target=server.shutdown).start()


# Loopback only: nobody goes past the sidecar.
server = Server(("127.0.0.1", int(os.environ.get("WORKER_PORT", "8080"))), Command)
signal.signal(signal.SIGTERM, stop)
server.serve_forever(poll_interval=0.1)
server.socket.close()
with changed:
    changed.wait_for(lambda: in_hand == 0, timeout=20)
