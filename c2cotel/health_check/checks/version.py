"""Whether all processes of the service run the same version: each is asked for its own."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from c2cotel import broadcast
from c2cotel.health_check.core import CheckFailedError
from c2cotel.versions_file import VersionsError, read

CHANNEL: Final = "c2c_health_check_version"
# Of the time the check has: who does not answer in it is left out.
_SHARE: Final = 0.75


def running(path: str) -> str | None:
    """The version that *path*, the file of versions, says; None if there is none to be read."""
    try:
        versions = read(Path(path))
    except VersionsError:  # the view of the versions says why
        return None
    return None if versions is None else versions.git_hash or versions.git_tag


def check(version: str | None, timeout: float) -> Callable[[Any], dict[str, Any]]:
    """A check that compares *version*, this process's, with that of the others."""

    def mine() -> dict[str, Any]:
        return {"version": version}

    broadcast.subscribe(CHANNEL, mine)

    def run(_: Any) -> dict[str, Any]:
        if version is None:
            raise CheckFailedError(
                "It is not known which version runs: write the file of versions with "
                "`c2cotel genversion`"
            )
        return compare(broadcast.ask(CHANNEL, timeout=timeout * _SHARE).answers)

    return run


def compare(answers: list[Any]) -> dict[str, Any]:
    """The version that all *answers* have.

    Raises:
        CheckFailedError: They differ; the authorised are told which processes are the odd ones.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for answer in answers:
        if isinstance(answer, dict) and "version" in answer:
            where = f"{answer.get('hostname', '?')}/{answer.get('pid', '?')}"
            found[str(answer["version"])].append(where)
    if not found:
        raise CheckFailedError("No process has told its version")
    # The most frequent one first.
    versions = sorted(found, key=lambda each: (-len(found[each]), each))
    if len(versions) == 1:
        return {"version": versions[0], "count": len(found[versions[0]])}
    usual, *odd = versions
    counted = ", ".join(f"{each} ({len(found[each])})" for each in versions)
    placed = "; ".join(f"{each} on {', '.join(sorted(found[each]))}" for each in odd)
    raise CheckFailedError(
        f"Non identical versions: {counted}",
        details=f"Non identical versions: {usual} ({len(found[usual])}), but {placed}",
        found={each: sorted(found[each]) for each in versions},
    )
