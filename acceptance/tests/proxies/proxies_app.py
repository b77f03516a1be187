"""An application that tells who asks it, and for what, as its code sees that."""

from typing import Any

from pyramid.config import Configurator
from pyramid.request import Request


def who(request: Request) -> dict[str, Any]:
    return {
        "client": request.client_addr,
        "remote": request.remote_addr,
        "url": request.route_url("who"),
        "server": f"{request.environ['SERVER_NAME']}:{request.environ['SERVER_PORT']}",
        "originals": {
            name: value
            for name, value in request.environ.items()
            if name.startswith("HTTP_ORIGINAL_")
        },
        "left": sorted(name for name in request.headers if "orwarded" in name.lower()),
    }


def main() -> Any:
    config = Configurator()
    config.include("c2cotel")
    config.include("c2cotel.pyramid.proxies")
    config.add_route("who", "/who")
    config.add_view(who, route_name="who", renderer="json")
    return config.make_wsgi_app()


application = main()
