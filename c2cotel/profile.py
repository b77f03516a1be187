"""Under the names that c2cwsgiutils' manual has: see :mod:`c2cotel.profiler`."""

from c2cotel.profiler import Profile

Profiler = Profile

__all__ = ["Profile", "Profiler"]
