"""A web server before a real one that passes requests on, and spoils answers to reads of object bytes as it is told."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import urlsplit

# What an answer may be instead of the origin's own.
TRUNCATED, LONGER, DROPPED, STALLED = -1, -2, -3, -4
_STALLS_AT_MOST_S = 20


@dataclass
class Front:
    """The server: its address, what it does to the next reads, and what it was asked."""

    url: str
    faults: Iterator[int | None] = field(default_factory=lambda: iter(()))
    reads: list[int | None] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def next_fault(self) -> int | None:
        """Return a status or a fault for a read, None for the true answer."""
        with self._lock:
            fault = next(self.faults, None)
            self.reads.append(fault)
            return fault


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, origin: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.origin, self.over = origin, Event()
        self.front = Front(f"http://127.0.0.1:{self.server_port}")

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        is_read = "Range" in self.headers and self.command == "GET"
        fault = self.server.front.next_fault() if is_read else None
        if fault is not None and fault > 0:
            self._answer(fault, [("Retry-After", "1"), ("Content-Length", "0")], b"")
            return
        status, headers, body = self._true_answer()
        if fault == DROPPED:
            self.close_connection = True
            return
        if fault == LONGER:
            body += b"more"
            headers = [(n, str(len(body)) if n.lower() == "content-length" else v) for n, v in headers]
        if fault in (TRUNCATED, STALLED):
            body = body[: len(body) // 2]
            self.close_connection = True
        self._answer(status, headers, body)
        if fault == STALLED:
            self.server.over.wait(_STALLS_AT_MOST_S)

    do_HEAD = do_GET

    def _true_answer(self) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self.server.origin, timeout=20)
        upstream.request(self.command, self.path, headers=dict(self.headers))
        answer = upstream.getresponse()
        body = answer.read()
        upstream.close()
        headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in ("transfer-encoding", "connection")]
        return answer.status, headers, body

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def faulty_front(origin_url: str) -> Iterator[Front]:
    """Serve an origin's answers with faults until the block ends."""
    server = _Server(urlsplit(origin_url).netloc)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.front
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
