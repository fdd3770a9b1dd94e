"""Where a device had nothing to do."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch.autograd import DeviceType
from torch.profiler import profile


@dataclass
class Gap:
    """A time in which nothing ran.

    Args:
        seconds: how long.
        before: what ran last.
        after: what ran next.
    """
    seconds: float
    before: str
    after: str


def largest_gaps(spans: Iterable[tuple[int, int, str]], num: int) -> tuple[list[Gap], float]:
    """Find the longest times in which nothing ran.

    Args:
        spans: begin and end in ns, and name, of what ran, in any order; they may overlap.
        num: how many to tell.

    Returns:
        The longest first, and the share of the time from the first begin to the last end in which nothing ran.
    """
    ordered, gaps = sorted(spans), []
    if not ordered:
        return [], 0.0
    end, last = ordered[0][1], ordered[0][2]
    for begin, until, name in ordered:
        if begin > end:
            gaps.append(Gap((begin - end) / 1e9, last, name))
        if until > end:
            end, last = until, name
    idle = sum(gap.seconds for gap in gaps) / max((end - ordered[0][0]) / 1e9, 1e-12)
    return sorted(gaps, key=lambda gap: -gap.seconds)[:num], idle


def spans_of(profiled: profile, device: str) -> list[tuple[int, int, str]]:
    """What ran on a device: kernels of a GPU, operators of a CPU.

    Args:
        profiled: closed.
        device: ``'cuda'`` or ``'cpu'``.
    """
    wanted = DeviceType.CUDA if device == 'cuda' else DeviceType.CPU
    return [(event.start_ns(), event.start_ns() + event.duration_ns(), event.name())
            for event in profiled.profiler.kineto_results.events()
            if event.device_type() == wanted and (device == 'cuda' or event.name().startswith('aten::'))]
