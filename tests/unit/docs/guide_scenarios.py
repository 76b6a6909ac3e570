"""What has to be there for the commands of each guide, what a person answers, and which are not run here, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PASSWORD: Final = "correct horse battery staple"
NOTES: Final = """\
name: notes
source: {type: image, image: "registry.example/notes:1.4"}
volumes:
  - {target: /data, scope: stage, source: data}
restart: always
"""
WITH_SECRETS: Final = f"{NOTES}secrets: [NOTES_KEY, DB_PASSWORD]\n"
FORGE: Final = NOTES.replace("notes", "forge").replace("1.4", "13")
APP: Final = """\
name: app
source: {type: image, image: "registry.example/notes:1.4"}
volumes:
  - {target: /data, scope: stage, source: data}
  - {target: /uploads, scope: stage, source: uploads}
"""
POSTGRES: Final = """\
name: db
project: shop
source: {type: image, image: "registry.example/db:16"}
env: {POSTGRES_USER: shop, PGDATA: /var/lib/postgresql/data/pgdata}
secrets: [POSTGRES_PASSWORD]
volumes: [{target: /var/lib/postgresql/data, scope: stage, source: data}]
"""
STAGING: Final = NOTES.replace("name: notes", "name: staging\nproject: staging")
COMPOSE: Final = """\
name: home
services:
  db:
    image: registry.example/db:16
    environment: {POSTGRES_PASSWORD: secret}
"""
FILES: Final[Mapping[str, str]] = {
    "notes.yaml": NOTES,
    "staging.yaml": STAGING,
    "forge.yaml": FORGE,
    "app.yaml": APP,
    "postgres.yaml": POSTGRES,
    "compose.yaml": COMPOSE,
    "whole.yaml": COMPOSE,
    "hook.secret": "0123456789abcdef0123456789abcdef\n",
    "password.txt": f"{PASSWORD}\n",
    "ntfy.txt": "ntfy://ntfy.example/my-topic\n",
    "tls.pem": "first line\nsecond line\n",
    "holdfast.toml": 'data_dir = "/var/lib/holdfast"\n',
    ".env": "NOTES_KEY=one\nDB_PASSWORD=two\nCOLOUR=blue\n",
}
"""What a reader of the guides has in the directory at hand."""

NO_SERVER: Final = "is for a server that is down; tests/faults/test_disaster.py and tests/unit/cli run it"
NO_STORAGE: Final = "asks a storage far away; tests/contract runs all of that against an S3 server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How one guide is tried.

    Attributes:
        files: other than the usual ones.
        before: commands of ours that make what the guide begins with; what an earlier guide began with is there.
        meanwhile: commands of ours that come before one of the guide, by its beginning.
        typed: what is answered to a command that asks, by its beginning.
        fails: commands that are to end with another code than 0, by their beginning, and with which.
        not_run: commands that aren't run here, by their beginning, and why.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    meanwhile: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    typed: Mapping[str, str] = field(default_factory=dict)
    fails: Mapping[str, int] = field(default_factory=dict)
    not_run: Mapping[str, str] = field(default_factory=dict)


RUNNING: Final = ("apply -f notes.yaml", "deploy notes")
SNAPSHOT: Final = (*RUNNING, "snapshot create notes")
FAR: Final = "repository add far --directory /mnt/far"
GONE: Final = "workload delete {} --delete-data --yes"
SIGNED_IN: Final = ("login --username ann --password-file password.txt",)
NO_CONTAINERS: Final = "needs containers of others; tests/integration/test_take_over_on_docker.py has them"
TWICE: Final = f"{PASSWORD}\n{PASSWORD}\n"
DOCTOR: Final = {"doctor": 1}
"""It finds that this engine has no containers' directory."""

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "how-to/let-a-team-in.md": Scenario(  # the first: with it the first token ends, and who reads on is ann
        typed={
            "user create": TWICE,
            "user set-password": TWICE,
            "user remove": "bob\n",
            "login": f"ann\n{PASSWORD}\n",
            "login --username": f"{PASSWORD}\n",
            "password": f"{PASSWORD}\n{TWICE}",
        },
        meanwhile={"workload show": ("apply -f notes.yaml",), "session list": SIGNED_IN, "token create ci": SIGNED_IN},
        not_run={
            "user sign-out": "bob was removed further up",
            "user recover": NO_SERVER,
            "--token-file": "needs what user recover writes",
        },
    ),
    "how-to/audit-log.md": Scenario(before=RUNNING),
    "how-to/back-up-holdfast.md": Scenario(
        typed={"backup passphrase": TWICE, "backup verify": f"{PASSWORD}\n"},
        not_run={"backup restore": "starts the server anew; tests/faults has it die anywhere meanwhile"},
    ),
    "how-to/be-told-when-something-fails.md": Scenario(
        not_run={"notification test": "asks a mail server; tests/unit/services/test_notifications.py has one"}
    ),
    "how-to/decide-an-interrupted-restore.md": Scenario(
        not_run={"restore-decision": "no restore waits for one; tests/faults/test_decisions.py makes some that do"}
    ),
    "how-to/deploy-by-webhook.md": Scenario(
        before=RUNNING,
        typed={"webhook delete": "notes\n"},
        not_run={"webhook replay": "nothing was delivered; tests/unit/services/test_webhooks.py delivers"},
    ),
    "how-to/keep-copies-elsewhere.md": Scenario(
        before=(*SNAPSHOT, FAR), typed={"restore": "notes\n"}, not_run={"repository add far": NO_STORAGE}
    ),
    "how-to/keep-the-repository-key.md": Scenario(
        not_run={
            "repository key": "a passphrase costs seconds; tests/unit/cli/test_repository_key.py has cheap ones",
            "repository take-over": NO_SERVER,
        }
    ),
    "how-to/look-after-the-snapshots.md": Scenario(before=SNAPSHOT, typed={"snapshot prune": "prune\n"}, fails=DOCTOR),
    "how-to/move-from-compose.md": Scenario(
        typed={"secret set": TWICE},
        fails={"import compose whole.yaml": 3},  # the files are there already, from the command before
    ),
    "how-to/move-from-docker-run.md": Scenario(
        not_run=dict.fromkeys(("import container", "apply", "secret set", "deploy"), NO_CONTAINERS)
    ),
    "how-to/previews.md": Scenario(before=RUNNING, typed={"preview delete": "notes-pr-17\n"}),
    "how-to/prove-that-snapshots-restore.md": Scenario(before=SNAPSHOT),
    "how-to/pull-private-images.md": Scenario(typed={"registry add": f"{PASSWORD}\n"}),
    "how-to/reach-workloads-by-domain.md": Scenario(before=RUNNING, fails=DOCTOR),
    "how-to/read-logs.md": Scenario(before=RUNNING, not_run={"logs notes -f": "never ends"}),
    "how-to/protect-a-postgres.md": Scenario(
        before=("apply -f postgres.yaml",),  # the project of then; the guide to Compose has a db, too
        typed={"secret set": TWICE, "restore": "1\ndb\n", "undo": "db\n"},
    ),
    "how-to/protect-a-sqlite-app.md": Scenario(
        typed={"restore": "1\napp\n", "undo": "app\n"},
    ),
    "how-to/protect-a-forge.md": Scenario(
        before=("apply -f postgres.yaml", "secret set db POSTGRES_PASSWORD --file tls.pem", "deploy db"),
    ),
    "how-to/disaster-drill.md": Scenario(before=(*SNAPSHOT, FAR), fails=DOCTOR),
    "how-to/move-to-another-server.md": Scenario(
        before=(*SNAPSHOT, FAR), typed={"backup passphrase": TWICE}, fails=DOCTOR, not_run={"recover": NO_SERVER}
    ),
    "how-to/recover-on-another-machine.md": Scenario(
        before=(*SNAPSHOT, FAR, "snapshot copy notes --all --to far"),
        typed={"restore": "notes\n"},
        not_run={"recover": NO_SERVER},
    ),
    "how-to/restore-on-a-bad-day.md": Scenario(before=RUNNING, meanwhile={"snapshot diff": ("snapshot create notes",)}),
    "how-to/run-as-a-service.md": Scenario(),
    "how-to/secrets.md": Scenario(files={"notes.yaml": WITH_SECRETS}, before=RUNNING[:1], typed={"secret set": TWICE}),
    "how-to/see-what-workloads-use.md": Scenario(before=RUNNING),
    "how-to/take-snapshots-by-a-schedule.md": Scenario(before=RUNNING, fails=DOCTOR),
    "tutorial/first-steps.md": Scenario(
        before=RUNNING,
        typed={
            "restore notes --dry-run": "1\n",
            "restore": "1\nnotes\n",
            "undo": "notes\n",
            "snapshot delete": "notes\n",
        },
        fails=DOCTOR,
        not_run={"serve": "is what runs already"},
    ),
    "how-to/clone-production-into-staging.md": Scenario(  # the last: there is another notes in the end
        before=(*RUNNING, "apply -f staging.yaml", "deploy staging"),
        typed={"clone notes": "staging\n", "clone SNAPSHOT": "notes\n"},
        meanwhile={
            "clone notes --latest --as": (GONE.format("staging"),),
            "clone notes --latest --file": (GONE.format("staging"),),
            "clone SNAPSHOT": (GONE.format("notes"),),
        },
    ),
}
