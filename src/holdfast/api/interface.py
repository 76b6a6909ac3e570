"""The web interface as it was built (``web/``), served beside the API.

- Files are in memory from the first request on, compressed beforehand: serving one reads no disk and computes nothing.
- Names of assets carry their content's hash, so browsers keep them for ever; the page that names them is asked for
  each time.
- The page is the same at each of its addresses. It says how far above its own address the interface begins: by that it
  works below any path that a proxy takes off, without being told.
- It may run its own scripts and talk to its own server, nothing else; text from outside can't become markup in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.api.compression import takes
from holdfast.api.middleware import SECURITY_HEADERS

BUILT: Final = Path(__file__).with_name("interface_files")
"""Where the build puts it; part of the package."""
ASSETS: Final = "/assets/"
_NOT_PAGES: Final = ("/api/", "/hooks/")
_ENCODINGS: Final = (("br", ".br"), ("gzip", ".gz"))
_BASE: Final = b'<base href="./"'
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "worker-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types svelte-trusted-html holdfast-worker",
    )
)
_OF_WORKERS: Final = "default-src 'none'; connect-src 'self'"
"""What a worker may do is said by its own file: talk to its own server. Other scripts keep to their page's policy."""
_MISSING: Final = (
    "Holdfast runs, and its API answers below /api. The web interface was not built into this installation.\n"
    "In a clone, `make setup` builds it (Node 20.19 or later is needed); then start the server again.\n"
)


@dataclass(frozen=True, slots=True)
class _File:
    """A file with what compression made of it, by encoding; ``""`` is the file itself."""

    media_type: str
    bodies: Mapping[str, bytes]


class Interface:
    """Answers what is asked of the web interface, and hands on the rest.

    Args:
        directory: where the built interface is.
    """

    def __init__(self, app: ASGIApp, directory: Path = BUILT) -> None:
        self._app = app
        self._directory = directory
        self._files: Mapping[str, _File] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        path, headers = str(scope["path"]), Headers(scope=scope)
        page = path == "/" or (not path.startswith(_NOT_PAGES) and "text/html" in headers.get("Accept", ""))
        if self._files is None:
            self._files = await asyncio.to_thread(_read, self._directory)
        files = self._files
        if path in files and path != "/index.html":
            answer = _asset(path, files[path], headers)
        elif page and not path.startswith(ASSETS):
            depth = bytes(scope.get("raw_path") or path.encode()).count(b"/")  # a slash that is encoded ends no part
            answer = _page(depth, files.get("/index.html"), headers)
        else:
            await self._app(scope, receive, send)
            return
        await answer(scope, receive, send)


def _asset(path: str, file: _File, asked: Headers) -> Response:
    encoding = next((name for name, _ in _ENCODINGS if name in file.bodies and takes(asked, name)), "")
    kept = "public, max-age=31536000, immutable" if path.startswith(ASSETS) else "no-cache"
    headers = {"Cache-Control": kept, "Vary": "Accept-Encoding"} | ({"Content-Encoding": encoding} if encoding else {})
    if path.endswith(".js"):
        headers["Content-Security-Policy"] = _OF_WORKERS
    return _answer(file.bodies[encoding], file.media_type, asked, headers)


def _page(depth: int, file: _File | None, asked: Headers) -> Response:
    if file is None:
        return _answer(_MISSING.encode(), "text/plain; charset=utf-8", asked, {"Cache-Control": "no-store"}, status=503)
    up = "../" * (depth - 1) or "./"
    body = file.bodies[""].replace(_BASE, b'<base href="%s"' % up.encode(), 1)
    return _answer(body, file.media_type, asked, {"Cache-Control": "no-cache", "Content-Security-Policy": _POLICY})


def _answer(body: bytes, media_type: str, asked: Headers, extra: Mapping[str, str], *, status: int = 200) -> Response:
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {**SECURITY_HEADERS, **extra, "ETag": tag}
    if status == 200 and asked.get("If-None-Match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, status_code=status, media_type=media_type, headers=headers)


def _read(directory: Path) -> Mapping[str, _File]:
    """All files, by the path that they are asked for by."""
    found: dict[str, _File] = {}
    suffixes = tuple(suffix for _, suffix in _ENCODINGS)
    for file in directory.rglob("*"):
        if not file.is_file() or file.suffix in suffixes:
            continue
        beside = {name: file.with_name(file.name + suffix) for name, suffix in _ENCODINGS}
        bodies = {"": file.read_bytes()} | {
            name: compressed.read_bytes() for name, compressed in beside.items() if compressed.is_file()
        }
        media_type, _ = mimetypes.guess_type(file.name)
        if media_type is None:
            media_type = "application/octet-stream"
        found[f"/{file.relative_to(directory).as_posix()}"] = _File(media_type, bodies)
    return found
