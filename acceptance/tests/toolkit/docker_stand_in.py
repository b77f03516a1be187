"""Answers as ``docker compose`` 2 does, for want of a docker; keeps what it was told.

``DOCKER_STAND_IN`` is a folder. There, ``services.json`` has the services by name: ``states``, a
list of ``[State, Health, ExitCode]``, of which each look (``ps``) sees the next one, and the last
one for ever; ``logs``; ``port``. ``fail.json`` has the commands that fail, with what they then say.
``calls`` gets the arguments of each call, a line of JSON.

Formats: https://docs.docker.com/reference/cli/docker/compose/ (``ps``: an object a line).
"""
# ruff: noqa: T201 - a program that prints

import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(os.environ["DOCKER_STAND_IN"])


def main(argv):
    with (HERE / "calls").open("a") as calls:
        calls.write(json.dumps(argv) + "\n")
    failing = json.loads((HERE / "fail.json").read_text())
    if argv[0] == "cp":
        return answer("cp", argv[1:], failing)
    if argv[0] != "compose" or "no compose" in failing:
        return complain(
            f"docker: unknown command: docker {argv[0]}\n\nRun 'docker --help' for more"
        )
    rest = [argument for argument in argv[1:] if not argument.startswith(("--file=", "--project"))]
    if rest == ["version"]:
        print("Docker Compose version v2.29.1")
        return 0
    print("WARN[0000] the attribute `version` is obsolete", file=sys.stderr)
    return answer(rest[0], rest[1:], failing)


def complain(text, status=1):
    print(text, file=sys.stderr)
    return status


def answer(command, arguments, failing):
    if command in failing:
        return complain(failing[command])
    file = HERE / "services.json"
    services = json.loads(file.read_text())
    names = [argument for argument in arguments if not argument.startswith("-")]
    of_one = command in ("stop", "start", "restart", "exec", "run", "port") and names
    if of_one and names[0] not in services:
        return complain(f"no such service: {names[0]}")
    status = COMMANDS.get(command, nothing)(services, names, arguments)
    file.write_text(json.dumps(services))
    return status


def nothing(*_):
    print(" Container x  Done", file=sys.stderr)
    return 0


def stop(services, names, _):
    for name in names or services:
        services[name]["before"] = services[name]["states"]
        services[name]["states"] = [["exited", "", 0]]
    return 0


def start(services, names, _):
    for name in names:
        states = services[name].pop("before", services[name]["states"])
        services[name]["states"] = [["running", "starting", 0], states[-1]]
    return 0


def ps(services, *_):
    old = (HERE / "old").exists()
    rows = []
    for name, service in services.items():
        states = service["states"]
        state, health, status = states.pop(0) if len(states) > 1 else states[0]
        row = {"Service": name, "Name": f"app-{name}-1", "State": state, "Health": health}
        rows.append(row | {"ExitCode": status, "Publishers": []})
    print(json.dumps(rows) if old else "\n".join(map(json.dumps, rows)))
    return 0


def logs(services, names, _):
    for name in names or services:
        print(f"{name}-1  | {services[name].get('logs', 'started')}")
    print("other-1  | to stderr", file=sys.stderr)
    return 0


def execute(_, names, arguments):
    command = arguments[arguments.index(names[0]) + 1 :]
    if command[:1] == ["sleep"]:
        time.sleep(float(command[1]))
        return 0
    return subprocess.run(command, check=False).returncode


def port(services, names, _):
    print(services[names[0]].get("port", ":0"))
    return 0


COMMANDS = {
    "stop": stop,
    "start": start,
    "restart": start,
    "ps": ps,
    "logs": logs,
    "exec": execute,
    "run": execute,
    "port": port,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
