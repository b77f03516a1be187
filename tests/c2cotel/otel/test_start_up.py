"""Every Python process of the application is instrumented: it must start fast."""

import json
import subprocess
import sys

from .conftest import clean_environ

IMPORTED = """
import json, sys
print(json.dumps(sorted(sys.modules)))
"""

# Most of the time that an exporter, a server or an HTTP client takes to start.
HEAVY = ["google.protobuf", "opentelemetry.sdk.metrics", "requests", "sqlalchemy"]
HEAVY += ["opentelemetry.sdk._logs", "prometheus_client", "pyramid", "urllib3"]


def heavy(done) -> list[str]:
    imported = json.loads(done.output)
    return [name for name in HEAVY if name in imported]


def test_what_is_not_needed_is_not_imported(instrumented):
    assert heavy(instrumented(IMPORTED)) == []


def test_exporters_are_imported_when_there_is_something_to_send(instrumented):
    done = instrumented(
        IMPORTED, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_METRICS_EXPORTER="none"
    )
    assert heavy(done) == ["opentelemetry.sdk._logs"]


def test_a_disabled_sdk_costs_next_to_nothing(instrumented):
    done = instrumented(IMPORTED, OTEL_SDK_DISABLED="true")
    assert heavy(done) == []
    assert "opentelemetry.sdk.trace" not in json.loads(done.output)


def test_requests_is_instrumented_when_it_is_imported(instrumented):
    code = """
import requests
print(requests.Session.send.__module__, hasattr(requests.Session.send, "__wrapped__"))
"""
    assert instrumented(code).output == "requests.sessions True\n"


def test_contribs_range_of_versions_is_not_ours(instrumented, tmp_path):
    code = """
from c2cotel import otel
print(*(part.state for part in otel.instrument().parts if part.name == "instrumentor sqlalchemy"))
"""
    versions = pretended_versions(tmp_path, sqlalchemy="2.1.0", elsewhere="1.0")
    pretend_instrumentor(tmp_path, "elsewhere")
    done = instrumented(code, PYTHONPATH=versions)
    # Of a library that is nobody's but contrib's it is true.
    (line,) = done.errors
    assert line.startswith('elsewhere only instruments "elsewhere')
    assert done.output == "on\n"
    # Without the launcher.
    plain = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environ(PYTHONPATH=versions, C2C_RUN_DIR=f"{tmp_path}/run"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert plain.stderr.splitlines() == [line]
    assert plain.stdout == "on\n"


def pretended_versions(folder, **versions) -> str:
    """A path on which distributions are of other versions than they are."""
    for name, version in versions.items():
        info = folder / "pretended" / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    return str(folder / "pretended")


def pretend_instrumentor(folder, library) -> None:
    """Let contrib have an instrumentor for version 2 of *library*, which we have not."""
    info = folder / "pretended" / f"contrib_{library}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Name: contrib-{library}\nVersion: 1\nProvides-Extra: instruments\n"
        f'Requires-Dist: {library}>=2; extra == "instruments"\n'
    )
    (info / "entry_points.txt").write_text(
        f"[opentelemetry_instrumentor]\n{library} = contrib_{library}:Instrumentor\n"
    )
