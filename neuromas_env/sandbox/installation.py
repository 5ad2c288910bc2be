"""Which interpreter runs checks, and what they may read of its installation: the standard library, no packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGES = ("site-packages", "dist-packages")

FLAGS = ("-P", "-s", "-S", "-B", "-X", "utf8", "-W", "ignore")
"""No site, no user folder, no path of the caller's. Instead of `-E`, the whole environment is replaced."""

ENVIRONMENT = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "TZ": "UTC"}
"""Sets have the same order in every check, so that the same program has the same verdict."""

START = """
import sys, types
package = types.ModuleType("sandbox")
package.__path__ = [sys.argv.pop(1)]
sys.modules["sandbox"] = package
from sandbox.{module} import main
main()
"""

# Extension modules load libraries from all over a system. They are found by loading them once.
FIND_LIBRARIES = """
import importlib, json, os, sys
for folder in sys.path:
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if ".so" in name and not name.startswith(("_test", "_xx", "xx")):
            try:
                importlib.import_module(name.split(".")[0])
            except Exception:
                pass
mapped = {line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if "/" in line}
print(json.dumps({"folders": sys.path, "libraries": sorted(mapped)}))
"""


@dataclass(frozen=True, slots=True)
class Readable:
    """What may be read: the names in the folders `listed`, and all that is in the files and folders `contents`."""

    listed: tuple[str, ...]
    contents: tuple[str, ...]


def interpreter() -> str:
    """The interpreter behind a virtual environment: the standard library is all it needs."""
    return getattr(sys, "_base_executable", None) or sys.executable


def start_command(module: str, *arguments: str) -> list[str]:
    """The command that runs `main` of a module of this package in a fresh interpreter.

    The module is imported from a package that holds nothing else, since importing `neuromas_env` would import much.
    """
    return [interpreter(), *FLAGS, "-c", START.format(module=module), str(Path(__file__).parent), *arguments]


@cache
def readable() -> Readable:
    """What Linux checks may read of this installation; found out once. Raises OSError where no interpreter runs."""
    command = [interpreter(), *FLAGS, "-c", FIND_LIBRARIES]
    found = subprocess.run(command, env=ENVIRONMENT, capture_output=True, cwd="/", check=False)
    if found.returncode != 0:
        raise OSError(f"the interpreter {interpreter()} does not run: {found.stderr[-200:].decode(errors='replace')}")
    answer = json.loads(found.stdout)
    folders = [folder for folder in answer["folders"] if os.path.isdir(folder)]
    entries = [entry.path for folder in folders for entry in os.scandir(folder) if entry.name not in PACKAGES]
    extras = ["/etc/ld.so.cache", "/usr/share/zoneinfo"]
    zipped = [path for path in answer["folders"] if os.path.isfile(path)]
    return Readable(tuple(folders), (*entries, *answer["libraries"], *extras, *zipped))
