"""``c2cotel doctor``: what telemetry this environment gives, and what stands in its way."""

import os
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from c2cotel.cli._output import print_json
from c2cotel.cli._settings import add_config_uri, loaded_from, print_table

if TYPE_CHECKING:
    from c2cotel.otel.checks import Check
    from c2cotel.settings import Loaded, Settings

HELP = "say what is configured, what is active, and whether it can work"
ABOUT = """\
To be run as the application is: same user, environment and machine. Nothing is
changed, no port is kept, and no telemetry is sent but an empty message to each
collector. With --json it is an object: ok (a boolean), settings (those that are
not their default, as `c2cotel settings --json` has them) and checks, each with
name, state (ok, warn or FAIL), text and remedy."""
EXAMPLES = """\
c2cotel doctor
c2cotel doctor production.ini
c2cotel doctor --json | jq '.checks[] | select(.state == "FAIL")'
"""
FAILS = "a check failed; its line says what to do"


def add_arguments(parser: ArgumentParser) -> None:
    """One optional ini file; the form of output."""
    add_config_uri(parser)
    parser.add_argument("--json", action="store_true", help="for programs: one object")


def run(args: Namespace) -> int:
    """Print what is set, then one line a check; 1 if one of them failed."""
    from c2cotel.settings import rows

    loaded = loaded_from(args.config_uri)
    table = [row for row in rows(loaded) if row.origin != "default"]
    hide = _secrets(os.environ)
    if args.json:
        checks = [_without(check, hide) for check in _checks(loaded, os.environ)]
        told = {"ok": not _failed(checks), "settings": table, "checks": checks}
        print_json(told)
        return 1 if _failed(checks) else 0
    if table:
        print_table(table)
        print()
    checks = []
    for check in _checks(loaded, os.environ):
        checks.append(_without(check, hide))
        _print(checks[-1])
        # The collectors may let us wait: what is known is shown meanwhile.
        sys.stdout.flush()
    return 1 if _failed(checks) else 0


def _checks(loaded: "Loaded", environ: Mapping[str, str]) -> "Iterator[Check]":
    environ = dict(environ)
    with _without_variable("OTEL_PROPAGATORS"):
        from c2cotel.otel import checks, network

    yield from checks.check_settings(loaded)
    yield from checks.check_distro(environ)
    yield from checks.check_versions()
    yield from checks.check_plan(loaded, environ)
    yield from network.check_endpoints(loaded.settings)
    yield from network.check_port(loaded.settings)
    yield from network.check_run_directory(environ, loaded.settings)
    yield from network.check_redis(loaded.settings)
    yield from _check_access(loaded.settings)


def _check_access(settings: "Settings") -> "Iterator[Check]":
    """Whether anybody can log in."""
    from c2cotel.otel.checks import Check

    with warnings.catch_warnings():
        # Pyramid's own, about setuptools: not what is asked for here.
        warnings.simplefilter("ignore")
        from c2cotel.auth.core import AuthenticationType, authentication_type, missing_for_github

    title = "access"
    remedy = "Set C2C_SECRET, or the four C2C_AUTH_GITHUB_ variables of the README."
    match authentication_type(settings):
        case AuthenticationType.SECRET:
            yield Check(title, "ok", "by C2C_SECRET")
        case AuthenticationType.GITHUB:
            yield Check(title, "ok", f"by rights on {settings.auth.github.repository} at GitHub")
        case _ if lacking := missing_for_github(settings):
            yield Check(title, "FAIL", lacking, remedy)
        case _:
            yield Check(title, "ok", "nobody: the protected views answer 403")


@contextmanager
def _without_variable(name: str) -> Iterator[None]:
    """OpenTelemetry cannot be imported with a wrong one: that is to be told, not to happen here."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


def _failed(checks: "Sequence[Check]") -> bool:
    return any(check.state == "FAIL" for check in checks)


def _print(check: "Check") -> None:
    remedy = f"  → {check.remedy}" if check.remedy else ""
    print(f"{check.state:<4}  {check.name:<23}  {' '.join(check.text.split())}{remedy}")


def _secrets(environ: Mapping[str, str]) -> list[str]:
    """What must not appear, whatever library says it: the values of headers to collectors."""
    headers = (
        value
        for name, value in environ.items()
        if name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("HEADERS")
    )
    pairs = (pair for header in headers for pair in header.split(","))
    values = (pair.partition("=")[2].strip() for pair in pairs)
    return sorted({value for value in values if value}, key=len, reverse=True)


def _without(check: "Check", secrets: Sequence[str]) -> "Check":
    import msgspec

    text, remedy = check.text, check.remedy
    for secret in secrets:
        text, remedy = text.replace(secret, "***"), remedy.replace(secret, "***")
    return msgspec.structs.replace(check, text=text, remedy=remedy)
