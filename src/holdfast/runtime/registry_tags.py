"""The tags that a registry has of a repository, by its HTTP API (https://distribution.github.io/distribution/spec/api).

The engine has no call for it, so this asks as the engine would: over TLS but for registries that the engine itself
counts as insecure, with the certificates that this host and the engine trust, as nobody first and then in the way that
the registry demands. What goes wrong is told in the words of a pull that fails.

A registry is not trusted: what it answers is bounded in time, size and number of tags; a login goes to it, and to the
issuer of tokens that it names; what it redirects to gets none. Nothing that it names is asked over a line less safe
than its own, and only a registry of this host may name what answers on this host alone.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast import __version__
from holdfast.domain.errors import Failed
from holdfast.domain.image_ref import DEFAULT_REGISTRY, ImageRef, parse_image_ref
from holdfast.domain.printable import printable
from holdfast.domain.registry import RegistryLogin, registry_of
from holdfast.runtime.pull_errors import pull_failed, registry_silent

if TYPE_CHECKING:
    import httpx  # loaded only where there is something to ask: it takes two MiB

_DEFAULT_HOST: Final = "registry-1.docker.io"
"""Where the default registry answers."""
_ENGINE_CERTIFICATES: Final = Path("/etc/docker/certs.d")
_SILENCE: Final = 15.0
_TOGETHER: Final = 60.0
_PAGE: Final = 1000
"""Tags asked for at a time; registries may give fewer."""
_PAGES: Final = 500
_TAGS: Final = 100_000
_BYTES: Final = 4 << 20
"""Of all answers."""
_HEADER: Final = 4096
"""Characters of a header that are looked at."""
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,65536}")
_REDIRECTS: Final = 3
_LOCATION: Final = "location"
_REDIRECTING: Final = (301, 302, 303, 307, 308)
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY = 200, 401, 403, 404, 429
_PARAMETER: Final = re.compile(r'([a-zA-Z]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')
_WORDS: Final = {  # what the API's specification has it say, where it doesn't
    _UNAUTHORIZED: "unauthorized",
    _FORBIDDEN: "denied",
    _NOT_FOUND: "name unknown",
    _TOO_MANY: "toomanyrequests",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    url: httpx.URL
    headers: httpx.Headers
    body: bytes


async def list_tags(
    reference: str,
    login: RegistryLogin | None,
    engine: Mapping[str, Any],
    *,
    silence: float = _SILENCE,
    together: float = _TOGETHER,
    certificates: Path = _ENGINE_CERTIFICATES,
) -> tuple[str, ...]:
    """The tags of a reference's repository, in the order in which they came.

    Args:
        engine: what the engine says of registries (``RegistryConfig`` of its info).
        silence: seconds that the registry may be silent.
        together: seconds for all of it.
        certificates: where the engine has a directory for each registry, with what it trusts there beside the host's.

    Raises:
        Failed: as a pull; or ``registry_tags_unreadable``.
    """
    import httpx

    insecure = Insecure(engine)
    host = registry_of(reference)

    async def ask(scheme: str, trust: ssl.SSLContext) -> tuple[str, ...]:
        async with _client(silence, trust) as client:
            return await _Conversation(client, insecure, reference, login, scheme).tags()

    try:
        async with asyncio.timeout(together):
            if not await insecure.holds(host):
                return await ask("https", await asyncio.to_thread(_trust, certificates / host))
            try:  # as the engine does: TLS if the registry speaks it, whoever it proves to be
                return await ask("https", _blind())
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                return await ask("http", _blind())
    except httpx.TimeoutException as error:
        raise registry_silent(reference, silence) from error
    except TimeoutError as error:
        raise registry_silent(reference, together) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        said = str(error) or type(error).__name__
        kind = "tls: " if "SSL" in said or "CERTIFICATE" in said else "unreachable: "
        raise pull_failed(reference, kind + printable(said)) from error


class Insecure:
    """Which registries the engine talks to without proof of who they are, and in plain HTTP if need be."""

    def __init__(self, engine: Mapping[str, Any]) -> None:
        self._named = {
            name.lower(): not facts.get("Secure", True) for name, facts in (engine.get("IndexConfigs") or {}).items()
        }
        self._networks = [
            ipaddress.ip_network(each, strict=False) for each in engine.get("InsecureRegistryCIDRs") or ()
        ]

    async def holds(self, host: str) -> bool:
        """Whether a registry (``host[:port]``) is one of them: by name, else by an address that its name has."""
        if host in self._named:
            return self._named[host]
        addresses = await _addresses(re.sub(r":[0-9]+$", "", host).strip("[]"))
        return any(address in network for address in addresses for network in self._networks)


async def _addresses(name: str) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None)
    except (OSError, UnicodeError):
        return set()
    return {ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found}


async def _is_here(name: str) -> bool:
    """Whether a name leads to what only this host itself can reach."""
    plain = [getattr(address, "ipv4_mapped", None) or address for address in await _addresses(name)]
    return any(address.is_loopback or address.is_unspecified for address in plain)


class _Conversation:
    """One listing."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        insecure: Insecure,
        reference: str,
        login: RegistryLogin | None,
        scheme: str,
    ) -> None:
        import httpx

        self._client = client
        self._insecure = insecure
        self._reference = reference
        self._login = login
        self._authorization: str | None = None
        self._left = _BYTES
        host, self._path = _place(parse_image_ref(reference))
        self._registry = self._named(httpx.URL(f"{scheme}://{host}/"), "/")

    async def tags(self) -> tuple[str, ...]:
        url = self._registry.join(f"/v2/{self._path}/tags/list?n={_PAGE}")
        found: list[str] = []
        for _ in range(_PAGES):
            answer = await self._page(url)
            found += self._tags(answer)
            if len(found) > _TAGS:
                raise self._unreadable(f"it has more than {_TAGS} tags")
            following = _next(answer)
            if following is None:
                return tuple(found)
            # Whatever host it names: pages lie where the first one did.
            url = answer.url.copy_with(raw_path=self._named(answer.url, following).raw_path)
        raise self._unreadable(f"it has no end after {len(found)} tags")

    async def _page(self, url: httpx.URL) -> _Answer:
        answer = await self._get(url, self._authorization if self._is_own(url) else None)
        if answer.status == _UNAUTHORIZED and self._authorization is None and self._is_own(answer.url):
            self._authorization = await self._authorized(answer)
            answer = await self._get(url, self._authorization)
        if answer.status != _OK:
            raise self._refused(answer)
        return answer

    def _is_own(self, url: httpx.URL) -> bool:
        """Whether it is the registry itself, and not where it redirected to."""
        return _origin(url) == _origin(self._registry)

    async def _authorized(self, refusal: _Answer) -> str:
        """What the registry wants to be told, by its own word."""
        for challenge in refusal.headers.get_list("www-authenticate"):
            scheme, _, rest = challenge.strip().partition(" ")
            told = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest[:_HEADER])}
            if scheme.lower() == "bearer" and told.get("realm"):
                return f"Bearer {await self._token(told)}"
            if scheme.lower() == "basic" and self._login is not None:
                return _basic(self._login)
        raise self._refused(refusal)

    async def _token(self, told: Mapping[str, str]) -> str:
        realm = self._named(self._registry, told["realm"])
        params = {"service": told.get("service", ""), "scope": f"repository:{self._path}:pull"}
        url = realm.copy_merge_params({name: value for name, value in params.items() if value})
        answer = await self._get(url, None if self._login is None else _basic(self._login))
        if answer.status != _OK:
            raise self._refused(answer)
        document = self._document(answer)
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise self._unreadable(f"{answer.url.host}, which it sent for a token, gave none")
        return token

    async def _get(self, url: httpx.URL, authorization: str | None) -> _Answer:
        """Ask, and follow redirects here: httpx would read their bodies without any bound, and unpack them."""
        for _ in range(_REDIRECTS + 1):
            await self._check(url)
            headers = {} if authorization is None else {"Authorization": authorization}
            async with self._client.stream("GET", url, headers=headers) as answer:
                location = answer.extensions.get(_LOCATION)
                if answer.status_code not in _REDIRECTING or location is None:
                    return await self._read(answer)
            following = self._named(url, location)
            if _origin(following) != _origin(url):
                authorization = None
            url = following
        raise self._unreadable(f"it redirects more than {_REDIRECTS} times")

    async def _read(self, answer: httpx.Response) -> _Answer:
        body = bytearray()
        async for piece in answer.aiter_raw():  # nothing that was packed is unpacked: it may be far larger
            body += piece
            self._left -= len(piece)
            if self._left < 0:
                raise self._unreadable(f"it has more than {_BYTES >> 20} MiB")
        return _Answer(status=answer.status_code, url=answer.url, headers=answer.headers, body=bytes(body))

    def _named(self, base: httpx.URL, text: str) -> httpx.URL:
        """An address that the registry names, if it can be one: what is none fails late, and in many ways."""
        import httpx

        try:
            url = base.join(text)
            url.raw_host.decode().encode("idna")  # as it is looked up
            sound = bool(url.host) and url.scheme in ("http", "https") and (url.port is None or 0 < url.port < 1 << 16)
        except (httpx.InvalidURL, ValueError):
            sound = False
        if not sound:
            raise self._unreadable(f"it names an address that is none ({printable(text[:100])})")
        return url

    async def _check(self, url: httpx.URL) -> None:
        """Refuse what the registry has no business to have this host ask."""
        import httpx

        own = self._registry
        if url.scheme != "https" and (
            own.scheme == "https" or not await self._insecure.holds(url.netloc.decode().lower())
        ):
            raise httpx.UnsupportedProtocol(f"HTTP response to HTTPS client: {url.host} is not asked in clear")
        if url.host != own.host and await _is_here(url.host) and not await _is_here(own.host):
            raise self._unreadable(f"it names {url.host}, which is this host itself")

    def _tags(self, answer: _Answer) -> list[str]:
        tags = self._document(answer).get("tags")
        if tags is None:  # the last one was deleted
            return []
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise self._unreadable("its tags are no list of names")
        return tags

    def _document(self, answer: _Answer) -> dict[str, Any]:
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise self._unreadable(f"{answer.url.host} did not answer with a JSON object")
        return document

    def _refused(self, answer: _Answer) -> Failed:
        """The error for a status that is none of success, in the registry's words."""
        status = _WORDS.get(answer.status, f"unexpected HTTP status: {answer.status}")
        try:
            error = json.loads(answer.body)["errors"][0]
            said = printable(f"{error.get('code', '')} {error.get('message', '')}").strip()
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            said = ""
        return pull_failed(self._reference, f"{status}: {said}" if said else status)

    def _unreadable(self, why: str) -> Failed:
        registry = registry_of(self._reference)
        return Failed(
            "registry_tags_unreadable",
            f"The list of tags that the registry {registry} gives for {self._reference} can't be used: {why}.",
            next_step="See whether it is a registry, and what lies between it and this host. Without updates.tags only "
            "the configured tag is asked for.",
            details={"registry": registry, "reference": self._reference},
        )


@asynccontextmanager
async def _client(silence: float, trust: ssl.SSLContext) -> AsyncIterator[httpx.AsyncClient]:
    import httpx

    async def put_aside(answer: httpx.Response) -> None:  # httpx takes it apart even if it is not to follow it
        answer.extensions[_LOCATION] = answer.headers.pop("location", None)

    async with httpx.AsyncClient(
        verify=trust,
        timeout=silence,
        trust_env=False,
        follow_redirects=False,
        headers={"User-Agent": f"holdfast/{__version__}", "Accept": "application/json", "Accept-Encoding": "identity"},
        event_hooks={"response": [put_aside]},
    ) as client:
        yield client


def _trust(directory: Path) -> ssl.SSLContext:
    """The certificates that this host trusts, and those that the engine does of this registry."""
    context = ssl.create_default_context()
    for certificate in sorted(directory.glob("*.crt")):
        context.load_verify_locations(certificate)
    return context


def _blind() -> ssl.SSLContext:
    """Trusts whoever answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _place(ref: ImageRef) -> tuple[str, str]:
    """The host that answers for a repository, and the path that it knows it by."""
    registry, _, path = ImageRef(registry=ref.registry, path=ref.path).canonical.partition("/")
    return (_DEFAULT_HOST if registry == DEFAULT_REGISTRY else registry), path.rpartition(":")[0]


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _next(answer: _Answer) -> str | None:
    found = re.search(r'<([^>]*)>\s*;[^,]*\brel="?next\b', answer.headers.get("link", "")[:_HEADER])
    return None if found is None else found[1]


def _basic(login: RegistryLogin) -> str:
    return f"Basic {base64.b64encode(f'{login.username}:{login.password}'.encode()).decode()}"
