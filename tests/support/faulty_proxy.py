"""A proxy in front of a real Elasticsearch server that does to requests what networks and busy servers do."""

import http.client
import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = {  # name -> what is done instead of forwarding a request and its answer
    "429": lambda handler: handler.refuse(429, "es_rejected_execution_exception"),
    "503": lambda handler: handler.refuse(503, "master_not_discovered_exception"),
    "no JSON": lambda handler: handler.answer(502, b"<html>Bad Gateway</html>", "text/html"),
    "dropped before": lambda handler: handler.drop(),
    "dropped after": lambda handler: (handler.forward(), handler.drop()),
    "cut": lambda handler: handler.cut(*handler.forward()),
    "late": lambda handler: handler.answer_late(*handler.forward()),
    "items": lambda handler: handler.refuse_items(),
}


class Proxy:
    """Forwards to the server at `upstream`. fault: of FAULTS, done where `when(number)` of the request says so.

    url: of the proxy. limit: the most bytes of a request. done: how often the fault was.
    """

    def __init__(self, upstream, fault=None, when=lambda number: True, limit=1 << 30):
        self.upstream, self.limit, self.done, self._number = urlsplit(upstream), limit, 0, 0
        self.fault, self._when, self._lock = fault, when, threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def next_fault(self, path):
        """The fault for the next request, if it gets one."""
        with self._lock:
            if path == "/" or not self.fault or self.fault == "items" and "/_bulk" not in path:
                return None
            self._number += 1
            if not self._when(self._number):
                return None
            self.done += 1
            return self.fault


def _handler(proxy):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle_any(self):
            self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = proxy.next_fault(self.path)
            if len(self.body) > proxy.limit:
                self.answer(413, b"")
            elif fault:
                FAULTS[fault](self)
            else:
                self.answer(*self.forward())

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any

        def forward(self, body=None):
            """The server's own answer to this request: its status and body."""
            server = http.client.HTTPConnection(proxy.upstream.netloc, timeout=60)
            kept = {name: value for name, value in self.headers.items() if name not in ("Host", "Content-Length")}
            server.request(self.command, self.path, self.body if body is None else body, kept)
            answer = server.getresponse()
            data = answer.read()
            server.close()
            return answer.status, data

        def answer(self, status, data, kind="application/vnd.elasticsearch+json;compatible-with=8"):
            self.send_response(status)
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def refuse(self, status, kind):
            error = {"type": kind, "reason": "injected"}
            self.answer(status, json.dumps({"error": error, "status": status}).encode())

        def drop(self):
            self.close_connection = True

        def cut(self, status, data):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True

        def answer_late(self, status, data):
            time.sleep(0.6)
            self.close_connection = True
            with suppress(OSError):  # the client has gone
                self.answer(status, data)

        def refuse_items(self):
            """Of a bulk request every other document gets to the server; the rest it is too busy for."""
            lines = self.body.splitlines(keepends=True)
            pairs = [b"".join(lines[at : at + 2]) for at in range(0, len(lines), 2)]
            taken = json.loads(self.forward(b"".join(pairs[::2]))[1])
            items = []
            for number, pair in enumerate(pairs):
                error = {"type": "es_rejected_execution_exception", "reason": "injected"}
                id = json.loads(pair.splitlines()[0])["create"]["_id"]
                refused = {"create": {"_id": id, "status": 429, "error": error}}
                items.append(refused if number % 2 else taken["items"][number // 2])
            self.answer(200, json.dumps(taken | {"errors": True, "items": items}).encode())

    return Handler
