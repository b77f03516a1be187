import argparse

import c2cwsgiutils.db
import c2cwsgiutils.setup_process
import transaction

from hello_service import models


def main() -> None:
    parser = argparse.ArgumentParser(description="My script.")
    parser.add_argument("value")
    c2cwsgiutils.setup_process.fill_arguments(parser)
    args = parser.parse_args()
    env = c2cwsgiutils.setup_process.bootstrap_application_from_options(args)
    settings = env["registry"].settings

    engine = c2cwsgiutils.db.get_engine(settings)
    session_factory = c2cwsgiutils.db.get_session_factory(engine)
    with transaction.manager:
        session = c2cwsgiutils.db.get_tm_session(session_factory, transaction.manager)
        session.add(models.Hello(value=args.value))
        print("hellos:", session.query(models.Hello).count())


if __name__ == "__main__":
    main()
