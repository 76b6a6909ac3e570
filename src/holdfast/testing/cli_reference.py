"""The reference page of the command line, made of the commands' own help.

``python -m holdfast.testing.cli_reference > docs/reference/cli.md`` writes the page anew; a test holds it current.
"""

from __future__ import annotations

import re
import sys
from typing import Final

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from holdfast.cli.main import create_cli

_HEAD: Final = """\
# Command line

`holdfast <noun> <verb>`, and the verbs people reach for first on their own. Every command but `serve`, `recover`,
`repository key`, `repository take-over`, `user recover` and `snapshot export --offline` asks a server; those work on
the data directory itself, under its lock where they change it. `systemd-unit` only prints.

This page is written by `python -m holdfast.testing.cli_reference`.

## Which server, and as whom

| what | option | environment | otherwise |
|---|---|---|---|
| the server | `--url` | `HOLDFAST_URL` | `http://127.0.0.1:8484` |
| a token | `--token-file` | `HOLDFAST_TOKEN`, `HOLDFAST_TOKEN_FILE` | `holdfast login`, else `admin-token` |

The first one that is given wins, from left to right. Who is signed in stands in `holdfast/sessions.json` in
`XDG_CONFIG_HOME`, else `~/.config`, for each server; only its owner can read it. `admin-token` is in this host's data
directory, `HOLDFAST_DATA_DIR`, else `/var/lib/holdfast`, until the first admin is made. A token or a password is never
given as an option: others on the host could read it. `holdfast serve` and `holdfast recover` take their
[settings](settings.md) from `HOLDFAST_*` as well.

## What is written where

- The result goes to stdout, everything beside it (progress, questions, warnings, errors) to stderr.
- With `--json` stdout is one JSON document: what the API answered, see [the API](api.md). A failure is a document too:
  `{"error": {"code", "message", "next_step", "details"}}`. Only `logs --follow --json` writes one document a line.
- An error is `error: message`, then every reason if there are several, then `next: step`. The codes are listed in
  [errors](errors.md).
- Names and texts from outside (logs, notes, archives) are written with their control characters spelled out.

## Watching operations

What takes long is an operation on the server. The command shows it until it has ended: on a terminal the step with a
bar, a rate and the time left, elsewhere a line for each step. A lost connection is taken up again.
**Ctrl-C** asks on a terminal whether to cancel the operation, to stop watching, or to go on; elsewhere it stops
watching. To stop watching changes nothing: the operation goes on, and `holdfast operation watch` shows it again.
With `--detach` the command ends once the operation has begun.

## What is asked before something is destroyed

`restore`, `undo`, `restore-decision`, `workload delete` and `snapshot delete` have the workload's name typed. `--yes`
asks nothing; where nobody can be asked, they end as refused without it. `restore` and `undo` show their dry run first,
always.

## Exit codes

| code | name | meaning |
|---|---|---|
| 0 | ok | done |
| 1 | failed | tried, and it did not work out; the message says what state things were left in |
| 2 | usage | the command, or what it was given, is malformed |
| 3 | refused | understood and declined: not allowed, not confirmed, or the state of things forbids it |
| 4 | busy | something else is at work on the same object; trying again later helps |
| 5 | not found | the named thing does not exist |
| 6 | unreachable | the server, or the container engine behind it, does not answer |
| 130 | stopped | stopped watching at Ctrl-C; the operation goes on |

A restore that ended in one piece, but not as it was meant (reverted, unhealthy, waiting for a decision) is `failed`.

| class of error | HTTP | exit code |
|---|---|---|
| InvalidInput | 400 | 2 |
| Unauthorized, Forbidden | 401, 403 | 3 |
| NotFound | 404 | 5 |
| Busy | 409 with `Retry-After` | 4 |
| Conflict | 409 | 3 |
| TooLarge | 413 | 3 |
| TooMany | 429 with `Retry-After` | 4 |
| Refused | 422 with `details.problems` | 3 |
| Failed, Damaged | 422 | 1 |
| PreconditionFailed | 412 | 3 |
| ConfirmationMissing | 428 | 3 |
| Unavailable | 503 | 6 |
| NoSpace | 507 | 1 |

"""

_LEFT_OUT: Final = (
    re.compile(r"^\* `--(install-completion|show-completion|help)`.*\n", re.MULTILINE),
    re.compile(r"^\*\*Commands\*\*:\n\n(\* .*\n)+\n", re.MULTILINE),
    re.compile(r"^\*\*Options\*\*:\n\n\n", re.MULTILINE),
)
"""What is the same everywhere, lists of commands whose sections follow anyway, and what is empty then."""


def rendered() -> str:
    """The whole page."""
    command = get_command(create_cli())
    context = typer.Context(command, info_name="holdfast")
    docs = get_docs_for_click(obj=command, ctx=context, name="holdfast", indent=1)
    for pattern in _LEFT_OUT:
        docs = pattern.sub("", docs)
    docs = docs.replace("## `holdfast`", "## Commands", 1)
    return _HEAD + docs.rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(rendered())
