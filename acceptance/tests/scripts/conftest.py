"""An application of its own, and scripts with it: each in a process, as a cron job is."""

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from c2cotel_acceptance.telemetry import OtlpReceiver

INI = """
[DEFAULT]
greeting = hello

[app:tiles]
paste.app_factory = script_app:main
c2c.secret = correct-horse-battery
said = %(greeting)s
place = %(PLACE)s

[filter:one]
paste.filter_factory = script_app:one

[pipeline:main]
pipeline = one tiles

[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = INFO
handlers = console
[handler_console]
class = StreamHandler
kwargs = {'stream': 'ext://sys.stderr'}
level = NOTSET
formatter = plain
[formatter_plain]
format = %(levelname)s [%(request_id)s] %(message)s
"""

APP = """
from pyramid.config import Configurator

def one(global_conf):
    return lambda application: application

def main(global_conf, **settings):
    config = Configurator(settings=settings)
    config.include("c2cotel")
    config.add_route("tile", "/tile/{id}")
    return config.make_wsgi_app()
"""

SCRIPT = """
import argparse, logging, sys
import c2cotel.setup_process

def main():
    parser = argparse.ArgumentParser(description="My script.")
    parser.add_argument("--password")
    c2cotel.setup_process.fill_arguments(parser, use_attribute=True)
    args = parser.parse_args()
    env = c2cotel.setup_process.bootstrap_application_from_options(args)
    settings = env["registry"].settings
    logging.getLogger("tiles").info("%s %s", settings.get("said"), settings.get("place"))
    BODY

if __name__ == "__main__":
    sys.exit(c2cotel.setup_process.run(main))
"""


@dataclass
class Ended:
    """A script that has ended."""

    status: int
    output: str
    errors: str


class Runner:
    """Runs scripts in a folder that has the application."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "production.ini").write_text(INI)
        (folder / "script_app.py").write_text(APP)

    def start(self, body="", *arguments, script=SCRIPT, **environ):
        path = self.folder / "import_tiles.py"
        path.write_text(script.replace("BODY", body))
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("C2C_", "OTEL_", "LOG_", "GIT_HASH", "SENTRY_"))
        }
        return subprocess.Popen(
            [sys.executable, path, *arguments],
            env={
                **kept,
                "C2C_RUN_DIR": str(self.folder / "run"),
                "PLACE": "here",
                "PYTHONPATH": str(self.folder),
                "PYTHONWARNINGS": "ignore",
                **environ,
            },
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, body="", *arguments, script=SCRIPT, **environ):
        if script is SCRIPT:
            arguments = ("--config-uri", "c2c://production.ini", *arguments)
        with self.start(body, *arguments, script=script, **environ) as process:
            output, errors = process.communicate(timeout=60)
        return Ended(process.returncode, output, errors)


@pytest.fixture
def scripts(tmp_path):
    return Runner(tmp_path)


@pytest.fixture
def collector():
    with OtlpReceiver() as receiver:
        yield receiver
