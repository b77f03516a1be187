"""What ``SENTRY_CLIENT_*`` and ``SENTRY_TAG_*`` say: the options and the tags of Sentry's SDK.

``SENTRY_CLIENT_X`` is the option ``x`` of ``sentry_sdk.init``, with the type that it has there;
lists are separated by commas. What only code can say (callbacks, classes) and what the settings
say already cannot be given here.
"""

import difflib
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from c2cotel.settings import SettingsError

CLIENT: Final = "SENTRY_CLIENT_"
TAG: Final = "SENTRY_TAG_"

_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE: Final = frozenset({"0", "false", "f", "no", "n", "off"})
# Names of the predecessor and of older SDKs.
_ALIASES: Final = {
    "with_locals": "include_local_variables",
    "ignore_exceptions": "ignore_errors",
    "request_bodies": "max_request_body_size",
}
# Options that the SDK knows and that are said elsewhere, and where.
_ELSEWHERE: Final = {
    "dsn": "Write SENTRY_URL.",
    "instrumenter": "The spans are OpenTelemetry's: write SENTRY_TRACES_SAMPLE_RATE.",
    "profiles_sample_rate": "Its profiles need Sentry's own spans, and those are off.",
}
_SHARES: Final = frozenset({"sample_rate", "traces_sample_rate", "profile_session_sample_rate"})
_LISTS: Final = frozenset(
    {"ignore_errors", "in_app_exclude", "in_app_include", "trace_propagation_targets"}
)
_NUMBERS: Final = frozenset({"shutdown_timeout"})
_WHOLE: Final = frozenset({"max_stack_frames", "max_value_length"})
_SWITCHES: Final = frozenset(
    {"debug", "enable_tracing", "keep_alive", "propagate_traces", "send_default_pii"}
)
_TEXTS: Final = frozenset(
    {
        "ca_certs",
        "cert_file",
        "dist",
        "environment",
        "http_proxy",
        "https_proxy",
        "key_file",
        "org_id",
        "project_root",
        "release",
        "server_name",
    }
)
_CHOICES: Final = {"max_request_body_size": ("never", "small", "medium", "always")}
_LONGEST_TAG: Final = 200


def client_options(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What ``SENTRY_CLIENT_*`` in *environ* (default: this process') says, empty ones left out.

    Raises:
        SettingsError: names each variable that cannot be used, one a line.
    """
    environ = os.environ if environ is None else environ
    options: dict[str, Any] = {}
    problems = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(CLIENT) or not text.strip():
            continue
        given = variable.removeprefix(CLIENT).lower()
        name = _ALIASES.get(given, given)
        try:
            options[name] = _value(name, text.strip())
        except ValueError as error:
            problems.append(f"{variable}{error}")
    if problems:
        raise SettingsError("\n".join(problems))
    return options


def tags(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What ``SENTRY_TAG_*`` in *environ* says: lower-case name to value, as Sentry takes it."""
    environ = os.environ if environ is None else environ
    return {
        variable.removeprefix(TAG).lower(): " ".join(text.split())[:_LONGEST_TAG]
        for variable, text in sorted(environ.items())
        if variable.startswith(TAG) and text.strip() and variable != TAG
    }


def _value(name: str, text: str) -> Any:
    """*text* as the option *name* wants it.

    Raises:
        ValueError: says what is wrong, to be put after the name of the variable.
    """
    if name in _ELSEWHERE:
        raise ValueError(f" is not read. {_ELSEWHERE[name]}")
    if name in _CHOICES:
        return _choice(text, _CHOICES[name])
    if name in _LISTS:
        return [item for part in text.split(",") if (item := part.strip())]
    return _reader(name)(text)


def _reader(name: str) -> Callable[[str], Any]:
    from sentry_sdk.consts import DEFAULT_OPTIONS

    for names, read in _READERS.items():
        if name in names:
            return read
    if name not in DEFAULT_OPTIONS or name.startswith("_"):
        near = difflib.get_close_matches(name, [*DEFAULT_OPTIONS, *_ALIASES], n=1)
        hint = f" Is {CLIENT}{near[0].upper()} meant?" if near else ""
        raise ValueError(f": sentry-sdk has no option {name!r}.{hint}")
    # bool before int, of which it is one.
    for kind, read in ((bool, _switch), (int, _whole), (float, _number), (str, str)):
        if isinstance(DEFAULT_OPTIONS[name], kind):
            return read
    raise ValueError(": this option cannot be given as text. Call sentry_sdk.init in the code.")


def _switch(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError(f" = {text[:100]!r}: neither true nor false. Write true or false.")


def _switch_or_text(text: str) -> bool | str:
    return text.lower() in _TRUE if text.lower() in _TRUE | _FALSE else text


def _share(text: str) -> float:
    share = _number(text)
    if share > 1:
        raise ValueError(f" = {text[:100]!r}: not a number from 0 to 1. Write for example 0.1.")
    return share


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise ValueError(f" = {text[:100]!r}: not a number of at least 0. Write for example 0.5.")
    return number


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        raise ValueError(
            f" = {text[:100]!r}: not a whole number of at least 0. Write for example 100."
        )
    return int(text)


def _choice(text: str, choices: tuple[str, ...]) -> str:
    if text.lower() in choices:
        return text.lower()
    known = ", ".join(choices)
    raise ValueError(f" = {text[:100]!r}: not one of those known. Write one of {known}.")


# Those whose default does not tell what they are.
_READERS: Final[Mapping[frozenset[str], Callable[[str], Any]]] = {
    _SWITCHES: _switch,
    _SHARES: _share,
    _NUMBERS: _number,
    _WHOLE: _whole,
    _TEXTS: str,
    frozenset({"spotlight"}): _switch_or_text,
}
