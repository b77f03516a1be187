"""Free ports, temporary folders, and libraries that only servers need."""

import contextlib
import importlib
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from c2cotel_acceptance.processes import MissingError

LOCALHOST = "127.0.0.1"
START_TIMEOUT = 30.0
_PORTS = (20_000, 32_000)  # below Linux' net.ipv4.ip_local_port_range


def free_port(host: str = LOCALHOST) -> int:
    """A TCP port that is free now; nothing keeps it so.

    Not one of those that the system gives to outgoing connections: under load, one of these would
    soon take it.
    """
    for port in random.sample(range(*_PORTS), 100):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind((host, port))
            return port
    raise RuntimeError(f"No free port between {_PORTS[0]} and {_PORTS[1]} on {host}")


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port of localhost that refuses connections for as long as the ``with`` lasts."""
    # Bound and never listening: nobody else can take it meanwhile.
    with socket.socket() as holder:
        holder.bind((LOCALHOST, 0))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def temporary_directory(name: str) -> Iterator[Path]:
    """A new folder that other system users may enter; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"c2cotel-{name}-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


def library(name: str) -> Any:
    """Import *name*, or say what installs it."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise MissingError(f"This needs {name}: pip install 'c2cotel[demo]'") from error
    return module
