"""Rebuild hidden tokens by copying their nearest visible neighbours: what masking leaves to be learned (VIMPAC, Fig. 4).

    python tools/visualizations/nearest_copy.py VIDEO_OR_FOLDER --tokenizer FILE --out DIR
    python tools/visualizations/nearest_copy.py TOKEN_STORE --tokenizer FILE --out DIR

Blocks and scattered tokens are hidden, as many of each, and replaced by their nearest neighbours in the same frame
(spatial) or in all frames (spatio-temporal). DIR gets a picture and an animation of the first clips, and
nearest_copy.json with the share of hidden tokens that equal their copy and the PSNR, of each clip and on average.
"""
from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.datasets.given_videos import GivenClips, find_videos, middle_clip  # noqa: E402
from ssvideo.datasets.token_clips import TokenClips  # noqa: E402
from ssvideo.datasets.token_manifest import view_folders  # noqa: E402
from ssvideo.evaluation.nearest_copy import NEIGHBOURS, CopyTrial, mean_numbers, try_copies  # noqa: E402
from ssvideo.models.tokenizers import Tokenizer, load_tokenizer  # noqa: E402
from ssvideo.utils.checksum import checksum_of  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.visualization import animate_panels, draw_panels, shade, to_frames  # noqa: E402

PLAYED_FPS = 2.0


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', nargs='+', help='videos, folders of videos, lists with one path a line; or one token store')
    parser.add_argument('--tokenizer', required=True, help='tokenizer file with a decoder, .safetensors')
    parser.add_argument('--out', default='work_dirs/nearest_copy', help='folder of the results')
    parser.add_argument('--ratios', type=float, nargs='+', default=[0.15, 0.45], help='shares of tokens to hide')
    parser.add_argument('--num-frames', type=int, default=5, help='token frames of a clip')
    parser.add_argument('--fps', type=float, default=2.0, help='frames per second (a store has its own)')
    parser.add_argument('--size', type=int, default=128, help='side of the frames in pixels (a store has its own)')
    parser.add_argument('--num-pictures', type=int, default=8, help='clips to draw; the numbers are of all')
    parser.add_argument('--seed', type=int, default=0, help='of the masks')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser.parse_args(argv)


class TokenizedVideos:
    """Clips as ``(name, frames, tokens)``: of videos, ``(3, T, H, W)`` uint8 and ``(t, h, w)``; of a store without frames.

    Attributes:
        broken: path to reason, of the videos that could not be read so far.
    """

    def __init__(self, args: argparse.Namespace, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.broken = tokenizer, {}
        self.store = self.clips = None
        if (view_folders(Path(args.source[0]))[0] / 'manifest.json').is_file():
            if len(args.source) > 1:
                raise ValueError(f'{args.source[0]} is a token store, which must be the only source; got {args.source}')
            self.store = TokenClips(args.source[0], args.num_frames, test_mode=True)
            self.store.store.check(dict(tokenizer=checksum_of(tokenizer)))
        else:
            read = partial(middle_clip, num_frames=args.num_frames * tokenizer.stride[0], fps=args.fps * tokenizer.stride[0],
                           size=args.size)
            self.clips = GivenClips(find_videos(args.source), read)
            self.broken = self.clips.broken

    def __len__(self) -> int:
        return len(self.clips.paths if self.store is None else self.store)

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor | None, torch.Tensor]]:
        device = next(self.tokenizer.parameters()).device
        if self.store is not None:
            for index in range(len(self.store)):
                item = self.store[index]
                yield item['data_samples'].name, None, item['tokens'][0].to(device)
            return
        for _, path, frames in self.clips:
            with torch.inference_mode():
                yield path, frames, self.tokenizer(frames.to(device)[None].float() / 255)[0]


def run(args: argparse.Namespace) -> dict:
    """Copy, measure and draw.

    Returns:
        What goes to the JSON file.

    Raises:
        ValueError: for a tokenizer, a source or a number that does not fit.
        FileNotFoundError: if there is no tokenizer file.
    """
    tokenizer = load_tokenizer(args.tokenizer).to(args.device)
    videos, found, all_trials = TokenizedVideos(args, tokenizer), {}, []
    for number, (name, frames, tokens) in enumerate(tqdm(videos, desc='copying', unit='clip')):
        truth, trials = try_copies(tokens, tokenizer, args.ratios, random.Random(f'{args.seed}/{number}'))
        found[name] = [trial.describe() for trial in trials]
        all_trials.append(trials)
        if number < args.num_pictures:
            originals = {'after the tokenizer': truth} if frames is None else {'frames': frames, 'after the tokenizer': truth}
            draw(originals, trials, Path(args.out) / f'{number:03}_{Path(name).stem}', title=Path(name).name)
    if not found:
        raise ValueError(videos.clips.why_none('there is no clip to copy tokens in'))
    return dict(source=args.source, tokenizer=str(args.tokenizer), seed=args.seed, num_frames=args.num_frames,
                num_clips=len(found), mean=mean_numbers(all_trials), clips=found, unreadable=videos.broken)


def draw(originals: dict[str, torch.Tensor], trials: list[CopyTrial], path: Path, title: str) -> None:
    """Write ``path.png``, the middle frame, and ``path.gif``, all frames, laid out as VIMPAC's Fig. 4."""
    originals = {caption: to_frames(pixels) for caption, pixels in originals.items()}
    frames, table = originals['after the tokenizer'], {}
    for trial in trials:
        row = table.setdefault(f'{trial.masking}\nmasks', list(originals.items()))
        agreement, loss = trial.numbers['agreement'], trial.numbers['psnr_hidden']
        if trial.neighbours == NEIGHBOURS[0]:
            row.append((f"{trial.numbers['hidden']:.0%} hidden", shade(frames, trial.mask.numpy())))
        row.append((f'{trial.neighbours} copies\n{agreement:.0%} agree, {loss:.1f} dB', to_frames(trial.pixels)))
    draw_panels(table, path.with_name(f'{path.name}.png'), len(frames) // 2, title)
    animate_panels(table, path.with_name(f'{path.name}.gif'), PLAYED_FPS, title)


def show(found: dict) -> None:
    """Print the means as a table, and the files that could not be read."""
    table = Table(title=f"copies of the nearest visible tokens, mean of {found['num_clips']} clips")
    for column in ('hidden', 'masks', 'neighbours', 'agree', 'PSNR hidden', 'PSNR whole'):
        table.add_column(column, justify='left' if column in ('masks', 'neighbours') else 'right')
    for row in found['mean']:
        table.add_row(f"{row['hidden']:.1%}", row['masking'], row['neighbours'], f"{row['agreement']:.1%}",
                      f"{row['psnr_hidden']:.2f} dB", f"{row['psnr']:.2f} dB")
    console = Console()
    console.print(table)
    for path, reason in found['unreadable'].items():
        console.print(f'cannot be read: {path}: {reason}', markup=False, highlight=False, soft_wrap=True)


def main(argv: list[str] | None = None) -> None:
    """Copy, and say where the results are, or in one line why there are none."""
    args = parse_args(argv)
    try:
        found = run(args)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    write_whole(Path(args.out) / 'nearest_copy.json', json.dumps(found, indent=1))
    show(found)
    print(f'The numbers are in {args.out}/nearest_copy.json, pictures and animations beside them')


if __name__ == '__main__':
    main()
