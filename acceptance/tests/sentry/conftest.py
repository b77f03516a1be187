"""``serve`` starts :mod:`sentry_app` in gunicorn, and gives the address of what it serves."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from c2cotel_acceptance import servers
from c2cotel_acceptance.servers import Gunicorn

HERE = Path(__file__).parent
SECRET = "correct-horse-battery-staple"

INI = """
[pipeline:main]
pipeline = egg:c2cotel#sentry app

[app:app]
paste.app_factory = sentry_app:main
c2c.enable_exception_handling = true
"""

_OURS = ("C2C_", "OTEL_", "GUNICORN_", "LOG_", "GIT_HASH", "SENTRY_")


@pytest.fixture
def serve(tmp_path) -> Iterator[Callable[..., Gunicorn]]:
    """``serve(*options, workers=2, wait=True, SENTRY_URL=…)``; instrumented."""
    ini = tmp_path / "production.ini"
    ini.write_text(INI)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    with contextlib.ExitStack() as stack:

        def start(*options: str, workers: int = 2, wait: bool = True, **environ: str) -> Gunicorn:
            env = {
                **kept,
                "PYTHONPATH": str(HERE),
                "PYTHONWARNINGS": "ignore",
                "C2C_SECRET": SECRET,
                "C2C_RUN_DIR": str(tmp_path / "run"),
                **environ,
            }
            gunicorn = servers.Gunicorn(
                ["--paste", str(ini), "-w", str(workers), *options],
                log=tmp_path / "gunicorn.log",
                env=env,
                cwd=tmp_path,
            )
            stack.enter_context(gunicorn)
            if wait:
                gunicorn.wait_url(f"{gunicorn.url}/hello/0")
            return gunicorn

        yield start
