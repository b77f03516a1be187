"""A Prometheus that scrapes what a test serves."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests

from c2cotel_acceptance.processes import MissingError, Process
from c2cotel_acceptance.servers.places import (
    LOCALHOST,
    START_TIMEOUT,
    free_port,
    temporary_directory,
)
from c2cotel_acceptance.utils import retry_timeout


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus; *url* is where it answers."""

    url: str
    log: Path
    process: Process = field(repr=False)

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Evaluate *expression* now: the labels and the value of each series it gives.

        Raises:
            ValueError: Prometheus does not understand *expression*; the text is its own.
        """
        answer = requests.get(f"{self.url}/api/v1/query", {"query": expression}, timeout=10).json()
        if answer["status"] != "success":
            raise ValueError(f"{expression}: {answer['error']}")
        data = answer["data"]
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def value(self, expression: str) -> float:
        """Evaluate *expression* to one number; no series at all counts as 0.

        Raises:
            ValueError: it gives several series.
        """
        result = self.query(expression)
        if len(result) > 1:
            raise ValueError(f"{expression}: one series is expected, these came: {result}")
        return result[0][1] if result else 0.0

    def wait_value(self, expression: str, expected: float, timeout: float = 15) -> None:
        """Wait until *expression* is *expected*.

        Raises:
            TimeoutError: it was not within *timeout* seconds; the text has the last value.
        """

        def reached() -> bool:
            found = self.value(expression)
            if found != expected:
                raise ValueError(f"{expression} is {found:g}, not {expected:g}")
            return True

        retry_timeout(reached, timeout, interval=0.25)

    def firing(self, within: str = "1s") -> list[dict[str, str]]:
        """The labels of the alerts that fire, or have fired *within* the last ``10m``."""
        found = self.query(f'last_over_time(ALERTS{{alertstate="firing"}}[{within}])')
        dropped = {"__name__", "alertstate"}
        return [
            {name: value for name, value in labels.items() if name not in dropped}
            for labels, _ in found
        ]


@contextlib.contextmanager
def prometheus(
    targets: Sequence[str] | Mapping[str, Sequence[str]],
    *,
    scrape_interval: str = "1s",
    rules: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes *targets* (``host:port``), or the targets of each job.

    *rules* are texts of rule files by their names; they are evaluated as often as is scraped.

    Raises:
        MissingError: it is not installed.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise MissingError(
            "No Prometheus on this machine: apt-get install -y --no-install-recommends prometheus"
        )
    jobs = targets if isinstance(targets, Mapping) else {"c2cotel": targets}
    with temporary_directory("prometheus") as folder:
        port = free_port()
        config = folder / "prometheus.yml"
        for name, text in (rules or {}).items():
            (folder / name).write_text(text)
        # Every JSON text is a YAML text.
        config.write_text(json.dumps(_prometheus_config(jobs, scrape_interval, list(rules or {}))))
        server = Process(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={LOCALHOST}:{port}",
                "--log.level=warn",
                "--enable-feature=exemplar-storage",
                *options,
            ],
            log=folder / "log",
        )
        url = f"http://{LOCALHOST}:{port}"
        with server:
            server.wait_url(f"{url}/-/ready", START_TIMEOUT)
            yield Prometheus(url, server.log, server)


def _prometheus_config(
    jobs: Mapping[str, Sequence[str]], scrape_interval: str, rule_files: Sequence[str]
) -> dict[str, object]:
    return {
        "global": {
            "scrape_interval": scrape_interval,
            "scrape_timeout": scrape_interval,
            "evaluation_interval": scrape_interval,
        },
        "rule_files": rule_files,
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(targets)}]}
            for job, targets in jobs.items()
        ],
    }
