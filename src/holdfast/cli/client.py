"""The API from the other side: requests, errors as the same classes as on the server, event streams."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from holdfast import __version__
from holdfast.cli.connection import Connection
from holdfast.domain import errors
from holdfast.domain.errors import Failed, HoldfastError, Problem, Refused, Unavailable

T = TypeVar("T")

_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)
_STREAM_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0, write=None, pool=None)
"""The server says something every 15 seconds; a minute of silence is a lost connection."""

_BY_STATUS: Final[dict[int, type[HoldfastError]]] = {
    400: errors.InvalidInput,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    412: errors.PreconditionFailed,
    413: errors.TooLarge,
    429: errors.TooMany,
    428: errors.ConfirmationMissing,
    503: errors.Unavailable,
    507: errors.NoSpace,
}


class Client:
    """Talks to one server.

    Args:
        transport: what carries the requests; the network unless a test says otherwise.
        patience: seconds for which an answer is waited for, unless as long as it usually takes at most.

    Every method raises ``HoldfastError``: what the server answered, or ``Unavailable("server_unreachable")``.
    """

    def __init__(
        self, connection: Connection, transport: httpx.BaseTransport | None = None, patience: float | None = None
    ) -> None:
        headers = {"User-Agent": f"holdfast/{__version__}", "Accept": "application/json"}
        if connection.token is not None:
            headers["Authorization"] = f"Bearer {connection.token}"
        elif connection.session is not None:
            headers["Cookie"] = connection.session
        headers["X-Holdfast-Request"] = "1"
        self.url = connection.url
        self._http = httpx.Client(
            base_url=connection.url, headers=headers, timeout=patience or _TIMEOUT, transport=transport
        )

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def sign_in(self, username: str, password: str) -> tuple[Any, str]:
        """Sign in: who one is then, and the cookie that says so from now on."""
        document = {"username": username, "password": password}
        response = self._request("POST", "/api/session", json=document)
        cookie, _, _ = response.headers.get("Set-Cookie", "").partition(";")
        return _decoded(response), cookie

    def get(self, path: str, /, **params: str | int | bool | None) -> Any:
        """The document at ``path``; parameters that are ``None`` are left out."""
        return self._ask("GET", path, params=_given(params))

    def send(
        self,
        method: str,
        path: str,
        *,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | bool] | None = None,
    ) -> Any:
        """Ask for a change; the answer's document, ``None`` if it has none."""
        return self._ask(method, path, json=document, headers=dict(headers or {}), params=dict(params or {}))

    def send_text(
        self, method: str, path: str, text: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Ask for a change with a body that is not JSON."""
        return self._ask(method, path, content=text, headers={"Content-Type": content_type, **(headers or {})})

    def upload(self, path: str, file: Path, params: Mapping[str, bool]) -> Any:
        """Send a file as it is."""
        with file.open("rb") as content:
            return self._ask(
                "POST",
                path,
                content=content,
                headers={"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)},
                params=dict(params),
                timeout=httpx.Timeout(None, connect=5.0),
            )

    @contextmanager
    def download(self, path: str, /, **params: str | int | bool | None) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The name that the server gives to what is at ``path``, and its bytes."""
        with self._stream(path, "application/zstd, application/octet-stream, text/plain", _given(params)) as response:
            _, _, name = response.headers.get("Content-Disposition", "").partition('filename="')
            yield (
                name.rstrip('"'),
                _translated(response.iter_bytes(), _SNAPSHOT_BROKE_OFF if "/snapshots/" in path else _BROKE_OFF),
            )

    @contextmanager
    def events(self, path: str, **params: str | int | bool | None) -> Iterator[Iterator[tuple[str, Any]]]:
        """Follow server-sent events: pairs of the event's name and its document.

        The iterator ends where the connection does. An ``error`` event is raised.
        """
        with self._stream(path, "text/event-stream", _given(params)) as response:
            yield _events(_lines(_translated(response.iter_text())))

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        response = self._request(method, path, **arguments)
        return _decoded(response) if response.content else None

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise error_of(response)
        return response

    @contextmanager
    def _stream(
        self, path: str, accept: str, params: Mapping[str, str | int | bool] | None = None
    ) -> Iterator[httpx.Response]:
        try:
            request = self._http.build_request(
                "GET", path, params=dict(params or {}), headers={"Accept": accept}, timeout=_STREAM_TIMEOUT
            )
            response = self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        try:
            if response.is_error:
                response.read()
                raise error_of(response)
            yield response
        finally:
            response.close()

    def _unreachable(self, error: httpx.TransportError) -> Unavailable:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return Unavailable(
                "server_not_trusted",
                f"The certificate of {self.url} is not one that this machine trusts.",
                next_step="If an authority of your own signed it, set SSL_CERT_FILE to the authority's certificate. "
                "Otherwise it may be another server than you think. Nothing was sent.",
            )
        return Unavailable(
            "server_unreachable",
            f"No server answers at {self.url} ({str(error) or type(error).__name__}).",
            next_step="Check that 'holdfast serve' runs there, or set HOLDFAST_URL. "
            "Without a server, 'holdfast recover' and 'holdfast snapshot export --offline' still work.",
        )


def _given(params: Mapping[str, str | int | bool | None]) -> dict[str, str | int | bool]:
    """Parameters that are not left out."""
    return {name: value for name, value in params.items() if value is not None}


def error_of(response: httpx.Response) -> HoldfastError:
    """The error that an answer carries, as the class that it has on the server."""
    try:
        told = response.json()["error"]
        code, message = str(told["code"]), str(told["message"])
        next_step, details = str(told.get("next_step", "")), dict(told.get("details") or {})
    except (ValueError, KeyError, TypeError):
        return Failed(
            "answer_unreadable",
            f"The answer ({response.status_code}) does not come from Holdfast.",
            next_step="Check HOLDFAST_URL, and any proxy between here and the server.",
        )
    if response.status_code == 409 and "Retry-After" in response.headers:
        return errors.Busy(code, message, next_step=next_step, details=details)
    if response.status_code == 422 and details.get("problems"):
        return Refused([_problem(problem) for problem in details["problems"]], summary=message)
    kind = _BY_STATUS.get(response.status_code, Failed)
    return kind(code, message, next_step=next_step, details=details)


def _problem(told: Mapping[str, Any]) -> Problem:
    return Problem(
        code=str(told.get("code", "")),
        message=str(told.get("message", "")),
        next_step=str(told.get("next_step", "")),
        details=told.get("details") or {},
    )


def _decoded(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        raise error_of(response) from None


_GOES_ON: Final = "Try again; what the server was doing goes on."
_BROKE_OFF: Final = "An incomplete file is not kept. Try again."
_SNAPSHOT_BROKE_OFF: Final = (
    "An incomplete file is not kept. Try again; if it breaks off at the same place, something in the snapshot is "
    "damaged: holdfast snapshot verify says what."
)


def _translated(source: Iterator[T], next_step: str = _GOES_ON) -> Iterator[T]:
    try:
        yield from source
    except httpx.TransportError as error:
        raise Unavailable(
            "connection_lost",
            f"The connection to the server was lost ({str(error) or type(error).__name__}).",
            next_step=next_step,
        ) from error


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Lines as such a stream means them: what else ends lines in Unicode may be in a document."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        yield from lines


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = "message"
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                document = json.loads("\n".join(data))
                if name == "error":
                    raise _streamed(document["error"])
                yield name, document
            name, data = "message", []
        elif line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))


def _streamed(told: Mapping[str, Any]) -> HoldfastError:
    return Failed(
        str(told["code"]), str(told["message"]), next_step=str(told["next_step"]), details=told.get("details")
    )
