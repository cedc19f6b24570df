"""What a fork server has imported before its first program."""

from __future__ import annotations

import importlib
import os
from contextlib import suppress

LIBRARIES = "_bz2 _ctypes _decimal _hashlib _lzma _sqlite3 _ssl _uuid zlib"
"""Extension modules of the standard library that need shared libraries from outside it. Loaded
before the root changes: what is in the process need not be found on disk again."""
MODULES = (
    "array bisect cmath collections.abc copy datetime functools hashlib heapq itertools json math "
    "operator random re string threading time traceback typing"
)
"""What HumanEval and MBPP use, and the server. More would make every fork dearer; what is not
here is imported from disk."""


def warm() -> None:
    """Import all of it, without what its modules would do in every fork.

    Half of a fork's time went there: new locks, for threads that a server does not have, and new
    random seeds, where programs get a fixed one.
    """
    register = os.register_at_fork
    os.register_at_fork = lambda **functions: None
    try:
        for name in f"{LIBRARIES} {MODULES}".split():
            with suppress(ImportError):
                importlib.import_module(name)
    finally:
        os.register_at_fork = register
