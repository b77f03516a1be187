"""The settings of an application, on its registry."""

import logging

from pyramid.config import Configurator

from c2cotel.settings import Loaded, Settings, load

LOGGER = logging.getLogger(__name__)


def settings_of(config: Configurator) -> Settings:
    """The settings of this application: environment, then its ini, then defaults; read once.

    Raises:
        SettingsError: a setting that is not telemetry's is wrong. One of telemetry's stops no
            application: it has been said on stderr, and that piece is off.
    """
    return loaded_of(config).settings


def loaded_of(config: Configurator) -> Loaded:
    """The same, with where each of them comes from."""
    loaded: Loaded | None = getattr(config.registry, "c2c_settings", None)
    if loaded is None:
        loaded = load(ini=config.registry.settings)
        loaded.raise_for_application()
        for warning in loaded.warnings:
            LOGGER.warning("%s", warning)
        config.registry.c2c_settings = loaded
    return loaded
