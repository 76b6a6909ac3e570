"""What every command gets: its output, and the server once it asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from holdfast.cli.connection import Connection, address, resolve
from holdfast.cli.output import Output
from holdfast.cli.stored_sessions import stored_session

if TYPE_CHECKING:  # the client's library takes a quarter of a second to load, which --help and serve don't need
    import httpx

    from holdfast.cli.client import Client


class Session:
    """One run of the command line.

    Args:
        env: the environment.
        transport: what carries requests; the network unless a test says otherwise.
        interactive: whether somebody can be asked; found out from the standard streams if ``None``.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        transport: httpx.BaseTransport | None = None,
        interactive: bool | None = None,
    ) -> None:
        self.env = env
        self.output = Output(interactive=interactive)
        self.url: str | None = None
        self.token_file: str | None = None
        self.patience: float | None = None
        self._transport = transport
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The server.

        Raises:
            InvalidInput: its address or the token makes no sense.
        """
        if self._client is None:
            from holdfast.cli.client import Client

            self._client = Client(resolve(self.url, self.token_file, self.env), self._transport, self.patience)
        return self._client

    @property
    def anonymous(self) -> Client:
        """The server, for who does not say who they are yet."""
        if self._client is None:
            from holdfast.cli.client import Client

            self._client = Client(Connection(url=address(self.url, self.env)), self._transport)
        return self._client

    @property
    def signed_in(self) -> Client | None:
        """The server, for who signed in there, whatever tokens there are; ``None`` if nobody did."""
        url = address(self.url, self.env)
        cookie = stored_session(url, self.env)
        if self._client is None and cookie is not None:
            from holdfast.cli.client import Client

            self._client = Client(Connection(url=url, session=cookie), self._transport)
        return self._client

    def close(self) -> None:
        """Let go of the server."""
        if self._client is not None:
            self._client.close()
            self._client = None


def session_of(context: typer.Context, *, as_json: bool = False) -> Session:
    """The session that this command runs in, writing as asked."""
    session = context.find_root().obj
    assert isinstance(session, Session)
    session.output.as_json = as_json
    return session
