"""The workload that is tortured: what it writes all the time, and how its records are read again.

It never stops writing to two volumes. For each record it replaces a small file in each (``slots/<number>``, by writing
``slots/.next`` and renaming it), then appends the record to the log of the first volume, then to that of the second. So
whatever moment it is cut off at, what is there can be judged to the last record: numbers go up by one without a gap,
the second log is at most one record behind, and each slot holds the last record of its number, or the next one.

Each run of the program is a generation of its own, which it notes in both logs before anything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

SLOTS: Final = 25
VOLUMES: Final = ("/data", "/media")
IMAGES: Final = ("holdfast-torture/writer:1", "holdfast-torture/writer:2")
"""The same program twice: what is deployed is the other one each time."""
NAME: Final = "ledger"
FIXED: Final = tuple(f"{volume}/fixed" for volume in VOLUMES)
"""What the program never touches, as it sees it."""
POISON: Final = "fixed/poison"
"""Below the first volume: the program fails on data that holds it."""
_MODULUS: Final = 1_000_003

SCRIPT: Final = f"""
trap 'exit 0' TERM
rm -f /tmp/alive /tmp/hold /tmp/held
if [ -e /data/{POISON} ]; then echo 'this data poisons me'; exit 3; fi
mkdir -p /data/slots /media/slots
read -r uuid < /proc/sys/kernel/random/uuid
generation=$((0x${{uuid%%-*}}))
number=0
if [ -s /data/log ]; then last=$(tail -n 1 /data/log); last=${{last% *}}; number=${{last##* }}; fi
say() {{ text="$1 $generation $number $(((generation * 31 + number * 7919 + ${{#1}}) % {_MODULUS}))"; }}
note() {{ echo "$text" >> /data/log; echo "$text" >> /media/log; }}
say start
note
touch /tmp/alive
while :; do
  while [ -e /tmp/hold ]; do touch /tmp/held; sleep 0.02; done
  number=$((number + 1))
  say record
  for volume in /data /media; do
    echo "$text" > $volume/slots/.next
    mv $volume/slots/.next $volume/slots/$((number % {SLOTS}))
  done
  note
  if [ $((number % 3)) = 0 ]; then sleep 0.1 & wait $!; fi
done
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log: ``start`` of a generation, after which ``number`` counts on, or a ``record``."""

    kind: str
    generation: int
    number: int

    def __str__(self) -> str:
        check = (self.generation * 31 + self.number * 7919 + len(self.kind)) % _MODULUS
        return f"{self.kind} {self.generation} {self.number} {check}"


def parsed(text: str) -> Line | None:
    """A line of a log, or the content of a slot; ``None`` if it is not as it was written."""
    words = text.split(" ")
    if len(words) != 4 or words[0] not in ("start", "record") or not all(word.isdecimal() for word in words[1:]):
        return None
    line = Line(words[0], int(words[1]), int(words[2]))
    return line if str(line) == text else None


def lines(content: bytes) -> Iterable[str]:
    """The lines of a log; one that was cut off is a line as well."""
    return content.decode("utf-8", "backslashreplace").removesuffix("\n").split("\n") if content else ()


HOOKS: Final = {
    "pre_snapshot": ["sh", "-c", "touch /tmp/hold; while [ ! -e /tmp/held ]; do sleep 0.02; done"],
    "post_snapshot": ["rm", "-f", "/tmp/hold", "/tmp/held"],
    "timeout": "20s",
}
"""Have the program stand still between two records, and go on."""


def declaration(image: str, media: dict[str, str]) -> dict[str, Any]:
    """The workload, as the API takes it.

    Args:
        media: scope and source of the second volume.
    """
    return {
        "name": NAME,
        "source": {"type": "image", "image": image},
        "volumes": [
            {"target": VOLUMES[0], "scope": "stage", "source": "data"},
            {"target": VOLUMES[1], **media},
        ],
        "health": {"type": "command", "command": ["test", "-e", "/tmp/alive"], "interval": "100ms", "deadline": "60s"},
        "restart": "always",
        "stop_grace": "10s",
        "hooks": HOOKS,
        "snapshots": {"keep": {"last": 2}},
    }
