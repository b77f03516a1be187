"""Print one line, version and path, for every CPython >= 3.11 on this machine."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LEAST = (3, 11)
PROGRAM = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"


def candidates() -> Iterator[Path]:
    """This one, those of the PATH, and pyenv's, whose commands on the PATH may be switched off."""
    yield Path(sys.executable).resolve()
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += sorted(pyenv.glob("versions/*/bin"), reverse=True)
    for folder in folders:
        for path in sorted(folder.glob("python3.*")):
            if re.fullmatch(r"python3\.\d+", path.name):
                yield path


def main() -> None:
    found: dict[tuple[int, int], Path] = {}
    for path in candidates():
        told = subprocess.run(
            [path, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=30
        )
        match = re.fullmatch(r"cpython (\d+)\.(\d+)\s*", told.stdout)
        if told.returncode == 0 and match:
            version = int(match[1]), int(match[2])
            if version >= LEAST:
                found.setdefault(version, path)
    # The one with the short run (see the Makefile) comes last.
    for version, path in sorted(found.items(), key=lambda it: (it[0] == (3, 12), it[0])):
        sys.stdout.write(f"{version[0]}.{version[1]} {path}\n")


if __name__ == "__main__":
    main()
