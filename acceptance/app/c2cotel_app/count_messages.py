"""Tell how many messages there are: a script with the application's settings, logs and traces.

python -m c2cotel_app.count_messages c2c://production-include.ini
"""

import argparse
import logging

from sqlalchemy import func, select

from c2cotel import setup_process
from c2cotel_app.models import Message

_LOG = logging.getLogger("c2cotel_app.count_messages")


def main() -> None:
    parser = argparse.ArgumentParser(description="Tell how many messages there are.")
    setup_process.fill_arguments(parser, default_config_uri="c2c://production-include.ini")
    env = setup_process.bootstrap_application_from_options(parser.parse_args())
    count = env["request"].dbsession.scalar(select(func.count()).select_from(Message))
    _LOG.info("%s messages", count)
    print(count)  # noqa: T201 - it is what the script is for


if __name__ == "__main__":
    main()
