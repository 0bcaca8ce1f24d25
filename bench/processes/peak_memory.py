"""Peak memory of a piece of work on a CPU: what it adds to the process at its highest, whatever ran before it.

``ru_maxrss`` is the highest the process ever stood and ranks pieces of work by their order. Linux keeps a second
high-water mark (``VmHWM`` in ``/proc/self/status``) that a process may set back by writing 5 to
``/proc/self/clear_refs`` (proc(5), since Linux 4.0). That alone is not enough: the allocator keeps freed memory for the
next one, up to 1 GiB here, and work that fits into what its predecessor left would seem to need nothing. So the
allocator is told to hand back what is free (``malloc_trim``, glibc only) before the mark is set back.

The price is that the work faults its pages in again, which made a single pass of a small network 1.4 times as long.
Mark one call of many, not each. Where Linux or glibc is missing, or the file may not be written, the answer is a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloakbench.bench.processes.malloc import hand_back_freed_memory

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_SET_BACK_PEAK = "5"
_FIELDS = ("VmHWM", "VmRSS", "RssFile", "RssShmem")


@dataclass(frozen=True)
class MemoryMark:
    """Where the process stood when the peak was set back, in KiB."""

    resident: int
    of_files: int
    """The part that is code and data of files, which whoever uses it first brings in for all."""


def mark_memory() -> MemoryMark | None:
    """Hand back free memory and set the process's peak to where it stands; None where that cannot be done.

    The peak belongs to the process: marks neither nest nor run in two threads at once, and ``ru_maxrss`` goes back too.
    """
    if not hand_back_freed_memory():
        return None
    try:
        _CLEAR.write_text(_SET_BACK_PEAK, encoding="ascii")
        fields = _read_status()
        return MemoryMark(fields["VmRSS"], fields["RssFile"] + fields["RssShmem"])
    except (OSError, KeyError, ValueError):  # no such files, no right to write them, other fields
        return None


def added_peak_mib(mark: MemoryMark | None) -> float | None:
    """Most memory that was in use since the mark, beyond what was in use at the mark, in MiB; None without a mark.

    Pages of files that came in since then do not count. Pages of which a part is still in use cannot be handed back, so
    the same work may differ by some 20 MiB.
    """
    if mark is None:
        return None
    fields = _read_status()
    brought_in = max(0, fields["RssFile"] + fields["RssShmem"] - mark.of_files)
    return max(0, fields["VmHWM"] - mark.resident - brought_in) / 1024


def _read_status() -> dict[str, int]:
    lines = (line.partition(":") for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines())
    return {name: int(value.split()[0]) for name, _, value in lines if name in _FIELDS}
