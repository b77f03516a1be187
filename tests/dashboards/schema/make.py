"""Make ``board.schema.json`` from Grafana's own types: ``python make.py``; npm is needed.

Grafana publishes what a dashboard is as TypeScript, in @grafana/schema (Apache-2.0, as is this
project), made of the same CUE as its Go. From that a JSON schema is generated; what is said several
times in it is then said once.
"""

import json
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
VERSION: Final = "12.2.0"
_PACKAGES: Final = (f"@grafana/schema@{VERSION}", "ts-json-schema-generator@2.9.0")
_COMPILER: Final = {"target": "es2022", "module": "esnext", "moduleResolution": "bundler"}
_SHORT: Final = 120


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(HERE / "board.ts", folder)
        config = {"compilerOptions": {**_COMPILER, "skipLibCheck": True, "strict": True}}
        (folder / "tsconfig.json").write_text(json.dumps({**config, "files": ["board.ts"]}))
        (folder / "package.json").write_text('{"private": true}')
        install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *_PACKAGES]
        subprocess.run(install, cwd=folder, check=True)
        generator = folder / "node_modules/.bin/ts-json-schema-generator"
        options = ["--no-type-check", "--expose=none", "--jsDoc=none", "--no-top-ref"]
        where = ["--path=board.ts", "--type=Board", "--tsconfig=tsconfig.json"]
        made = subprocess.run(
            [generator, *where, *options], cwd=folder, check=True, capture_output=True
        )
    schema = {
        "$comment": f"Made by make.py of @grafana/schema {VERSION}, Grafana Labs, Apache-2.0.",
        **_folded(json.loads(made.stdout)),
    }
    text = json.dumps(schema, indent=1, sort_keys=True)
    (HERE / "board.schema.json").write_text(f"{text}\n")


def _folded(schema: dict[str, Any]) -> dict[str, Any]:
    """*schema* with its repetitions among the definitions."""
    seen: Counter[str] = Counter()
    _count(schema, seen)
    often = [text for text, times in seen.items() if times > 1 and len(text) > _SHORT]
    names = {text: f"_{number}" for number, text in enumerate(sorted(often, key=len))}
    definitions = {name: _with(json.loads(text), names, top=True) for text, name in names.items()}
    return {**_with(schema, names, top=True), "definitions": definitions}


def _count(value: Any, seen: Counter[str], *, schema: bool = True) -> None:
    """How often there is each schema; what is in ``properties`` has names, and may be ``type``."""
    if isinstance(value, dict):
        if schema and ("type" in value or "anyOf" in value):
            seen[_text(value)] += 1
        for key, one in value.items():
            _count(one, seen, schema=not schema or key != "properties")
    elif isinstance(value, list):
        for one in value:
            _count(one, seen)


def _with(value: Any, names: dict[str, str], *, schema: bool = True, top: bool = False) -> Any:
    if isinstance(value, list):
        return [_with(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    if schema and not top and (name := names.get(_text(value))) is not None:
        return {"$ref": f"#/definitions/{name}"}
    return {
        key: _with(one, names, schema=not schema or key != "properties")
        for key, one in value.items()
    }


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)


if __name__ == "__main__":
    main()
