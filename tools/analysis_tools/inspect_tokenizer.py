"""Look at a tokenizer: what it loses on pictures, and how much of its codebook it uses.

    python tools/analysis_tools/inspect_tokenizer.py TOKENIZER_FILE FOLDER_OR_LIST [--num 64] [--out DIR]

Any images and videos serve. The numbers go to the screen and to DIR/tokenizer.json, pictures beside what the tokenizer
makes of them to DIR/reconstructions.png.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from ssvideo.datasets.still_frames import StillFrames  # noqa: E402
from ssvideo.evaluation.tokenizer_quality import measure_tokenizer  # noqa: E402
from ssvideo.models.tokenizers import load_tokenizer  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.utils.plugins import plugin_argument, use_plugins  # noqa: E402
from ssvideo.visualization import draw_reconstructions  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('tokenizer', help='tokenizer file, .safetensors')
    parser.add_argument('source', help='folder of images and videos, or a list with one `path` or `path label` a line')
    parser.add_argument('--num', type=int, default=64, help='pictures; the more, the truer codebook use and dead ids')
    parser.add_argument('--size', type=int, default=224, help='larger pictures are shrunk to this short side')
    parser.add_argument('--out', default='work_dirs/inspect_tokenizer', help='folder of the results')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    plugin_argument(parser)
    return parser.parse_args(argv)


def inspect(args: argparse.Namespace) -> dict:
    """Measure and draw.

    Returns:
        What goes to the JSON file.

    Raises:
        ValueError: for a tokenizer or a source that does not fit.
        FileNotFoundError: if there is no tokenizer file.
    """
    use_plugins(args.plugin)
    tokenizer = load_tokenizer(args.tokenizer).to(args.device)
    stills = StillFrames(args.source, args.num, args.size, multiple=tokenizer.stride[1])
    try:
        quality = measure_tokenizer(tokenizer, (torch.tensor(picture).permute(2, 0, 1) for picture in stills))
    except ValueError as error:
        unreadable = '; '.join(f'{path}: {reason}' for path, reason in list(stills.broken.items())[:3])
        raise ValueError(f'{error}. Of {args.source} could not be read: {unreadable}' if unreadable else error) from error
    draw_reconstructions(
        dict(zip(('pictures', 'rebuilt from tokens'), (_row(part) for part in zip(*quality.shown)))),
        Path(args.out) / 'reconstructions.png', title=f'{type(tokenizer).__name__}, {tokenizer.vocab_size} ids')
    return dict(tokenizer=str(args.tokenizer), kind=type(tokenizer).__name__, stride=list(tokenizer.stride),
                source=str(args.source), **quality.summary(), unreadable=stills.broken)


def _row(pictures: list[torch.Tensor]) -> np.ndarray:
    """Pictures of several sizes as ``(num, side, side, 3)`` uint8, the smaller ones on white."""
    side = max(picture.shape[-1] for picture in pictures)
    row = np.full((len(pictures), side, side, 3), 255, np.uint8)
    for place, picture in zip(row, pictures):
        height, width = picture.shape[1:]
        place[:height, :width] = (picture * 255).round().byte().permute(1, 2, 0).numpy()
    return row


def show(found: dict) -> None:
    """Print the numbers as a table, and the files that could not be read."""
    table = Table(title=f"{found['kind']} on {found['num_pictures']} pictures", show_header=False)
    rows = {
        'PSNR, mean over pictures': f"{found['psnr']:.2f} dB",
        'codebook use': f"{found['codebook_use']:.1%} of {found['vocab_size']} ids",
        'perplexity': f"{found['codebook_perplexity']:.1f}",
        'dead ids': f"{len(found['dead_ids'])} {_examples(found['dead_ids'])}",
        'tokens': f"{found['num_tokens']}, stride {tuple(found['stride'])}"}
    for name, value in rows.items():
        table.add_row(name, value)
    console = Console()
    console.print(table)
    for path, reason in found['unreadable'].items():
        console.print(f'cannot be read: {path}: {reason}', markup=False, highlight=False, soft_wrap=True)


def _examples(ids: list[int], num: int = 8) -> str:
    shown = [*map(str, ids[:num]), *(['...'] if len(ids) > num else [])]
    return f'({", ".join(shown)})' if shown else ''


def main(argv: list[str] | None = None) -> None:
    """Inspect, and say where the results are, or in one line why there are none."""
    args = parse_args(argv)
    try:
        found = inspect(args)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    write_whole(Path(args.out) / 'tokenizer.json', json.dumps(found, indent=1))
    show(found)
    print(f'The numbers are in {args.out}/tokenizer.json, pictures in {args.out}/reconstructions.png')


if __name__ == '__main__':
    main()
