"""How a tree of :class:`Section` becomes environment variables and ini keys, and is read.

A section is a frozen msgspec struct: one field a setting, with its type, its default and one
sentence in ``Meta(description=…)``. The place in the tree gives the names: the field ``header`` of
the section ``request_id`` is read from ``C2C_REQUEST_ID_HEADER`` and ``c2c.request_id_header``.
``examples`` are told to whoever wrote something else. What differs is said in the field, in
``Meta(extra={…})``:

=============  ==================================================================================
``env``        the environment variable, or several, of which the first non-empty one counts; the
               field then has no ini key, unless it says one
``ini``        the ini key as documented, None for none
``telemetry``  a wrong value turns something of the telemetry off but never stops the application;
               without it, what the section says
``part``       only this part of the software uses it: a wrong value stops nothing else; without
               it, what the section says
``read``       function from text (for a tuple: from one item) to value; its ValueError says what
               is wrong
=============  ==================================================================================

A non-empty environment variable wins over the ini file, and that over the default. Dots and
underscores are the same in ini keys: ``c2c.sentry.url`` is ``c2c.sentry_url``. An empty ini value
is an empty text or list, "unset" where that is possible, and the default for everything else.
"""

from c2cotel.schema.keys import Key, Section, keys
from c2cotel.schema.reading import Loaded, Problem, read
from c2cotel.schema.secrets import MASK, Secret, SettingsError, without_password
from c2cotel.schema.values import remedy

__all__ = [
    "MASK",
    "Key",
    "Loaded",
    "Problem",
    "Secret",
    "Section",
    "SettingsError",
    "keys",
    "read",
    "remedy",
    "without_password",
]
