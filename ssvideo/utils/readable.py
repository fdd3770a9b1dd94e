"""Numbers as people read them."""
from __future__ import annotations


def readable_size(num_bytes: float) -> str:
    """Three digits and a decimal unit, such as '495 GB'."""
    for unit in ('bytes', 'kB', 'MB', 'GB'):
        if num_bytes < 999.5:
            return f'{num_bytes:.3g} {unit}'
        num_bytes /= 1000
    return f'{num_bytes:.3g} TB'
