"""Which versions run: ``{base_path}/versions.json``, and the gauge ``c2c.build_info``.

``c2cotel genversion "$GIT_TAG" "$GIT_HASH"`` in the Dockerfile writes ``/app/versions.json``
(``C2C_VERSIONS_FILE`` for another place). It is read once, at start; without it there is no view.
The gauge has the versions of the packages in ``C2C_PROMETHEUS_PACKAGES`` as attributes, and that of
``C2C_PROMETHEUS_APPLICATION_PACKAGE`` as ``application``, with or without the file.
"""

import logging
from pathlib import Path

from opentelemetry import metrics
from pyramid.config import Configurator

from c2cotel import versions_file
from c2cotel.pyramid import settings_of
from c2cotel.versions import core, views
from c2cotel.versions_file import Versions, VersionsError

__all__ = ["includeme"]

LOGGER = logging.getLogger(__name__)


def _read(path: Path) -> Versions | None:
    try:
        return versions_file.read(path)
    except VersionsError as error:
        LOGGER.warning(
            "%s. There is no view of the versions: write it with `c2cotel genversion`.", error
        )
        return None


def includeme(config: Configurator) -> None:
    """Serve what the file says, if there is one, and observe ``c2c.build_info``."""
    settings = settings_of(config)
    versions = config.registry.c2c_versions = _read(Path(settings.service.versions_file))
    core.observe(metrics.get_meter("c2cotel"), core.build_info(settings, versions))
    if versions is not None:
        config.add_c2c_view(
            "versions.json",
            views.versions,
            name="c2c_versions",
            title="Versions",
            description="The commit that runs, and every installed package.",
        )
