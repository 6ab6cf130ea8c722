"""The server of a bucket with limited bandwidth: `python -m bench.throttled_server FOLDER BYTES_PER_S REFUSED_SHARE`.

Speaks as much of S3 as its clients ask for: GET with ranges and conditions, HEAD, ListObjectsV2. Anybody may read.
All connections together get so many bytes of file contents a second, whoever asks first gets them first, and a share of
requests is answered 503. Writes its address to its standard output. Knows nothing of who reads.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import random
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import xxhash

from bench.throttled_origin import BUCKET, STATS_PATH, Served

_STEP_BYTES = 64 * 1024
_BURST_S = 0.02  # what a late wake-up of the event loop may make good
_MODIFIED = "Sat, 01 Aug 2026 00:00:00 GMT"
_MODIFIED_ISO = "2026-08-01T00:00:00.000Z"
_PHRASES = {
    200: "OK",
    206: "Partial Content",
    404: "Not Found",
    405: "Method Not Allowed",
    412: "Precondition Failed",
    416: "Range Not Satisfiable",
    503: "Slow Down",
}


class _Throttle:
    """Hands out bytes of one bandwidth, in the order in which they are asked for."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s, self._free_at_s = bytes_per_s, 0.0

    async def take(self, count: int) -> None:
        now_s = asyncio.get_running_loop().time()
        self._free_at_s = max(self._free_at_s, now_s - _BURST_S) + count / self._bytes_per_s
        if self._free_at_s > now_s:
            await asyncio.sleep(self._free_at_s - now_s)


@dataclass(frozen=True, slots=True)
class _Object:
    data: memoryview
    etag: str


@dataclass(slots=True)
class _Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    @property
    def key(self) -> str:
        return self.path.removeprefix(f"/{BUCKET}").lstrip("/")


@dataclass(slots=True)
class _Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: memoryview = field(default_factory=lambda: memoryview(b""))
    is_object: bool = False


class _Bucket:
    """The server's one bucket."""

    def __init__(self, folder: Path, bytes_per_s: float, refused_share: float) -> None:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self._objects = {f"model/{path.relative_to(folder).as_posix()}": _read(path) for path in files}
        self._throttle, self._refused_share = _Throttle(bytes_per_s), refused_share
        self._random = random.Random(0)
        self._body_bytes = self._requests = self._refused = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests until it ends."""
        writer.transport.set_write_buffer_limits(2 * _STEP_BYTES)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = _parse(await reader.readuntil(b"\r\n\r\n"))
                await self._send(writer, request, self._answer(request))
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async def _send(self, writer: asyncio.StreamWriter, request: _Request, answer: _Answer) -> None:
        headers = {"Content-Length": str(len(answer.body)), "Server": "throttled", **answer.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}\r\n{lines}\r\n".encode())
        if request.method == "HEAD":
            await writer.drain()
            return
        for start in range(0, len(answer.body), _STEP_BYTES):
            piece = answer.body[start : start + _STEP_BYTES]
            if answer.is_object:
                await self._throttle.take(len(piece))
                self._body_bytes += len(piece)
            writer.write(piece)
            await writer.drain()

    def _answer(self, request: _Request) -> _Answer:
        if request.path == STATS_PATH:
            served = Served(self._body_bytes, self._requests, self._refused)
            return _Answer(200, {}, memoryview(json.dumps(asdict(served)).encode()))
        self._requests += 1
        if self._random.random() < self._refused_share:
            self._refused += 1
            return _error(503, "SlowDown")
        if request.method not in ("GET", "HEAD"):
            return _error(405, "MethodNotAllowed")
        if not request.key:
            return self._listing(request)
        if request.key not in self._objects:
            return _error(404, "NoSuchKey")
        return _object_answer(self._objects[request.key], request)

    def _listing(self, request: _Request) -> _Answer:
        prefix, delimiter = (request.query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        entries, folders = "", dict[str, None]()
        for key in sorted(key for key in self._objects if key.startswith(prefix)):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            if found:
                folders[prefix + head + found] = None
                continue
            held = self._objects[key]
            entries += (
                f"<Contents><Key>{escape(key)}</Key><Size>{len(held.data)}</Size><ETag>&quot;{held.etag}&quot;</ETag>"
                f"<LastModified>{_MODIFIED_ISO}</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            )
        entries += "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders)
        count = entries.count("</Contents>") + len(folders)
        return _xml(
            200,
            f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{count}</KeyCount>"
            f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>",
        )


def _read(path: Path) -> _Object:
    with path.open("rb") as file:
        data = (
            memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if path.stat().st_size else memoryview(b"")
        )
    return _Object(data, xxhash.xxh3_128_hexdigest(data))


def _object_answer(held: _Object, request: _Request) -> _Answer:
    headers = {
        "ETag": f'"{held.etag}"',
        "Last-Modified": _MODIFIED,
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    if request.headers.get("if-match", "*") not in ("*", f'"{held.etag}"'):
        return _error(412, "PreconditionFailed")
    if "range" not in request.headers:
        return _Answer(200, headers, held.data, is_object=True)
    start, stop = _span(request.headers["range"], len(held.data))
    if start >= stop:
        return _error(416, "InvalidRange")
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(held.data)}"
    return _Answer(206, headers, held.data[start:stop], is_object=True)


def _span(header: str, size_bytes: int) -> tuple[int, int]:
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size_bytes - int(last)), size_bytes
    return int(first), min(size_bytes, int(last) + 1) if last else size_bytes


def _parse(head: bytes) -> _Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, found, value in (line.partition(":") for line in lines) if found}
    parts = urlsplit(target)
    return _Request(method, unquote(parts.path), parse_qs(parts.query, keep_blank_values=True), headers)


def _error(status: int, code: str) -> _Answer:
    return _xml(status, f"<Error><Code>{code}</Code><Message>{_PHRASES[status]}</Message></Error>")


def _xml(status: int, text: str) -> _Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return _Answer(status, {"Content-Type": "application/xml", "x-amz-bucket-region": "us-east-1"}, memoryview(body))


async def _main(folder: Path, bytes_per_s: float, refused_share: float, host: str, port: int) -> None:
    bucket = _Bucket(folder, bytes_per_s, refused_share)
    server = await asyncio.start_server(bucket.serve, host, port, backlog=1024)
    sys.stdout.write(f"http://{host}:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4], int(sys.argv[5])))
