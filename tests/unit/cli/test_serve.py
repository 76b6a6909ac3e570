"""What `holdfast serve` makes of its options before there is a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cli.commands.serve import settings_from
from holdfast.cli.exit_codes import ExitCode
from holdfast.cli.session import Session
from holdfast.domain.errors import InvalidInput
from tests.unit.cli.fake_server import FakeServer


@pytest.mark.parametrize("listen", ["8484", ":8484", "127.0.0.1:", "127.0.0.1:http", "::1:80", "127.0.0.1:99999", ""])
def test_an_address_without_host_or_port_is_refused(server: FakeServer, tmp_path: Path, listen: str) -> None:
    result = server.run("serve", "--data-dir", str(tmp_path / "data"), "--listen", listen)
    assert result.exit_code == ExitCode.USAGE
    assert "127.0.0.1:8484" in result.stderr


def test_listening_wider_needs_a_certificate_or_a_trusted_proxy(server: FakeServer, tmp_path: Path) -> None:
    result = server.run("serve", "--data-dir", str(tmp_path / "data"), "--listen", "0.0.0.0:8484")
    assert result.exit_code == ExitCode.USAGE
    assert "trusted_proxy" in result.stderr
    given = {"HOLDFAST_LISTEN": "0.0.0.0:80", "HOLDFAST_TLS_CERTIFICATE": "/etc/one.pem"}
    assert settings_from(Session({}), None, str(tmp_path / "data"), given).tls_certificate == "/etc/one.pem"


@pytest.mark.parametrize(
    "given", [{"HOLDFAST_TLS_KEY": "/etc/key.pem"}, {"HOLDFAST_TLS_CERTIFICATE": "relative/one.pem"}]
)
def test_a_key_without_a_certificate_and_a_relative_path_are_refused(tmp_path: Path, given: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="tls_"):
        settings_from(Session({}), None, str(tmp_path / "data"), given)


def test_a_certificate_that_can_not_be_used_is_said_before_anything_begins(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "one.pem").write_text("none")
    config = tmp_path / "holdfast.toml"
    config.write_text(f'tls_certificate = "{tmp_path}/one.pem"\n')
    result = server.run("serve", "--config", str(config), "--data-dir", str(tmp_path / "data"))
    assert result.exit_code == ExitCode.USAGE
    assert "one.pem can't be used for TLS: it holds no certificate with the key that fits" in result.stderr
    assert not (tmp_path / "data").exists()


def test_the_command_line_wins_over_the_environment_and_the_file(tmp_path: Path) -> None:
    config = tmp_path / "holdfast.toml"
    config.write_text(f'data_dir = "{tmp_path}/from-file"\nlisten = "127.0.0.1:1"\n')
    env = {"HOLDFAST_DATA_DIR": str(tmp_path / "from-env"), "HOLDFAST_CONFIG": str(config), "HOLDFAST_TOKEN": "x"}
    settings = settings_from(Session(env), None, str(tmp_path / "given"), {"HOLDFAST_LISTEN": "127.0.0.1:2"})
    assert (settings.data_dir, settings.listen_port) == (tmp_path / "given", 2)
    assert settings_from(Session(env), None, None).data_dir == tmp_path / "from-env"


def test_behind_a_proxy_it_may_listen_wider(tmp_path: Path) -> None:
    given = {"HOLDFAST_LISTEN": "0.0.0.0:80", "HOLDFAST_TRUSTED_PROXY": "true"}
    assert settings_from(Session({}), None, str(tmp_path / "data"), given).trusted_proxy
