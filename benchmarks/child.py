"""Runs one command and says what it took: ``python -I -S child.py DESCRIPTOR COMMAND …``.

A process of its own, and a small one, because the kernel counts the memory of whoever starts a process among the
process's own peak. It imports next to nothing for the same reason.
"""

import os
import sys
import time


def main() -> int:
    """Run, report to the descriptor as four numbers, and end as the command did."""
    report, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(report, False)
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.execvp(command[0], command)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - began
    os.write(report, f"{seconds} {usage.ru_utime} {usage.ru_stime} {usage.ru_maxrss * 1024}".encode())
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
