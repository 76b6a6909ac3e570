"""``holdfast serve`` that dies by SIGKILL at a named point.

``python -m holdfast.testing.crashing_server <trace> <point>``: settings come from the environment alone. For the points
see :mod:`holdfast.testing.crash`; the engine is a real one, so that none lie around calls to it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from holdfast.bootstrap import Seams, serve
from holdfast.config_reading import load_settings
from holdfast.testing.crash import CrashingFs, crashing_files
from holdfast.testing.kill_points import KillPoints

if __name__ == "__main__":
    trace, point = sys.argv[1:]
    points = KillPoints(Path(trace), point, armed=True)
    serve(load_settings(None, os.environ), Seams(fs=CrashingFs(points), files=crashing_files(points)))
