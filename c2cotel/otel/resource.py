"""What the telemetry is about: this service, this process, this host.

``service.version`` is the git tag or hash of the build. ``service.instance.id`` is one per
process for spans and logs; the merged metrics have the id of the group instead.

Source: https://opentelemetry.io/docs/specs/semconv/resource/.
"""

import os
import platform
import socket
import sys
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from c2cotel import versions_file
from c2cotel.settings import Settings

_PER_PROCESS = frozenset({"process.pid", "service.instance.id"})


class ProcessResource(Resource):
    """A resource that says where it is after a fork, and is hashed once.

    The SDK merges a new instance id over the one that the user has chosen, and hashes all
    attributes as JSON once for every span that it encodes.
    """

    def __init__(self, attributes: Any, chosen: Any, schema_url: str | None = None) -> None:
        super().__init__({**attributes, "process.pid": os.getpid(), **chosen}, schema_url)
        self._chosen = dict(chosen)
        self._hash = super().__hash__()

    def merge(self, other: Resource) -> "ProcessResource":
        merged = super().merge(other)
        return ProcessResource(merged.attributes, self._chosen, merged.schema_url)

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)

    def __hash__(self) -> int:
        return self._hash


def process_resource(settings: Settings) -> ProcessResource:
    """The resource of this process; what the user says in ``OTEL_*`` variables wins."""
    chosen = OTELResourceDetector().detect().attributes
    attributes: dict[str, Any] = {
        "telemetry.distro.name": "c2cotel",
        "host.name": socket.gethostname(),
        "process.executable.name": Path(sys.executable or "").name,
        "process.runtime.name": sys.implementation.name,
        "process.runtime.version": platform.python_version(),
    }
    if version := service_version(settings):
        attributes["service.version"] = version
    created = Resource.create(attributes)
    return ProcessResource(created.attributes, chosen, created.schema_url)


def group_attributes(resource: Resource, instance: str) -> dict[str, Any]:
    """The attributes of a process without what is its own; *instance* stands for the group."""
    kept = {key: value for key, value in resource.attributes.items() if key not in _PER_PROCESS}
    chosen = OTELResourceDetector().detect().attributes.get("service.instance.id")
    return {**kept, "service.instance.id": chosen or instance}


def service_version(settings: Settings) -> str | None:
    """The git hash of the settings, else what versions.json says of ``main``."""
    if settings.service.git_hash:
        return settings.service.git_hash
    try:
        versions = versions_file.read(Path(settings.service.versions_file))
    except versions_file.VersionsError:
        # The versions view says what is wrong with it.
        return None
    return (versions.git_tag or versions.git_hash) if versions else None
