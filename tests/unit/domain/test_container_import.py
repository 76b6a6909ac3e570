"""Foreign containers as proposals: what is carried over, what is the image's own, and that the rest is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.api.schemas.workload import parse_workload_json
from holdfast.domain.compose_findings import FindingKind
from holdfast.domain.container_import import (
    ContainersProposal,
    ForeignContainer,
    ProposedContainer,
    propose_containers,
)
from holdfast.domain.container_volumes import ForeignVolume
from holdfast.domain.errors import InvalidInput

DIGEST = f"sha256:{'d' * 64}"
USUAL_HOST: dict[str, Any] = {
    "Binds": None,
    "ContainerIDFile": "",
    "LogConfig": {"Type": "json-file", "Config": {}},
    "NetworkMode": "default",
    "PortBindings": {},
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    "AutoRemove": False,
    "VolumeDriver": "",
    "VolumesFrom": None,
    "CapAdd": None,
    "CgroupnsMode": "private",
    "Dns": [],
    "IpcMode": "private",
    "OomScoreAdj": 0,
    "Privileged": False,
    "PublishAllPorts": False,
    "ReadonlyRootfs": False,
    "ShmSize": 67108864,
    "Runtime": "runc",
    "ConsoleSize": [0, 0],
    "Memory": 0,
    "NanoCpus": 0,
    "MemorySwappiness": None,
    "OomKillDisable": False,
    "PidsLimit": None,
    "Ulimits": None,
    "MaskedPaths": ["/proc/kcore"],
    "ReadonlyPaths": ["/proc/bus"],
}
IMAGE: dict[str, Any] = {
    "RepoTags": ["shop/db:1"],
    "RepoDigests": [f"shop/db@{DIGEST}"],
    "Config": {
        "Env": ["PATH=/bin", "LANG=C"],
        "Cmd": ["serve"],
        "Entrypoint": ["/start"],
        "Labels": {"made": "by"},
        "User": "70",
        "WorkingDir": "/app",
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD", "ok"]},
    },
}


def foreign(
    name: str = "db",
    *,
    config: dict[str, Any] | None = None,
    host: dict[str, Any] | None = None,
    image: dict[str, Any] | None = None,
    mounts: list[dict[str, Any]] | None = None,
    networks: tuple[str, ...] = ("bridge",),
) -> ForeignContainer:
    """A container as the engine tells of one that was run from the image without anything else."""
    of_image = IMAGE if image is None else image
    own = {"Image": "shop/db:1", "Hostname": f"{name}0000000000000"[:12], **of_image.get("Config", {})}
    return ForeignContainer(
        container={
            "Id": f"{name}{'0' * 64}"[:64],
            "Name": f"/{name}",
            "Image": DIGEST,
            "Config": {**own, **(config or {})},
            "HostConfig": {**USUAL_HOST, **(host or {})},
            "Mounts": mounts or [],
            "NetworkSettings": {"Networks": {key: {} for key in networks}},
        },
        image=of_image,
    )


def proposed(
    *containers: ForeignContainer,
    project: str | None = None,
    volumes: dict[str, ForeignVolume] | None = None,
    files: tuple[str, ...] = (),
) -> ContainersProposal:
    return propose_containers(containers, project=project, volumes=volumes or {}, files=files)


def only(proposal: ContainersProposal) -> ProposedContainer:
    (each,) = proposal.containers
    return each


def left_out(each: ProposedContainer) -> set[str]:
    return {finding.path for finding in each.workload.findings if finding.kind is FindingKind.LEFT_OUT}


def local(**labels: str) -> ForeignVolume:
    return ForeignVolume(driver="local", options=(), labels=labels)


def volume_mount(name: str, target: str = "/data", *, writable: bool = True) -> dict[str, Any]:
    return {"Type": "volume", "Name": name, "Source": f"/v/{name}/_data", "Destination": target, "RW": writable}


def test_what_the_image_brings_by_itself_is_in_no_declaration() -> None:
    each = only(proposed(foreign()))
    assert each.workload.document == {
        "name": "db",
        "source": {"type": "image", "image": f"shop/db:1@{DIGEST}"},
        "health": {"type": "docker"},
        "restart": "no",
    }
    assert left_out(each) == set()


def test_what_was_asked_for_is_carried_over() -> None:
    each = only(
        proposed(
            foreign(
                config={
                    "Env": ["PATH=/bin", "LANG=de", "DB_PASSWORD=sesame"],
                    "Cmd": ["serve", "--fast"],
                    "User": "1000",
                    "StopSignal": "SIGQUIT",
                    "StopTimeout": 90,
                    "Labels": {"made": "by", "team": "a"},
                    "Healthcheck": {"Test": ["CMD", "ok"], "Interval": 2_000_000_000, "Retries": 5},
                },
                host={
                    "PortBindings": {
                        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": "8080"}],
                        "53/udp": [{"HostIp": "", "HostPort": "53"}],
                    },
                    "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
                    "Memory": 64 << 20,
                    "MemorySwap": 128 << 20,
                    "NanoCpus": 1_500_000_000,
                    "Tmpfs": {"/tmp": "size=8m"},
                },
            ),
            project="shop",
        )
    )
    assert each.workload.document == {
        "name": "db",
        "project": "shop",
        "source": {"type": "image", "image": f"shop/db:1@{DIGEST}"},
        "env": {"LANG": "de"},
        "secrets": ["DB_PASSWORD"],
        "labels": {"team": "a"},
        "command": ["serve", "--fast"],
        "user": "1000",
        "stop_signal": "SIGQUIT",
        "stop_grace": 90,
        "ports": ["53:53/udp", "127.0.0.1:8080:80", "[::1]:8080:80"],
        "volumes": [{"target": "/tmp", "scope": "ephemeral", "size": "8MiB"}],
        "health": {"type": "command", "command": ["ok"], "interval": 2, "deadline": 160},
        "restart": "unless-stopped",
        "resources": {"memory": "64MiB", "cpus": 1.5},
    }
    assert left_out(each) == set()
    assert parse_workload_json(each.workload.document).name == "db"
    assert each.secrets == {"DB_PASSWORD": "sesame"}
    assert "sesame" not in f"{each.workload}"


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ({"Cmd": ["other"]}, {"command": ["other"]}),
        ({"Cmd": None}, {"entrypoint": ["/start"]}),
        ({"Entrypoint": ["/mine"], "Cmd": None}, {"entrypoint": ["/mine"]}),
        ({"Entrypoint": None, "Cmd": ["sh"]}, {"entrypoint": [], "command": ["sh"]}),
    ],
)
def test_command_and_entrypoint_are_named_as_the_engine_puts_them_together(
    config: dict[str, Any], command: dict[str, list[str]]
) -> None:
    document = only(proposed(foreign(config=config))).workload.document
    assert {key: document[key] for key in ("entrypoint", "command") if key in document} == command


@pytest.mark.parametrize(
    ("host", "config", "key"),
    [
        ({"Privileged": True}, {}, "privileged"),
        ({"Devices": [{"PathOnHost": "/dev/dri"}]}, {}, "devices"),
        ({"CapAdd": ["NET_ADMIN"]}, {}, "cap_add"),
        ({"NetworkMode": "host"}, {}, "network_mode"),
        ({"NetworkMode": "container:web"}, {}, "network_mode"),
        ({"Links": ["/web:web"]}, {}, "links"),
        ({"PidMode": "host"}, {}, "pid"),
        ({"ReadonlyRootfs": True}, {}, "read_only"),
        ({"ShmSize": 1 << 30}, {}, "shm_size"),
        ({"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}}, {}, "logging"),
        ({"PublishAllPorts": True}, {}, "publish_all"),
        ({"AutoRemove": True}, {}, "auto_remove"),
        ({"NeverHeardOf": {"a": 1}}, {}, "NeverHeardOf"),
        ({}, {"Hostname": "mail"}, "hostname"),
        ({}, {"Tty": True}, "tty"),
        ({}, {"WorkingDir": "/srv"}, "working_dir"),
    ],
)
def test_what_no_workload_has_is_named(host: dict[str, Any], config: dict[str, Any], key: str) -> None:
    each = only(proposed(foreign(host=host, config=config)))
    assert left_out(each) == {f"db.{key}"}
    assert all(finding.message and finding.next_step for finding in each.workload.findings)


def test_mounts_stay_on_the_data_that_they_have() -> None:
    anonymous = "a" * 64
    each = only(
        proposed(
            foreign(
                mounts=[
                    {"Type": "bind", "Source": "/srv/db/", "Destination": "/etc/db", "RW": False},
                    volume_mount("home_db", "/var/lib/db"),
                    volume_mount(anonymous, "/var/log/db"),
                ]
            ),
            volumes={"home_db": local(**{"com.docker.compose.volume": "db"}), anonymous: local()},
        )
    )
    assert each.workload.document["volumes"] == [
        {"target": "/etc/db", "scope": "absolute", "source": "/srv/db", "read_only": True},
        {"target": "/var/lib/db", "scope": "named", "source": "db", "engine_volume": "home_db"},
        {"target": "/var/log/db", "scope": "named", "source": "var-log-db", "engine_volume": anonymous},
    ]
    assert each.lost == ()
    assert [volume.engine_volume for volume in parse_workload_json(each.workload.document).volumes] == [
        "",
        "home_db",
        anonymous,
    ]


def test_a_mount_that_can_t_be_kept_is_named_and_lost_where_the_container_writes_to_it() -> None:
    each = only(
        proposed(
            foreign(
                mounts=[
                    {"Type": "bind", "Source": "/etc/localtime", "Destination": "/etc/localtime", "RW": False},
                    volume_mount("share", "/share"),
                    volume_mount("disk", "/disk"),
                    {"Type": "npipe", "Source": "x", "Destination": "/pipe", "RW": True},
                ]
            ),
            volumes={
                "share": ForeignVolume(driver="nfs", options=(), labels={}),
                "disk": ForeignVolume(driver="local", options=("device",), labels={}),
            },
            files=("/etc/localtime",),
        )
    )
    assert "volumes" not in each.workload.document
    assert left_out(each) == {f"db.volumes.{target}" for target in ("/etc/localtime", "/share", "/disk", "/pipe")}
    assert each.lost == ("/disk", "/pipe", "/share")


def test_a_volume_of_which_only_a_directory_is_mounted_is_not_mounted_as_a_whole() -> None:
    part = {"Type": "volume", "Source": "home_db", "Target": "/data", "VolumeOptions": {"Subpath": "db"}}
    each = only(
        proposed(foreign(mounts=[volume_mount("home_db")], host={"Mounts": [part]}), volumes={"home_db": local()})
    )
    assert "volumes" not in each.workload.document
    assert (left_out(each), each.lost) == ({"db.volumes./data"}, ("/data",))


def test_what_it_has_written_beside_its_volumes_is_named() -> None:
    passing = ("/var", "/var/lib", "/var/lib/db", "/run", "/run/pid", "/tmp", "/scratch", "/etc", "/etc/hosts")
    mounts, tmpfs = [volume_mount("home_db", "/var/lib/db")], {"Tmpfs": {"/scratch": ""}}

    def written(*more: str) -> ProposedContainer:
        container = replace(foreign(mounts=mounts, host=tmpfs), changed=[*passing, *more])
        return only(proposed(container, volumes={"home_db": local()}))

    assert left_out(written()) == set()
    each = written("/app", "/app/db.sqlite", "/var/lib/other")
    assert left_out(each) == {"db.layer"}
    (finding,) = [finding for finding in each.workload.findings if finding.path == "db.layer"]
    assert "/app/db.sqlite and 1 more" in finding.message


def test_an_address_of_its_own_choice_is_named() -> None:
    container = foreign()
    networks = {"bridge": {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}}
    fixed = replace(container, container={**container.container, "NetworkSettings": {"Networks": networks}})
    assert left_out(only(proposed(fixed))) == {"db.ip_address"}


def test_of_containers_that_would_be_called_alike_each_keeps_its_own_name() -> None:
    service = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    proposal = proposed(foreign("web"), foreign("shop-web-1", config={"Labels": service}))
    assert [each.workload.name for each in proposal.containers] == ["web", "shop-web-1"]


def test_of_one_that_compose_made_it_is_told_what_would_make_it_again_and_who_would_miss_it() -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    db = foreign("shop-db-1", config={"Labels": labels})
    each = only(propose_containers([db], project=None, volumes={}, files=(), beside={"shop": ["shop-web-1"]}))
    assert left_out(each) == {"shop-db-1.networks"}
    assert "shop-db-1.compose" in {finding.path for finding in each.workload.findings}
    assert left_out(only(proposed(db))) == set()


def test_containers_of_a_compose_project_keep_their_names_their_order_and_what_they_share() -> None:
    def service(name: str, waits_for: str = "") -> dict[str, str]:
        label = "com.docker.compose."
        return {f"{label}project": "Shop", f"{label}service": name, f"{label}depends_on": waits_for}

    web = foreign(
        "shop-web-1",
        config={"Labels": service("web", "db:service_healthy:false")},
        host={"NetworkMode": "shop_default"},
        mounts=[volume_mount("shop_media", "/media")],
        networks=("Shop_default",),
    )
    db = foreign(
        "shop-db-1", config={"Labels": service("db")}, mounts=[volume_mount("shop_media", "/m")], networks=("own",)
    )
    proposal = proposed(web, db, volumes={"shop_media": local()})
    assert [each.workload.name for each in proposal.containers] == ["db", "web"]
    assert [each.workload.document["project"] for each in proposal.containers] == ["shop", "shop"]
    for each in proposal.containers:
        volumes = each.workload.document["volumes"]
        assert isinstance(volumes, list)
        assert (volumes[0]["scope"], volumes[0]["engine_volume"]) == ("project_named", "shop_media")
        assert "labels" not in each.workload.document
    assert [left_out(each) for each in proposal.containers] == [{"shop-db-1.networks"}, set()]
    assert proposal.findings == ()


def test_a_volume_that_containers_of_several_projects_share_is_told() -> None:
    one, two = (foreign(name, mounts=[volume_mount("media")]) for name in ("one", "two"))
    (finding,) = proposed(one, two, volumes={"media": local()}).findings
    assert finding.path == "volumes.media"
    assert proposed(one, two, project="home", volumes={"media": local()}).findings == ()


@pytest.mark.parametrize(
    ("written", "tags", "digests", "image"),
    [
        ("shop/db:1", ["shop/db:1"], [], "shop/db:1"),
        ("shop/db", ["shop/db:latest"], [f"shop/db@{DIGEST}"], f"shop/db:latest@{DIGEST}"),
        ("redis", ["redis:latest"], [f"redis@{DIGEST}"], f"redis:latest@{DIGEST}"),
        (DIGEST, ["shop/db:1"], [], "shop/db:1"),
        (DIGEST, [], [f"shop/db@{DIGEST}"], f"shop/db@{DIGEST}"),
        ("host:5000/db:1", ["host:5000/db:1"], [f"other:5000/db@{DIGEST}"], "host:5000/db:1"),
        (DIGEST, [], [], None),
    ],
)
def test_the_image_is_named_with_the_digest_of_its_own_registry(
    written: str, tags: list[str], digests: list[str], image: str | None
) -> None:
    each = only(proposed(foreign(config={"Image": written}, image={**IMAGE, "RepoTags": tags, "RepoDigests": digests})))
    source = each.workload.document["source"]
    assert isinstance(source, dict)
    assert source.get("image") == image
    assert ("db.image" in left_out(each)) == (image is None)


def test_a_container_without_its_image_is_proposed_with_all_that_it_has() -> None:
    each = only(proposed(foreign(image={}, config={"Env": ["A=b"], "Cmd": ["x"]})))
    assert each.workload.document["env"] == {"A": "b"}
    assert each.workload.document["command"] == ["x"]
    with pytest.raises(InvalidInput):
        parse_workload_json(only(proposed(foreign(image={}, config={"Image": DIGEST}))).workload.document)
