"""The C library's allocator: how much of the machine's memory it keeps for a daemon that is at rest.

That of glibc: it gives each thread an arena of its own and never takes one back, and what is free between what is in
use it keeps. Python's own allocator is above it, and takes from it whatever is larger than 512 bytes. With another C
library nothing is done here.
"""

from __future__ import annotations

ARENAS_MAX = 1
"""Python's threads allocate one at a time, whoever holds its lock: more arenas would only be more holes."""
M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def share_arenas() -> None:
    """Let all threads that are started from now on share what is there already."""
    import ctypes  # no other verb than the daemon's pays for it

    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):
        set_option(M_ARENA_MAX, ARENAS_MAX)


def give_back() -> None:
    """Give the machine what is free. Whoever allocates waits meanwhile: 2 ms at 20 MiB, some 30 at 300."""
    import ctypes

    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
