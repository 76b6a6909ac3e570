"""A Docker Engine of one's own, below one directory, for machines where none runs and for tests that kill engines.

Standard library only, because ``scripts/with_engine.py`` uses it on a machine where nothing else is installed yet.
Everything the engine keeps lies below its run directory; nothing outside is touched but the bridge ``docker0`` and its
firewall rules, and not even these with ``network=False``. A process is signalled only after its command line proved
that it belongs to that directory.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_LONGEST_SOCKET: Final = 107
"""Bytes of a socket's path that the kernel takes."""
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAIL: Final = 25
_ADDRESSES: Final = "base=10.213.0.0/16,size=24"
"""For 256 networks of 250 containers. By itself an engine has addresses for thirty, and those that a killed one left
behind keep theirs until the host is started anew."""


class EngineTrouble(Exception):
    """The engine could not be started or stopped; the message says why, in words for the person at the terminal."""


class DockerEngine:
    """One ``dockerd`` with everything it needs below ``run_dir``.

    Args:
        run_dir: short enough for sockets below it (``EngineTrouble`` otherwise); made if missing.
        network: ``False`` for an engine without networks for its containers, of which several can run side by side:
            it lives in a network namespace of its own, because an engine without a bridge removes everybody's.
        say: called with one line about each thing done.
    """

    def __init__(self, run_dir: Path, *, network: bool = True, say: Callable[[str], None] = lambda _line: None) -> None:
        self.run_dir = run_dir
        self.socket = run_dir / "docker.sock"
        self.data_root = run_dir / "data"
        self._exec_root = run_dir / "exec"
        self._pid_file = run_dir / "dockerd.pid"
        self._containerd_pid_file = self._exec_root / "containerd" / "containerd.pid"
        self._log = run_dir / "dockerd.log"
        self._network = network
        self._say = say
        self._child: subprocess.Popen[bytes] | None = None
        longest = self._exec_root / "containerd" / "containerd-debug.sock"
        if len(os.fsencode(longest)) > _LONGEST_SOCKET:
            raise EngineTrouble(f"{run_dir} is too long a path for sockets below it; choose a shorter one.")

    @property
    def host(self) -> str:
        """What DOCKER_HOST has to be to reach it."""
        return f"unix://{self.socket}"

    def answers(self) -> bool:
        return answers(self.host)

    def start(self, timeout: float = 60.0) -> None:
        """Start it and wait until it answers; stale files and processes of one that was killed are cleared first.

        Raises:
            EngineTrouble: with the end of the engine's log.
        """
        program = shutil.which("dockerd", path=_SYSTEM_PATH)
        if program is None:
            raise EngineTrouble("dockerd is not installed; `make setup` installs it (package docker.io).")
        if os.geteuid() != 0:
            raise EngineTrouble("A Docker Engine needs root. Run this as root, or set DOCKER_HOST to one that runs.")
        self._end_daemons()
        for directory in (self.run_dir, self.data_root, self._exec_root):
            directory.mkdir(mode=0o700, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        command = [program, "--host", self.host, "--data-root", str(self.data_root)]
        command += ["--exec-root", str(self._exec_root), "--pidfile", str(self._pid_file)]
        if self._network:
            command += ["--default-address-pool", _ADDRESSES]
        else:
            command += ["--bridge", "none", "--iptables=false", "--ip-forward=false"]
            command = ["unshare", "--net", *command]
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(  # noqa: S603 - the program was looked up in the system's own directories
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": f"{_SYSTEM_PATH}:{os.environ.get('PATH', '')}"},
            )
        deadline = time.monotonic() + timeout
        while not self.answers():
            if self._child.poll() is not None:
                raise EngineTrouble(f"dockerd ended with {self._child.returncode}. The end of its log:\n{self._tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise EngineTrouble(f"dockerd did not answer within {timeout:g} s. The end of its log:\n{self._tail()}")
            time.sleep(0.05)

    def stop(self, timeout: float = 30.0) -> None:
        """End it and its containers: TERM, and KILL after ``timeout`` seconds. Fine if it does not run."""
        pid = self._daemon()
        if pid is not None:
            _end(pid, timeout)
        self._reap()
        self._end_daemons()
        _kill_all(self._families())
        self._unmount()

    def kill(self) -> None:
        """KILL the engine as a crash would, and wait until its orphaned containerd is gone. Containers live on."""
        pid = self._daemon()
        if pid is not None:
            _signal(pid, signal.SIGKILL)
            _wait(pid, 10)
        self._reap()
        self._end_daemons()

    def suspend(self) -> None:
        """Have it hang: it takes connections and answers none, until :meth:`resume`."""
        pid = self._daemon()
        if pid is None:
            raise EngineTrouble("there is no engine that could hang; it does not run.")
        _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on after :meth:`suspend`. Fine if it does not hang, or not run."""
        pid = self._daemon()
        if pid is not None:
            _signal(pid, signal.SIGCONT)

    def lose_power(self) -> None:
        """End everything at once, containers too, and forget what a host keeps in memory."""
        daemons = {pid for pid in (self._daemon(), self._own(self._containerd_pid_file)) if pid is not None}
        _kill_all(daemons | self._families())
        self._reap()
        self._end_daemons()
        _kill_all(self._families())
        self._unmount()
        shutil.rmtree(self._exec_root, ignore_errors=True)

    def discard(self) -> None:
        """Stop whatever is left of it and remove all that it kept."""
        self.stop()
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def _daemon(self) -> int | None:
        if self._child is not None and self._child.poll() is None:
            return self._child.pid
        return self._own(self._pid_file)

    def _own(self, pid_file: Path) -> int | None:
        """The process of a pid file, if it runs and its command line names our directory."""
        try:
            pid = int(pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if os.fsencode(self.run_dir) in _command_line(pid) else None

    def _end_daemons(self) -> None:
        """End what a killed engine left: the daemon itself, and its containerd, which would lock the data."""
        for name, pid_file in (("dockerd", self._pid_file), ("containerd", self._containerd_pid_file)):
            pid = self._own(pid_file)
            if pid is not None and not _wait(pid, 2):
                self._say(f"ending a leftover {name} (process {pid})")
                _end(pid, 10)
            pid_file.unlink(missing_ok=True)

    def _families(self) -> set[int]:
        """The shims of our containers, and everything that runs below them."""
        wanted = os.fsencode(self._exec_root)
        parents = {pid: _parent(pid) for pid in _processes()}
        found = {pid for pid in parents if b"containerd-shim" in (line := _command_line(pid)) and wanted in line}
        grown = True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            found |= more
            grown = bool(more)
        return found

    def _unmount(self) -> None:
        inside = os.fsdecode(os.fsencode(self.run_dir)) + "/"
        with open("/proc/self/mountinfo") as table:
            points = [line.split()[4].encode().decode("unicode_escape") for line in table]
        for point in sorted((p for p in points if p.startswith(inside)), key=len, reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False)  # noqa: S603, S607 - a path of our own directory

    def _reap(self) -> None:
        if self._child is not None:
            self._child.wait()
            self._child = None

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_TAIL:])


@contextlib.contextmanager
def private_engine() -> Iterator[DockerEngine]:
    """An engine without network, beside any other, gone with all it kept at the end."""
    engine = DockerEngine(Path(tempfile.mkdtemp(prefix="hf-engine-")), network=False)
    try:
        engine.start()
        yield engine
    finally:
        engine.discard()


def answers(host: str, timeout: float = 5.0) -> bool:
    """Whether a Docker Engine answers at ``host`` (``unix://…``, or ``tcp://…`` without TLS)."""
    scheme, _, place = host.partition("://")
    connection: http.client.HTTPConnection
    if scheme == "unix":
        connection = _UnixConnection(place, timeout)
    elif scheme in ("tcp", "http"):
        connection = http.client.HTTPConnection(place, timeout=timeout)
    else:
        return False
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _thaw(pid: int) -> None:
    """Let a frozen process of a paused container die; the two generations of control groups freeze differently."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers == "freezer" and group != "/":
                Path(f"/sys/fs/cgroup/freezer{group}/freezer.state").write_text("THAWED")
            if not controllers and group != "/":
                Path(f"/sys/fs/cgroup{group}/cgroup.freeze").write_text("0")


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait(pid: int, timeout: float) -> bool:
    """Wait until a process has ended, our child or not. Whether it has."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], timeout)[0])
    finally:
        os.close(descriptor)


def _end(pid: int, timeout: float) -> None:
    _signal(pid, signal.SIGTERM)
    if not _wait(pid, timeout):
        _signal(pid, signal.SIGKILL)
        _wait(pid, 10)


def _kill_all(pids: set[int]) -> None:
    for pid in pids:
        _thaw(pid)
        _signal(pid, signal.SIGKILL)
    for pid in pids:
        _wait(pid, 5)
