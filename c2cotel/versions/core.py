"""The gauge that says which versions run, for queries that join it or count its series.

=================  =========  ====  =============================================================
name               kind       unit  attributes
=================  =========  ====  =============================================================
c2c.build_info     gauge            git_hash, git_tag, application, one for each chosen package
=================  =========  ====  =============================================================

Its value is 1. The processes of a service, which run the same, share one series.
"""

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from c2cotel.metrics.gauges import gauge
from c2cotel.settings import Settings
from c2cotel.versions_file import Versions

MISSING = "<missing>"


def build_info(settings: Settings, versions: Versions | None) -> dict[str, str]:
    """The attributes of the gauge; the file's *versions* are asked where no setting says it."""
    chosen = settings.prometheus
    attributes = {_attribute(package): installed(package) for package in chosen.packages}
    if chosen.application_package:
        attributes["application"] = installed(chosen.application_package)
    git_hash = settings.service.git_hash
    if versions is not None:
        # The tag of the file is not that of another commit.
        if versions.git_tag and git_hash in (None, versions.git_hash):
            attributes["git_tag"] = versions.git_tag
        git_hash = git_hash or versions.git_hash
    return {**attributes, "git_hash": git_hash or MISSING}


def installed(package: str) -> str:
    """The version of *package*, or :data:`MISSING`."""
    try:
        # A package without a version in its metadata has None.
        return version(package) or MISSING
    except (PackageNotFoundError, ValueError, KeyError):
        return MISSING


def observe(meter: Meter, attributes: dict[str, str]) -> None:
    """Let every scrape from now on see *attributes*; observed twice they stay one series."""
    seen = Observation(1, attributes)

    def callback(_: CallbackOptions) -> Iterable[Observation]:
        return (seen,)

    text = "1, with the versions of what runs as attributes."
    gauge(meter, "c2c.build_info", "max", text, callbacks=[callback])


def _attribute(package: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", package)
