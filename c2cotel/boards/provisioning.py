"""The examples of what Grafana reads at its start, for a folder that dashboards are exported to.

They are where Grafana looks for them: with ``GF_PATHS_PROVISIONING=DIR/provisioning`` it has the
dashboards of ``DIR``. Line by line, as the rules are, so that comments stay.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from c2cotel.boards import rules
from c2cotel.boards.promql import Names

_PATH: Final = re.compile(r"^( +path: ).*$", re.MULTILINE)
_NAME: Final = re.compile(r"^( *- name: )Prometheus$", re.MULTILINE)
_UID: Final = re.compile(r"^( *(?:uid|datasourceUid): )prometheus$", re.MULTILINE)
_IS_UID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")


def examples(
    texts: Mapping[str, str], folder: Path, names: Names, datasource: str
) -> dict[str, str]:
    """*texts* by their paths in *folder*, which says where the dashboards are.

    The Prometheus is called *datasource*, by its name, and by its uid if it may be one.
    """
    made = {}
    for path, text in texts.items():
        file = PurePosixPath(path)
        changed = rules.with_names(text, names)
        if file.stem == "dashboards":
            changed = _with(_PATH, changed, str(folder.absolute()))
        elif datasource:
            changed = _with(_NAME, changed, datasource)
            if _IS_UID.fullmatch(datasource):
                changed = _with(_UID, changed, datasource)
        made[str(file.parent / file.stem / "c2cotel.yaml")] = changed
    return made


def _with(pattern: re.Pattern[str], text: str, value: str) -> str:
    # Grafana puts variables of the environment in, and a JSON text is a YAML text.
    quoted = json.dumps(value.replace("$", "$$"), ensure_ascii=False)
    return pattern.sub(lambda found: f"{found[1]}{quoted}", text)
