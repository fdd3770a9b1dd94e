"""Copies to the device that do not wait for what the device computes."""
from __future__ import annotations

from collections.abc import Iterator

import torch


def copied_aside(batches: Iterator[dict], device: torch.device) -> Iterator[dict]:
    """Give batches whose pixels are on their way to the device, on a stream of their own.

    The host is ahead of a GPU by most of a step: a batch is asked for while the step before is still computed, and is copied
    beside it. Tokens stay on the host, where masks are drawn. Nothing is loaded ahead of what is asked for.

    Args:
        batches: ``{stream: batch}``, as ``ZippedLoader.batches`` yields them; closed with this iterator. Their pixels should be
            in pinned memory, else the host waits for the copy.
        device: of the model.

    Returns:
        The same batches; on other devices than GPUs, ``batches`` itself.
    """
    return _copied(batches, device) if device.type == 'cuda' else batches


def _copied(batches: Iterator[dict], device: torch.device) -> Iterator[dict]:
    aside = torch.cuda.Stream(device)
    try:
        for batch in batches:
            with torch.cuda.stream(aside):
                batch = {name: _to(part, device) for name, part in batch.items()}
            computing = torch.cuda.current_stream(device)
            computing.wait_stream(aside)
            for part in batch.values():
                for pixels in part.get('inputs') or ():
                    pixels.record_stream(computing)  # their memory is not given away before the step is done
            yield batch
    finally:
        batches.close()


def _to(part: dict, device: torch.device) -> dict:
    if not part.get('inputs'):
        return part
    return part | dict(inputs=[pixels.to(device, non_blocking=True) for pixels in part['inputs']])
