import argparse

import c2cwsgiutils.db
import c2cwsgiutils.setup_process
import pyramid.scripts.common
from pyramid.scripts.common import parse_vars
from sqlalchemy import text


def main() -> None:
    """Without the application's context."""
    parser = argparse.ArgumentParser(description="My script.")
    c2cwsgiutils.setup_process.fill_arguments(parser)
    args = parser.parse_args()
    loader = pyramid.scripts.common.get_config_loader(args.config_uri)
    loader.setup_logging(parse_vars(args.config_vars) if args.config_vars else None)
    settings = loader.get_settings()

    engine = c2cwsgiutils.db.get_engine(settings)
    with c2cwsgiutils.db.get_session_factory(engine)() as session:
        print("hellos:", session.execute(text("SELECT count(*) FROM hello")).scalar())
    engine.dispose()


if __name__ == "__main__":
    main()
