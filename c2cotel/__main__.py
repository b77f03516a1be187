"""``python -m c2cotel`` is the command ``c2cotel``."""

import sys

from c2cotel.cli import main

if __name__ == "__main__":
    sys.exit(main())
