# ruff: noqa: INP001, T201 - a script, which says what it does
"""Pictures of the dashboards for the README, with real data: ``make pictures``.

First the example application has some good and bad minutes, and Prometheus looks on; then each
dashboard is drawn in Chromium by Grafana's own components. What nobody could read - a panel without
data, a title that is cut, a legend that is hidden - is said, and the exit status is 1. What a good
picture is of is noted beside it.

``--again`` draws what was recorded before, for those who change a dashboard.
"""

import argparse
import contextlib
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import recording
from PIL import Image

from c2cotel_acceptance import browser
from c2cotel_boards import drawn

HERE: Final = Path(__file__).parent
CACHE: Final = recording.ROOT / ".cache/pictures"
WIDTH: Final = 1600
_COLOURS: Final = 256
# The time of the last minute is written below it, and needs so many seconds on its right.
_MINUTE: Final = 60
_ROOM: Final = 25
#: What Grafana's data source says of Prometheus; rates are of four of them.
_SCRAPE: Final = 3000
#: Milliseconds, on a machine that has other work, too.
_LOADED_WITHIN: Final = 120_000
_LOADERS: Final = {".woff2": "dataurl", ".woff": "empty", ".ttf": "empty"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="of dashboards; all, if there are none")
    parser.add_argument("--again", action="store_true", help="draw what was recorded before")
    arguments = parser.parse_args()
    boards = {path.stem: path for path in sorted(HERE.parent.glob("*.json"))}
    if unknown := set(arguments.names) - set(boards):
        parser.error(f"there are {', '.join(boards)}, but no {', '.join(sorted(unknown))}")
    site = _site()
    if not arguments.again:
        recording.record(CACHE / "recorded")
    chosen = {name: boards[name] for name in arguments.names or boards}
    faults = _draw(site, chosen)
    print("\n".join(faults))
    return 1 if faults else 0


def _site() -> Path:
    """The page that draws, with all it needs."""
    for name in ("package.json", "package-lock.json"):
        (CACHE / name).parent.mkdir(parents=True, exist_ok=True)
        if not _same(HERE / name, CACHE / name):
            shutil.rmtree(CACHE / "node_modules", ignore_errors=True)
            shutil.copy(HERE / name, CACHE / name)
    modules = CACHE / "node_modules"
    if not modules.exists():
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=CACHE, check=True)  # noqa: S603 - npm
    site = CACHE / "site"
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir()
    shutil.copy(HERE / "src/index.html", site)
    (site / "public").symlink_to(modules / "@grafana/ui/dist/public")
    subprocess.run(  # noqa: S603 - what npm has installed
        [
            modules / ".bin/esbuild",
            HERE / "src/main.tsx",
            "--bundle",
            "--minify",
            "--jsx=transform",
            "--log-level=warning",
            f"--outfile={site / 'main.js'}",
            '--define:process.env.NODE_ENV="production"',
            "--define:global=window",
            *[f"--loader:{suffix}={loader}" for suffix, loader in _LOADERS.items()],
        ],
        env={**os.environ, "NODE_PATH": str(modules)},
        check=True,
    )
    return site


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()


def _draw(site: Path, boards: dict[str, Path]) -> list[str]:
    faults: list[str] = []
    drawn.PICTURES.mkdir(parents=True, exist_ok=True)
    with (
        recording.recorded(CACHE / "recorded") as (prometheus, begin, end),
        _served(site) as url,
        browser.chromium(CACHE) as chromium,
    ):
        source = {
            "prometheus": prometheus,
            "from": begin * 1000,
            "to": _with_room(end) * 1000,
            "scrape": _SCRAPE,
        }
        for name, path in boards.items():
            with chromium.visit(viewport={"width": WIDTH, "height": 800}) as visit:
                visit.page.goto(f"{url}/index.html", timeout=_LOADED_WITHIN)
                board = json.loads(path.read_text())
                asked = [board, source, WIDTH]
                found = visit.page.evaluate("asked => window.draw(...asked)", asked)
                found = [f"{name}: {fault}" for fault in [*found, *visit.errors]]
                picture = visit.page.screenshot(full_page=True)
            size = _write(drawn.PICTURES / f"{name}.png", picture)
            faults += found
            if not found:
                drawn.note(name, board)
            print(f"{name}: {size // 1000} kB", flush=True)
    return faults


def _with_room(end: float) -> float:
    """A moment at or before *end* at which no time is cut at the right edge."""
    past = end % _MINUTE
    return end if past > _ROOM else end - past - 1


def _write(path: Path, picture: bytes) -> int:
    """Few colours, which are enough here, take half of the bytes."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    few = image.quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    return path.stat().st_size


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
