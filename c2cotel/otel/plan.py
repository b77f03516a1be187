"""What telemetry a process with this environment gets: it is set up, told, and left unused.

Run by ``c2cotel doctor`` as ``python -m c2cotel.otel.plan``, with a run directory of its own and
any free port; ends without sending anything. Prints a line of JSON: the distro that OpenTelemetry
loaded, and the name, state and reason of each part.
"""

import json
import logging
import os
import sys
from typing import Any


def main() -> None:
    """Do what ``opentelemetry-instrument`` does before the application starts."""
    from opentelemetry.instrumentation.auto_instrumentation import _load

    from c2cotel.otel.distro import C2cDistro

    # The port is this process's own: nobody has to be told which it is.
    logging.getLogger("c2cotel.metrics.serving").setLevel(logging.ERROR)
    # The public way keeps exceptions to itself.
    load: Any = _load
    distro = load._load_distro()  # noqa: SLF001 - see above
    distro.configure()
    load._load_configurators()  # noqa: SLF001 - see above
    load._load_instrumentors(distro)  # noqa: SLF001 - see above
    telemetry = C2cDistro().telemetry
    parts = telemetry.parts if telemetry else []
    told = {
        "distro": type(distro).__qualname__,
        "parts": [[part.name, part.state, part.why] for part in parts],
    }
    sys.stdout.write("\n" + json.dumps(told) + "\n")
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing is sent, as there would be at a usual end.
    os._exit(0)


if __name__ == "__main__":
    main()
