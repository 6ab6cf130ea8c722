"""Serves the reports of collections to a browser on this machine, and nothing else of its files.

Knows nothing of Prefect. A page at an http address may not open file:// links, so Prefect's pages could not lead to
a report without this.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

from pressrun import layout

_TYPES = {layout.REPORT: "text/html; charset=utf-8", layout.CONTACT_SHEET: "image/png"}
_HOSTS = ("127.0.0.1", "localhost")  # another name is a page elsewhere that resolves its own name to this machine


@contextmanager
def serving_reports(port: int) -> Iterator[str]:
    """Serve while the block runs.

    Parameters
    ----------
    port : int
        0 for any free port.

    Yields
    ------
    str
        The address that the path of a report file is put behind.
    """
    with ThreadingHTTPServer(("127.0.0.1", port), _Handler) as server:
        thread = Thread(target=server.serve_forever, name="reports", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        file = self._file()
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND, "Only reports and contact sheets of collections are served here.")
            return
        data = file.read_bytes()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", _TYPES[file.name])
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the addresses are of interest to nobody."""

    def _file(self) -> Path | None:
        """Return the file that is asked for, if it is one that may be served."""
        if self.headers.get("Host", "").partition(":")[0] not in _HOSTS:
            return None
        file = Path(unquote(urlsplit(self.path).path)).resolve()
        if file.name not in _TYPES or not (file.parent / layout.COLLECTION).is_file() or not file.is_file():
            return None
        return file
