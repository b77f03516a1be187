"""One process of a service, which a test tells what to ask its application.

Lines of JSON come in: paths, asked all at once, each in a thread of its own; out go the answers, as
status, headers and body.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyramid.request import Request

sys.path.insert(0, str(Path(__file__).parent))
import conftest
from c2cotel.metrics.joining import shared


def main():
    app = conftest.configure(lambda config: config.include("c2cotel.broadcast"))

    def ask(path):
        response = Request.blank(path, headers={"X-API-Key": conftest.SECRET}).get_response(app)
        return response.status_int, dict(response.headers), response.text

    def say(answer):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

    say(str(shared().path))
    with ThreadPoolExecutor(8) as pool:
        for line in sys.stdin:
            say(list(pool.map(ask, json.loads(line))))


main()
