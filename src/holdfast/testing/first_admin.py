"""The first admin of a server that was just started, as a person would be it: with a name, a password and a session."""

from __future__ import annotations

import httpx


def become_admin(http: httpx.Client, name: str, password: str) -> dict[str, str]:
    """Have a client that has the first token be an admin from now on; that token ends with it.

    Returns:
        The cookies of the session, for a browser. A browser sends them to loopback without TLS; httpx wouldn't.
    """
    http.post("/api/users", json={"name": name, "password": password, "role": "admin"}).raise_for_status()
    del http.headers["Authorization"]
    http.headers["X-Holdfast-Request"] = "1"
    signed_in = http.post("/api/session", json={"username": name, "password": password}).raise_for_status()
    cookies = dict(signed_in.cookies)
    http.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return cookies
