"""Whether what telemetry needs from outside is there: collectors, a port, a directory with room."""

import errno
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from c2cotel import redis
from c2cotel.otel.checks import Check, State
from c2cotel.otel.exporters import Signal, find_exporter, make_exporter
from c2cotel.otel.telemetry import exporter_names
from c2cotel.settings import Settings, SettingsError, without_password

Found: TypeAlias = tuple[State, str, str]
"""State, text and remedy of a check."""

# Seconds to wait for a collector or a server of metrics.
_PATIENCE = 2.0
# A slab of some thousand series has about 2 MB; a service has some dozen.
_ROOM = 16 * 2**20
_PROBE = 128 * 1024


def check_endpoints(settings: Settings) -> Iterator[Check]:
    """Connect to each collector, and send it an empty message."""
    if settings.otel.disabled:
        return
    otel = settings.otel
    for signal, chosen, endpoint in (
        ("traces", otel.traces_exporter, otel.otlp_traces_endpoint),
        ("logs", otel.logs_exporter, otel.otlp_logs_endpoint),
        ("metrics", otel.metrics_exporter, otel.otlp_metrics_endpoint),
    ):
        for name in exporter_names(chosen, endpoint, settings):
            if name.startswith("otlp"):
                yield _endpoint(signal, name)  # type: ignore[arg-type]  # literals above


def _endpoint(signal: Signal, name: str) -> Check:
    title = f"OTLP {signal}"
    try:
        exporter = make_exporter(find_exporter(signal, name))
    except Exception as error:  # noqa: BLE001 - it is what the report is about
        return Check(title, "FAIL", str(error), "Until then nothing is sent.")
    endpoint = str(getattr(exporter, "_endpoint", ""))
    shown = without_password(endpoint)
    client: Any = getattr(exporter, "_client", None)
    if not hasattr(client, "_transport"):
        return Check(title, *_connect(endpoint, shown))
    from requests.utils import get_environ_proxies

    proxies = get_environ_proxies(endpoint)
    if not proxies and (state := _connect(endpoint, shown))[0] == "FAIL":
        return Check(title, *state)
    # As the exporter sends it: with its headers, certificates and compression.
    result = client._transport.request(  # noqa: SLF001 - no public way to try
        "POST",
        endpoint,
        headers=client._headers,  # noqa: SLF001 - likewise
        data=client._compress(b""),  # noqa: SLF001 - likewise
        timeout=_PATIENCE,
    )
    return Check(title, *_judge(result, shown))


def _connect(endpoint: str, shown: str) -> Found:
    url = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    try:
        port = url.port or {"http": 80, "https": 443}.get(url.scheme, 4317)
        socket.create_connection((url.hostname or "", port), _PATIENCE).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return "FAIL", f"{shown}: {reason}", "Start the collector, or correct the endpoint."
    return "ok", f"{shown} takes connections", ""


def _judge(result: Any, shown: str) -> Found:
    status = result.status_code
    if status is None:
        what = f"does not answer within {_PATIENCE:.0f} s: {type(result.error).__name__}"
        return "FAIL", f"{shown} {what}", "Is it an OTLP/HTTP endpoint (often port 4318)?"
    text = f"{shown} answers {status} {result.reason or ''}".rstrip()
    if status in {401, 403}:
        return "FAIL", text, "Check OTEL_EXPORTER_OTLP_HEADERS."
    if status in {404, 405}:
        remedy = "OTEL_EXPORTER_OTLP_ENDPOINT is a base, /v1/… is added; the others are whole."
        return "FAIL", text, remedy
    if status == 400:  # noqa: PLR2004 - HTTP's
        return "warn", text, "It may not like the empty message of this check."
    if status >= 300:  # noqa: PLR2004 - HTTP's
        return "FAIL", text, "Look into the collector's log."
    return "ok", text, ""


def check_port(settings: Settings) -> Iterator[Check]:
    """Whether the port of the scrape is free, or served by one of us."""
    otel = settings.otel
    host, port = settings.prometheus.host, settings.prometheus.port
    variable = "C2C_PROMETHEUS_PORT"
    if port is None and "prometheus" in (otel.metrics_exporter or ()):
        host, port = otel.prometheus_host, otel.prometheus_port
        variable = "OTEL_EXPORTER_PROMETHEUS_PORT"
    if port is None or otel.disabled:
        yield Check("scrape port", "ok", "none: no C2C_PROMETHEUS_PORT")
        return
    title = f"scrape port {port}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            yield Check(title, *_who_serves(host, port, variable))
        else:
            where = f"{host or 'all interfaces'}: {error.strerror or error}"
            yield Check(title, "FAIL", f"cannot listen on {where}", f"Change {variable}.")
    else:
        yield Check(title, "ok", f"free on {host or 'all interfaces'}")


def _who_serves(host: str, port: int, variable: str) -> Found:
    import http.client

    from prometheus_client.parser import text_string_to_metric_families

    connection = http.client.HTTPConnection(host or "localhost", port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        families = text_string_to_metric_families(answer.read().decode())
        told = [sample.labels for family in families for sample in family.samples]
    except TimeoutError:
        # It may be one of us, on a busy machine.
        text = f"taken, by what does not answer within {_PATIENCE:g} s"
        return "warn", text, f"If that is another program, stop it, or change {variable}."
    except (OSError, ValueError, http.client.HTTPException):
        told = []
    finally:
        connection.close()
    for labels in told:
        if labels.get("telemetry_distro_name") == "c2cotel":
            return "ok", f"served by c2cotel already, for {labels.get('service_name', '?')}", ""
    if told and (answer.getheader("Server") or "").startswith("c2cotel"):
        return "ok", "served by c2cotel already", ""
    return "FAIL", "taken by another program", f"Stop it, or change {variable}."


def check_redis(settings: Settings) -> Iterator[Check]:
    """Whether the processes of several hosts can agree."""
    title = "Redis"
    try:
        connections = redis.connect(settings.redis)
    except SettingsError as error:
        yield Check(title, "FAIL", str(error))
        return
    if connections is None:
        yield Check(title, "ok", "not configured: broadcasts reach the processes of one host")
        return
    try:
        connections.primary.ping()
    except Exception as error:  # noqa: BLE001 - whatever the server or the library answers is told
        text = f"{connections.description}: {without_password(str(error)) or type(error).__name__}"
        remedy = "Start it, or let it be reached: until then hosts do not hear of each other."
        yield Check(title, "FAIL", text, remedy)
    else:
        yield Check(title, "ok", f"{connections.description} answers")
    finally:
        connections.close()


def check_run_directory(environ: Mapping[str, str], settings: Settings) -> Iterator[Check]:
    """Whether the processes of a service can count together."""
    title = "run directory"
    if named := settings.metrics.run_dir:
        refused = _refusal(_nearest(Path(named)))
        if refused:
            remedy = "Make it writable, or unset C2C_RUN_DIR: a place is found then."
            yield Check(title, "FAIL", f"C2C_RUN_DIR = {named}: {refused}", remedy)
        else:
            yield Check(title, "ok", named)
        return
    refusals: list[str] = []
    runtime = environ.get("XDG_RUNTIME_DIR")
    for base in ("/dev/shm", *((runtime,) if runtime else ()), tempfile.gettempdir()):  # noqa: S108 - as metrics.directory
        refused = _refusal(Path(base))
        if not refused:
            text = f"made in {base} by the first process"
            if refusals:
                text = f"{text}; not in {', '.join(refusals)}"
                yield Check(title, "warn", text, "Set C2C_RUN_DIR to choose another.")
            else:
                yield Check(title, "ok", text)
            return
        refusals.append(f"{base} ({refused})")
    remedy = "Set C2C_RUN_DIR to a writable directory; without one each process counts alone."
    yield Check(title, "FAIL", f"nowhere: {', '.join(refusals)}", remedy)


def _nearest(path: Path) -> Path:
    """*path*, or the directory in which it would be made."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _refusal(directory: Path) -> str:
    """Why nothing can be kept in *directory*, if so. Leaves nothing behind."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            os.posix_fallocate(file.fileno(), 0, _PROBE)
            free = os.fstatvfs(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    room = free.f_bavail * free.f_frsize
    return "" if room >= _ROOM else f"only {room // 2**20} MB free"
