"""Give the memory of large blocks back to the system."""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # malloc.h of glibc
_LARGE = 128 << 10


def return_large_blocks() -> None:
    """Let glibc return every block of 128 KiB and more to the system when it is freed.

    This is its default too, but only until the first such block is freed. Then larger ones come
    from the heaps of the threads, which keep their holes: 60 MiB with bodies of 3 MB.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE)
