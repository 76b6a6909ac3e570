from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.config import LogFormat, Settings
from holdfast.config_reading import load_settings
from holdfast.domain.edge import Tls
from holdfast.domain.errors import InvalidInput
from holdfast.engine.limits import Limits

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def settings_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "holdfast.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(config_file: Path | None, env: dict[str, str]) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        load_settings(config_file, env)
    assert caught.value.next_step
    return caught.value


def test_without_anything_given_the_defaults_hold() -> None:
    settings = load_settings(None, {"PATH": "/usr/bin", "HOLDFAST_URL": "http://127.0.0.1:8484"})
    assert settings == Settings()
    assert settings.listen_host == "127.0.0.1"
    assert settings.volumes_base == settings.data_dir / "volumes"
    assert settings.docker_host == "unix:///var/run/docker.sock"


def test_the_file_sets_and_the_environment_wins(tmp_path: Path) -> None:
    path = settings_file(
        tmp_path,
        f"""
        data_dir = "{tmp_path}/data"
        allowed_roots = ["{tmp_path}/srv"]
        disk_reserve_bytes = "1GiB"
        engine_timeout = "1m"
        workers = 3
        log_format = "json"
        [limits]
        entries = 10
        total_bytes = "2GiB"
        """,
    )
    settings = load_settings(
        path, {"HOLDFAST_WORKERS": "4", "HOLDFAST_LIMITS_ENTRIES": "11", "HOLDFAST_DRAIN_DEADLINE": "5"}
    )
    assert settings == Settings(
        data_dir=tmp_path / "data",
        allowed_roots=(tmp_path / "srv",),
        disk_reserve_bytes=1024**3,
        engine_timeout=60.0,
        workers=4,
        drain_deadline=5.0,
        log_format=LogFormat.JSON,
        limits=Limits(entries=11, total_bytes=2 * 1024**3),
    )


def test_a_value_can_stand_in_a_file_that_the_environment_names(tmp_path: Path) -> None:
    (tmp_path / "listen").write_text("127.0.0.1:9000\n", encoding="utf-8")
    assert load_settings(None, {"HOLDFAST_LISTEN_FILE": f"{tmp_path}/listen"}).listen_port == 9000
    missing = refusal(None, {"HOLDFAST_LISTEN_FILE": f"{tmp_path}/none"})
    assert missing.code == "settings_unreadable"
    both = refusal(None, {"HOLDFAST_LISTEN_FILE": f"{tmp_path}/listen", "HOLDFAST_LISTEN": "127.0.0.1:1"})
    assert both.code == "setting_invalid"


def test_several_roots_in_the_environment_are_separated_by_colons(tmp_path: Path) -> None:
    settings = load_settings(None, {"HOLDFAST_ALLOWED_ROOTS": f"{tmp_path}/a:{tmp_path}/b"})
    assert settings.allowed_roots == (tmp_path / "a", tmp_path / "b")


def test_places_are_resolved_once_so_that_no_symlink_stays_in_them(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    settings = load_settings(None, {"HOLDFAST_ALLOWED_ROOTS": f"{tmp_path}/link/srv"})
    assert settings.allowed_roots == (tmp_path / "real" / "srv",)


def test_the_engine_is_named_by_the_setting_then_by_its_own_variable() -> None:
    assert load_settings(None, {"DOCKER_HOST": "tcp://a:1"}).docker_host == "tcp://a:1"
    both = {"DOCKER_HOST": "tcp://a:1", "HOLDFAST_DOCKER_HOST": "tcp://b:1"}
    assert load_settings(None, both).docker_host == "tcp://b:1"


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("lisen = 1", "listen"), ("[limits]\nentris = 1", "limits.entries"), ("[lmits]\ndepth = 1", "depth")],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path, text: str, nearest: str) -> None:
    error = refusal(settings_file(tmp_path, text), {})
    assert error.code == "setting_unknown"
    assert nearest in error.next_step


def test_an_unknown_variable_is_refused_with_the_nearest_known_one() -> None:
    error = refusal(None, {"HOLDFAST_LISTNE": "1"})
    assert error.code == "setting_unknown"
    assert "HOLDFAST_LISTEN" in error.next_step


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTEN", "127.0.0.1:65536"),
        ("LISTEN", "127.0.0.1:http"),
        ("WORKERS", "0"),
        ("DATA_DIR", "relative/path"),
        ("ALLOWED_ROOTS", "srv"),
        ("DISK_RESERVE_BYTES", "much"),
        ("ENGINE_TIMEOUT", "0"),
        ("ENGINE_TIMEOUT", "soon"),
        ("METRICS_INTERVAL", "9s"),
        ("METRICS_INTERVAL", "901"),
        ("LOG_FORMAT", "xml"),
        ("TIME_ZONE", "Europe/Atlantis"),
        ("TIME_ZONE", "../../etc/passwd"),
        ("TIME_ZONE", ""),
        ("PRUNE_SCHEDULE", "@daily"),
        ("VERIFY_SCHEDULE", "0 25 * * *"),
        ("COPY_SCHEDULE", "0 0 30 2 *"),
        ("VERIFY_SHARE", "0"),
        ("LIMITS_ENTRIES", "0"),
        ("LIMITS_FILE_BYTES", "-1"),
        ("LIMITS_ENTRIES", "1" + "0" * 400),
        ("DISK_RESERVE_INODES", "1" + "0" * 400),
        ("WORKERS", "1000"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(name: str, value: str) -> None:
    error = refusal(None, {f"HOLDFAST_{name}": value})
    assert error.code == "setting_invalid"
    assert str(error.details["setting"]).replace(".", "_").upper().startswith(name)


def test_a_time_zone_is_known_by_its_name(tmp_path: Path) -> None:
    settings = load_settings(settings_file(tmp_path, 'time_zone = "Europe/Berlin"'), {})
    assert datetime(2026, 7, 1, tzinfo=UTC).astimezone(settings.zone).hour == 2
    assert Settings().zone is UTC


@pytest.mark.parametrize(
    "text", ["listen =", 'allowed_roots = "/srv"', "limits = 3", "listen = {}", "data_dir = 1", "engine_timeout = inf"]
)
def test_a_file_that_does_not_parse_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(settings_file(tmp_path, text), {}).code in {
        "settings_unreadable",
        "setting_invalid",
        "setting_unknown",
    }


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.toml", {}).code == "settings_unreadable"


@pytest.mark.parametrize(
    "root", ["/", "/etc", "/etc/notes", "/proc/1/root", "/var", "/var/lib/docker/volumes", "{data}", "{data}/keys"]
)
def test_a_root_that_would_expose_the_host_or_holdfast_is_refused(tmp_path: Path, root: str) -> None:
    data = tmp_path / "data"
    error = refusal(None, {"HOLDFAST_DATA_DIR": str(data), "HOLDFAST_ALLOWED_ROOTS": root.format(data=data)})
    assert error.code == "setting_invalid"
    assert error.details["setting"] == "allowed_roots"


@pytest.mark.parametrize("base", ["/", "{data}", "{data}/snapshots", "{data}/keys/x", "/etc"])
def test_volumes_never_lie_among_holdfasts_own_files(tmp_path: Path, base: str) -> None:
    data = tmp_path / "data"
    error = refusal(None, {"HOLDFAST_DATA_DIR": str(data), "HOLDFAST_VOLUMES_BASE": base.format(data=data)})
    assert error.details["setting"] == "volumes_base"


def test_listening_beyond_this_machine_needs_a_proxy_that_ends_tls() -> None:
    error = refusal(None, {"HOLDFAST_LISTEN": "0.0.0.0:80"})
    assert error.details["setting"] == "listen"
    assert load_settings(None, {"HOLDFAST_LISTEN": "[::1]:80"}).listen_host == "::1"
    wide = load_settings(None, {"HOLDFAST_LISTEN": "0.0.0.0:80", "HOLDFAST_TRUSTED_PROXY": "true"})
    assert wide.listen_host == "0.0.0.0"


def test_every_setting_stands_in_the_reference() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    names = {f.name for f in dataclasses.fields(Settings)} - {"limits"}
    names |= {f"limits.{f.name}" for f in dataclasses.fields(Limits)}
    assert sorted(name for name in names if f"| `{name}` |" not in text) == []


class TestEdge:
    def test_a_caddy_of_its_own_and_where_it_listens(self) -> None:
        settings = load_settings(
            None,
            {
                "HOLDFAST_EDGE": "caddy",
                "HOLDFAST_EDGE_LISTEN": "::1",
                "HOLDFAST_EDGE_HTTP_PORT": "8080",
                "HOLDFAST_EDGE_HTTPS_PORT": "8443",
                "HOLDFAST_EDGE_TLS": "internal",
            },
        )
        assert (settings.edge, settings.edge_listen) == ("caddy", "::1")
        assert (settings.edge_http_port, settings.edge_https_port, settings.edge_tls) == (8080, 8443, Tls.INTERNAL)

    @pytest.mark.parametrize("address", ["http://127.0.0.1:2019", "http://localhost:2019", "http://[::1]:2019"])
    def test_one_that_is_there_is_named_by_its_admin_api(self, address: str) -> None:
        assert load_settings(None, {"HOLDFAST_EDGE": address}).edge == address

    @pytest.mark.parametrize(
        "address", ["on", "nginx", "http://192.0.2.1:2019", "https://127.0.0.1:2019", "http://127.0.0.1", "127.0.0.1:1"]
    )
    def test_what_is_no_edge_is_refused(self, address: str) -> None:
        assert refusal(None, {"HOLDFAST_EDGE": address}).details["setting"] == "edge"

    @pytest.mark.parametrize("edge", ["off", "http://127.0.0.1:2019"])
    def test_what_would_have_no_effect_is_refused(self, edge: str) -> None:
        error = refusal(None, {"HOLDFAST_EDGE": edge, "HOLDFAST_EDGE_TLS": "off"})
        assert error.details["setting"] == "edge_tls"

    @pytest.mark.parametrize(
        ("name", "value"), [("edge_listen", "everywhere"), ("edge_http_port", "0"), ("edge_tls", "perhaps")]
    )
    def test_where_it_can_t_listen_is_refused(self, name: str, value: str) -> None:
        error = refusal(None, {"HOLDFAST_EDGE": "caddy", f"HOLDFAST_{name.upper()}": value})
        assert error.details["setting"] == name

    def test_a_data_directory_whose_path_is_too_long_for_a_socket_is_refused(self, tmp_path: Path) -> None:
        data = str(tmp_path / ("long" * 30))
        assert refusal(None, {"HOLDFAST_EDGE": "caddy", "HOLDFAST_DATA_DIR": data}).details["setting"] == "edge"


@pytest.mark.parametrize("place", ["data/volumes", "data", ".", "srv/docker"])
def test_where_the_engine_keeps_its_volumes_is_apart_from_all_that_is_holdfasts(tmp_path: Path, place: str) -> None:
    env = {
        "HOLDFAST_DATA_DIR": str(tmp_path / "data"),
        "HOLDFAST_ALLOWED_ROOTS": str(tmp_path / "srv"),
        "HOLDFAST_DOCKER_VOLUMES": str(tmp_path / place),
    }
    with pytest.raises(InvalidInput) as caught:
        load_settings(None, env)
    assert caught.value.details["setting"] == "docker_volumes"


class TestProxies:
    def test_nobody_is_believed_without_a_proxy_that_is_trusted(self) -> None:
        assert load_settings(None, {}).proxies == ()

    def test_one_on_this_machine_is_unless_others_are_named(self) -> None:
        trusted = {"HOLDFAST_TRUSTED_PROXY": "true"}
        assert [str(proxy) for proxy in load_settings(None, trusted).proxies] == ["127.0.0.0/8", "::1/128"]
        named = {**trusted, "HOLDFAST_PROXY_ADDRESSES": "172.16.0.0/12, fd00::7"}
        assert [str(proxy) for proxy in load_settings(None, named).proxies] == ["172.16.0.0/12", "fd00::7/128"]

    @pytest.mark.parametrize("address", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "-"])
    def test_what_is_no_address_and_no_network_is_refused(self, address: str) -> None:
        with pytest.raises(InvalidInput, match="proxy_addresses") as refused:
            load_settings(None, {"HOLDFAST_PROXY_ADDRESSES": f"127.0.0.1,{address}"})
        assert refused.value.code == "setting_invalid"
