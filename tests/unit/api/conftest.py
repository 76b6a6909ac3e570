"""What the tests of the API share."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI

from holdfast.api.app import create_app
from tests.unit.api.standins import Api, services_in


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return create_app(services_in(tmp_path_factory.mktemp("unused")))


@pytest.fixture
def api(app: FastAPI, tmp_path: Path) -> Api:
    return Api(app, tmp_path)
