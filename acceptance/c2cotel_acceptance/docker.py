"""Find the program ``docker``, and run it."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from operator import methodcaller
from typing import Any

from c2cotel_acceptance.containers import CompositionError
from c2cotel_acceptance.processes import MissingError

# pytest shows the line of the test instead of lines from here.
__tracebackhide__ = methodcaller("errisinstance", (CompositionError, MissingError))

_TIMED_OUT = 124  # as `timeout` of the coreutils says it


def is_set(name: str, *, default: bool) -> bool:
    """Whether the environment has *name* = 1."""
    return os.environ.get(name, "1" if default else "0") == "1"


def environ() -> dict[str, str]:
    """Our environment, with what compose files of tests usually ask for."""
    return {"DOCKER_TAG": "latest", "DOCKER_CB_HOST": "localhost", **_test_ip(), **os.environ}


def _test_ip() -> dict[str, str]:
    """The address by which others reach this machine; nothing is sent to find it."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
    ):
        probe.connect(("192.0.2.1", 9))  # https://www.rfc-editor.org/rfc/rfc5737: nobody's
        return {"TEST_IP": probe.getsockname()[0]}
    return {}


def compose(env: Mapping[str, str]) -> list[str]:
    """The command ``docker compose``, once it is sure that there is one.

    Raises:
        MissingError: there is none; the text says what to install.
    """
    docker = shutil.which("docker", path=env.get("PATH"))
    if docker is None:
        raise MissingError(
            "A composition needs docker, and there is no such program on PATH. Install Docker "
            "Engine with its compose plugin: https://docs.docker.com/engine/install/"
        )
    argv = [docker, "compose"]
    try:
        run([*argv, "version"], env=env, timeout=60)
    except CompositionError as error:
        # A docker that does not know the command goes on with how it is used.
        said = error.output.strip().partition("\n")[0].rstrip(".")
        raise MissingError(
            f"{docker} has no 'compose' (version 2 or later): {said}. "
            "Install it: https://docs.docker.com/compose/install/linux/"
        ) from None
    return argv


def run(argv: list[str], **how: Any) -> str:
    """Run it, as :func:`subprocess.run` would; return its standard output.

    Raises:
        CompositionError: it failed or timed out; it has all the output, errors included.
    """
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
    if "input" not in how:
        how.setdefault("stdin", subprocess.DEVNULL)
    try:
        done = subprocess.run(argv, check=False, **how)
    except subprocess.TimeoutExpired as error:
        told = f"{_text(error.stdout)}{_text(error.stderr)}\nEnded after {error.timeout:g} s"
        raise CompositionError(_TIMED_OUT, argv, told) from None
    except OSError as error:
        raise CompositionError(1, argv, f"It cannot be run: {error}") from error
    if done.returncode:
        raise CompositionError(done.returncode, argv, _text(done.stdout) + _text(done.stderr))
    return _text(done.stdout)


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
