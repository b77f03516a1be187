"""A program of its own, that the application runs in a subprocess.

It counts with OpenTelemetry's API, as any library would: ``app.reports`` is how many it made.
"""

import json
import os
import sys

from opentelemetry import metrics


def main() -> None:
    metrics.get_meter("c2cotel_app").create_counter(
        "app.reports", unit="{report}", description="Reports made by subprocesses"
    ).add(1)
    json.dump({"pid": os.getpid()}, sys.stdout)


if __name__ == "__main__":
    main()
