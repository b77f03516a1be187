"""What can be said about the telemetry of this environment, without changing anything.

Each check gives lines for ``c2cotel doctor``: a name, ``ok``, ``warn`` or ``FAIL``, what was found,
and what to do about it. Nothing raises, and nothing waits longer than some seconds.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distribution, distributions, entry_points
from typing import Any, Literal

import msgspec
from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from c2cotel.settings import Loaded

State = Literal["ok", "warn", "FAIL"]

_OURS = "c2cotel"
# Seconds to set up telemetry in a process of its own, on a slow machine.
_PLAN_TIMEOUT = 60
# Where a wrong value stops the start; elsewhere it may be right.
_OF_PARTS: Mapping[str, str] = {
    "logging": "counts only where no ini configures logging",
    "gunicorn": "counts only with gunicorn -c python:c2cotel.gunicorn",
}
_STATES: Mapping[str, State] = {"on": "ok", "off": "ok", "failed": "FAIL"}


class Check(msgspec.Struct, frozen=True):
    """One line of the report. *remedy* is empty where there is nothing to do."""

    name: str
    state: State
    text: str
    remedy: str = ""


def check_settings(loaded: Loaded) -> Iterator[Check]:
    """Values that cannot be used, and names that nobody reads."""
    for problem in loaded.problems:
        found = f"{problem.key} = {problem.value}: {problem.text}"
        if problem.part:
            yield Check("settings", "warn", f"{found} ({_OF_PARTS[problem.part]})", problem.remedy)
        else:
            yield Check("settings", "FAIL", found, problem.remedy)
    for warning in loaded.warnings:
        yield Check("settings", "warn", warning)
    if not loaded.problems and not loaded.warnings:
        count = sum(origin != "default" for origin in loaded.origins.values())
        yield Check(
            "settings", "ok", f"{count} set, {len(loaded.origins) - count} at their default"
        )


def check_distro(environ: Mapping[str, str]) -> Iterator[Check]:
    """Whether OpenTelemetry takes this distribution: it takes the first that it finds."""
    for kind in ("distro", "configurator"):
        variable = f"OTEL_PYTHON_{kind.upper()}"
        chosen = environ.get(variable)
        found = list(entry_points(group=f"opentelemetry_{kind}"))
        taken = next((it for it in found if chosen in (None, it.name)), None)
        others = ", ".join(f"{it.name} of {_owner(it)}" for it in found if it.name != _OURS)
        if taken is None or taken.name != _OURS:
            what = f"{taken.name} of {_owner(taken)}" if taken else f"none ({variable} = {chosen})"
            yield Check(kind, "FAIL", f"OpenTelemetry takes {what}", f"Set {variable}={_OURS}.")
        elif others and chosen is None:
            text = f"{_OURS} is the first found; there is also {others}"
            yield Check(kind, "warn", text, f"Uninstall the other, or set {variable}={_OURS}.")
        else:
            yield Check(kind, "ok", f"{_OURS} {distribution(_OURS).version}")


def _owner(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist else "an unknown package"


def check_versions() -> Iterator[Check]:
    """Whether all of OpenTelemetry that is installed fits together and to this distribution."""
    found = ((it.name, it) for it in distributions())
    installed: dict[str, Distribution] = {canonicalize_name(name): it for name, it in found if name}
    wanting = [it for name, it in installed.items() if _is_telemetry(name)]
    conflicts = [text for it in wanting for text in _conflicts(it, installed)]
    for text in conflicts:
        remedy = f"pip install 'c2cotel=={distribution(_OURS).version}' in a clean environment."
        yield Check("versions", "FAIL", text, remedy)
    if not conflicts:
        sdk = installed["opentelemetry-sdk"].version
        text = f"opentelemetry-sdk {sdk}; {len(wanting)} packages agree"
        yield Check("versions", "ok", text)


def _is_telemetry(name: str) -> bool:
    return name == _OURS or name.startswith("opentelemetry-")


def _conflicts(wanting: Distribution, installed: Mapping[str, Distribution]) -> Iterator[str]:
    for text in wanting.requires or ():
        wanted = Requirement(text)
        # An extra's requirement has a marker that does not hold without it.
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        found = installed.get(canonicalize_name(wanted.name))
        if found is None:
            yield f"{wanting.name} needs {wanted.name} {wanted.specifier}, which is not installed"
        elif not wanted.specifier.contains(found.version, prereleases=True):
            needs = f"{wanting.name} needs {wanted.name} {wanted.specifier}"
            yield f"{needs}, installed is {found.version}"


def check_plan(loaded: Loaded, environ: Mapping[str, str]) -> Iterator[Check]:
    """What a process gets under ``opentelemetry-instrument``, and which instrumentors load."""
    plan, errors = _plan(loaded, environ)
    states = {name: (state, why) for name, state, why in plan.get("parts", ())}
    said = "\n".join([*(why for _, why in states.values()), *map(str, loaded.problems)])
    for line in errors:
        text = line.removeprefix("c2cotel: ")
        # What is off is told below, and what is wrong with the settings above.
        if text.rpartition(" off: ")[2] not in said:
            # Ours say what is not as it was asked for; without a plan nothing is.
            worse = not plan or text != line
            yield Check("set-up", "FAIL" if worse else "warn", text, "Mend what this line names.")
    for name, (state, why) in states.items():
        if not name.startswith("instrumentor"):
            text = f"{'' if state == 'on' else f'{state}: '}{why}"
            if name == "metrics":
                text = _as_configured(text, loaded)
            remedy = "" if _STATES[state] == "ok" else "Until then this part is off."
            yield Check(name, _STATES[state], text, remedy)
    if plan:
        yield from _check_instrumentors(states, environ)


def _plan(loaded: Loaded, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """What the process says, and the lines on its stderr."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as directory:
        private = {"C2C_RUN_DIR": directory, "PYTHONPATH": _uninstrumented(environ)}
        if loaded.settings.prometheus.port is not None:
            private |= {"C2C_PROMETHEUS_PORT": "0", "C2C_PROMETHEUS_HOST": "127.0.0.1"}
        if "prometheus" in (loaded.settings.otel.metrics_exporter or ()):
            private |= {"OTEL_EXPORTER_PROMETHEUS_PORT": "0"}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "c2cotel.otel.plan"],
                env={**environ, **private},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PLAN_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {}, [f"telemetry is not set up after {_PLAN_TIMEOUT} s"]
    errors = [line for line in done.stderr.splitlines() if line]
    if done.returncode:
        # Of a traceback the last line says what it is about.
        return {}, errors[-1:] or [f"a process of this environment ended with {done.returncode}"]
    return json.loads(done.stdout.splitlines()[-1]), errors


def _uninstrumented(environ: Mapping[str, str]) -> str:
    paths = environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(path for path in paths if not path.endswith("auto_instrumentation"))


def _as_configured(text: str, loaded: Loaded) -> str:
    """*text* about the process of the plan, as it is for the application's."""
    settings = loaded.settings
    port = settings.prometheus.port
    if port is None:
        port = settings.otel.prometheus_port
    where, comma, rest = text.partition(", ")
    if not where.startswith("in "):
        return text
    return f"in the run directory{comma}{rest.replace('port 0', f'port {port}')}"


def _check_instrumentors(
    states: Mapping[str, tuple[str, str]], environ: Mapping[str, str]
) -> Iterator[Check]:
    names = environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
    disabled = {name.strip() for name in names.split(",")}
    seen = set()
    found = entry_points(group="opentelemetry_instrumentor")
    # Ours first: contrib's of the same name gives way to it.
    for entry_point in sorted(found, key=lambda it: (it.name, not it.value.startswith(_OURS))):
        if entry_point.name in seen:
            continue
        seen.add(entry_point.name)
        name = f"instrumentor {entry_point.name}"
        if disabled & {entry_point.name, "*"}:
            yield Check(name, "ok", "off: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")
        elif name in states:
            state, why = states[name]
            remedy = "" if state == "on" else "Install what is missing, or disable it."
            grade: State = "warn" if state == "off" else _STATES[state]
            yield Check(name, grade, why, remedy)
        else:
            yield _skipped(name, entry_point)


def _skipped(name: str, entry_point: EntryPoint) -> Check:
    conflict = get_dist_dependency_conflicts(entry_point.dist) if entry_point.dist else None
    if conflict is None:
        text = "skipped: it cannot be imported, or the set-up ended before its turn"
        return Check(name, "warn", text, f"Try: python -c 'import {entry_point.module}'")
    if conflict.found or conflict.found_any:
        return Check(name, "FAIL", f"skipped: {conflict}", "Install a version that fits.")
    wanted = conflict.required or " or ".join(map(str, conflict.required_any))
    return Check(name, "ok", f"skipped: {wanted} is not installed")
