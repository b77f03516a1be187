"""What runs, as the file says it."""

from typing import Any

from pyramid.request import Request


def versions(request: Request) -> dict[str, Any]:
    content: dict[str, Any] = request.registry.c2c_versions.content
    return content
