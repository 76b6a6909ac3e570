"""How the engine is told a login of a registry: in a header of the pull, and as the body of a request that tries it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Final

from holdfast.domain.image_ref import DEFAULT_REGISTRY
from holdfast.domain.registry import RegistryLogin

_DEFAULT_ADDRESS: Final = "https://index.docker.io/v1/"
"""By which the engine knows the default registry where it is logged in to."""


def body(login: RegistryLogin) -> dict[str, str]:
    """The login, as the engine's API describes it."""
    address = _DEFAULT_ADDRESS if login.host == DEFAULT_REGISTRY else login.host
    return {"username": login.username, "password": login.password, "serveraddress": address}


def headers(login: RegistryLogin | None) -> Mapping[str, str]:
    """The headers of a pull."""
    if login is None:
        return {}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(body(login)).encode()).decode()}
