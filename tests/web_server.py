"""A web server as nginx is one: listings of folders, ranges, and ETags made of time and size."""

from __future__ import annotations

import http.server
import io
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, sizes: bool, ranges: bool, **options: Any) -> None:
        self._sizes, self._ranges = sizes, ranges
        super().__init__(*args, **options)

    def log_message(self, *args: Any) -> None:
        pass

    def send_head(self) -> Any:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return super().send_head()
        state, asked = path.stat(), self._ranges and self.headers.get("Range")
        start, stop = _range(asked, state.st_size)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{state.st_size}")
        if self._sizes:
            self.send_header("Content-Length", str(stop - start))
        self.send_header("Last-Modified", self.date_time_string(state.st_mtime))
        self.send_header("ETag", f'"{int(state.st_mtime):x}-{state.st_size:x}"')
        self.end_headers()
        return io.BytesIO(path.read_bytes()[start:stop])

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:  # type: ignore[override]
        try:
            shutil.copyfileobj(source, outputfile)
        except ConnectionError:  # a client that looks at headers alone
            return


def _range(asked: str | bool | None, size_bytes: int) -> tuple[int, int]:
    if not isinstance(asked, str):
        return 0, size_bytes
    first, _, last = asked.removeprefix("bytes=").partition("-")
    return int(first), min(int(last or size_bytes) + 1, size_bytes)


@contextmanager
def web_server(folder: Path, sizes: bool = True, ranges: bool = True) -> Iterator[str]:
    """Serve a folder until the end of the block, and yield its URL.

    Without `sizes` no answer tells its length, and without `ranges` each has the whole file.
    """
    handler = partial(_Handler, sizes=sizes, ranges=ranges, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
