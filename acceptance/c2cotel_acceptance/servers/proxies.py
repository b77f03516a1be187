"""nginx, Varnish and HAProxy, as they stand in front of an application."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from c2cotel_acceptance.processes import MissingError, Process
from c2cotel_acceptance.servers.places import (
    LOCALHOST,
    START_TIMEOUT,
    free_port,
    temporary_directory,
)
from c2cotel_acceptance.utils import retry_timeout


@dataclass(frozen=True)
class Proxy:
    """A running proxy: *url* is where it answers, *secure_url* likewise with TLS, if it does.

    *certificate* is a file: the one that its certificate is to be verified by.
    """

    url: str
    process: Process = field(repr=False)
    secure_url: str | None = None
    certificate: Path | None = None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextlib.contextmanager
def nginx(locations: Mapping[str, str], *, http: str = "") -> Iterator[Proxy]:
    """An nginx with *locations*: their directives by path; *http* are some for all of them.

    Raises:
        MissingError: it is not installed, or there is no openssl to make its certificate with.
    """
    program = installed("nginx", "nginx-light")
    with temporary_directory("nginx") as folder:
        certificate, key = _certificate(folder)
        port, secure_port = free_port(), free_port()
        texts = [f"location {path} {{\n{text}\n}}" for path, text in locations.items()]
        temporary = [
            f"{kind}_temp_path {folder};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ]
        config = folder / "nginx.conf"
        lines = [
            "daemon off;",
            "master_process off;",
            f"pid {folder / 'pid'};",
            "error_log stderr;",
            "events {}",
            "http {",
            *temporary,
            "access_log off;",
            http,
            "server {",
            f"listen {LOCALHOST}:{port};",
            f"listen {LOCALHOST}:{secure_port} ssl;",
            f"ssl_certificate {certificate};",
            f"ssl_certificate_key {key};",
            *texts,
            "}",
            "}",
        ]
        config.write_text("\n".join(lines) + "\n")
        argv = [program, "-c", str(config), "-p", str(folder), "-e", "stderr"]
        with Process(argv, log=folder / "log") as process:
            wait_for_port(process, port)
            yield Proxy(
                f"http://{LOCALHOST}:{port}",
                process,
                f"https://{LOCALHOST}:{secure_port}",
                certificate,
            )


@contextlib.contextmanager
def varnish(upstream: int, *, receive: str = "return (pass);") -> Iterator[Proxy]:
    """A Varnish in front of the port *upstream*; *receive* is its ``vcl_recv``.

    Raises:
        MissingError: it, or the C compiler that it needs, is not installed.
    """
    program = installed("varnishd", "varnish")
    if shutil.which("gcc") is None:
        raise MissingError("Varnish needs gcc: apt-get install -y --no-install-recommends gcc")
    with temporary_directory("varnish") as folder:
        port = free_port()
        vcl = folder / "default.vcl"
        backend = f'backend default {{ .host = "{LOCALHOST}"; .port = "{upstream}"; }}'
        vcl.write_text(f"vcl 4.1;\n{backend}\nsub vcl_recv {{ {receive} }}\n")
        argv = [
            *(program, "-F", "-j", "none", "-a", f"{LOCALHOST}:{port}", "-f", str(vcl)),
            *("-n", str(folder / "varnish"), "-s", "malloc,16m"),
        ]
        with Process(argv, log=folder / "log") as process:
            wait_for_port(process, port)
            yield Proxy(f"http://{LOCALHOST}:{port}", process)


@contextlib.contextmanager
def haproxy(upstream: int, *, rules: Sequence[str] = ()) -> Iterator[Proxy]:
    """A HAProxy in front of the port *upstream*; *rules* are lines of its section ``frontend``.

    Raises:
        MissingError: it is not installed.
    """
    program = installed("haproxy", "haproxy")
    with temporary_directory("haproxy") as folder:
        port = free_port()
        config = folder / "haproxy.cfg"
        lines = [
            "defaults",
            "  mode http",
            "  timeout connect 5s",
            "  timeout client 30s",
            "  timeout server 30s",
            "frontend front",
            f"  bind {LOCALHOST}:{port}",
            *(f"  {rule}" for rule in rules),
            "  default_backend back",
            "backend back",
            f"  server one {LOCALHOST}:{upstream}",
        ]
        config.write_text("\n".join(lines) + "\n")
        with Process([program, "-f", str(config), "-db"], log=folder / "log") as process:
            wait_for_port(process, port)
            yield Proxy(f"http://{LOCALHOST}:{port}", process)


def installed(name: str, package: str) -> str:
    """The path of the program *name*, which Debian's *package* installs.

    Raises:
        MissingError: it is not there.
    """
    # Not on everybody's PATH.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise MissingError(
            f"No {name} on this machine: apt-get install -y --no-install-recommends {package}"
        )
    return found


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    program = shutil.which("openssl")
    if program is None:
        raise MissingError("No openssl here: apt-get install -y --no-install-recommends openssl")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", f"subjectAltName=IP:{LOCALHOST},DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def wait_for_port(process: Process, port: int) -> None:
    """Wait until *process* listens on *port*.

    Raises:
        RuntimeError: it ended, or takes too long; the text has its output.
    """

    def listens() -> bool:
        if process.returncode is None:
            socket.create_connection((LOCALHOST, port), 5).close()
        return True

    try:
        retry_timeout(listens, START_TIMEOUT, 0.02)
    except TimeoutError as error:
        raise RuntimeError(f"{process.argv[0]}: {error}\n{process.tail()}") from error
    if process.returncode is not None:
        name = process.argv[0]
        raise RuntimeError(f"{name} ended ({process.returncode}):\n{process.tail()}")
