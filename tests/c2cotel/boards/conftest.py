"""A server that behaves as Grafana's HTTP API does, as far as dashboards and folders go."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

import pytest
from werkzeug import Request, Response

TOKEN = "glsa_secret"

Answer = Callable[[Request], Response]


def answer(status: int, content: object, **headers: str) -> Response:
    return Response(json.dumps(content), status, headers, content_type="application/json")


@dataclass
class GrafanaServer:
    """Its folders (titles by uid), its dashboards by uid, and what was asked of it.

    *instead* answers, once each, the next requests whose method and path a pattern fits.
    """

    base: str = ""
    folders: dict[str, str] = field(default_factory=dict)
    dashboards: dict[str, dict] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    instead: list[tuple[str, Answer]] = field(default_factory=list)

    def will(self, pattern: str, *answers: Response) -> None:
        """Give *answers*, one after the other, to what *pattern* fits."""
        self.instead += [(pattern, lambda _, one=one: one) for one in answers]

    def __call__(self, request: Request) -> Response:
        line = f"{request.method} {unquote(request.path)}"
        self.asked.append(line)
        for number, (pattern, respond) in enumerate(self.instead):
            if re.search(pattern, line):
                del self.instead[number]
                return respond(request)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return answer(401, {"message": "Invalid API key", "messageId": "api-key.invalid"})
        if not request.path.startswith(self.base):
            return Response("<html>", 404, content_type="text/html")
        return self._respond(request, request.path.removeprefix(self.base))

    def _respond(self, request: Request, path: str) -> Response:  # noqa: PLR0911 - a table
        match request.method, path.strip("/").split("/"):
            case "GET", ["api", "folders"]:
                limit, page = int(request.args["limit"]), int(request.args["page"])
                every = [{"id": 1, "uid": u, "title": t} for u, t in self.folders.items()]
                return answer(200, every[limit * (page - 1) : limit * page])
            case "POST", ["api", "folders"]:
                title = request.json["title"]
                if title in self.folders.values():
                    return answer(409, {"message": "a folder with the same name already exists"})
                self.folders[f"f{len(self.folders)}"] = title
                return answer(200, {"uid": f"f{len(self.folders) - 1}", "title": title})
            case "GET", ["api", "dashboards", "uid", uid] if uid in self.dashboards:
                folder = self.dashboards[uid]["folderUid"]
                meta = {"folderUid": folder, "folderTitle": self.folders.get(folder, "General")}
                return answer(200, {"meta": meta, "dashboard": self.dashboards[uid]["dashboard"]})
            case "GET", ["api", "dashboards", "uid", _]:
                return answer(404, {"message": "Dashboard not found"})
            case "POST", ["api", "dashboards", "db"]:
                return self._save(request.json)
        return answer(404, {"message": "Not found"})

    def _save(self, sent: dict) -> Response:
        uid = sent["dashboard"]["uid"]
        if uid in self.dashboards and not sent["overwrite"]:
            return answer(412, {"status": "version-mismatch", "message": "changed by another"})
        if sent["folderUid"] and sent["folderUid"] not in self.folders:
            return answer(400, {"message": "folder not found"})
        self.dashboards[uid] = sent
        url = f"{self.base}/d/{uid}/slug"
        return answer(200, {"uid": uid, "url": url, "status": "success", "version": 1})


@pytest.fixture
def server(httpserver):
    """What it has is looked at, and what it answers is set, by the test."""
    made = GrafanaServer()
    httpserver.expect_request(re.compile("/.*")).respond_with_handler(made)
    return made
