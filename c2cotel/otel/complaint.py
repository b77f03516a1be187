"""What is said before any logging is configured, and when none can be trusted."""

import sys
from contextlib import suppress


def complain(text: str) -> None:
    """One line on stderr: no logging is configured as early as this."""
    line = " ".join(text.split())
    # A daemon may have closed its stderr: then there is nobody to tell, and no reason to fail.
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"c2cotel: {line}\n")
        sys.stderr.flush()
