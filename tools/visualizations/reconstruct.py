"""Show what a pre-trained model puts where it cannot see, on any video (VIMPAC, Fig. 5).

    python tools/visualizations/reconstruct.py CONFIG CHECKPOINT VIDEO... --out DIR --tokenizer FILE --fps 2

Each video gives a picture and an animation of four rows: its frames, these after the tokenizer alone, the masked area, and
the model's prediction; reconstruction.json has the numbers. A model that reads tokens from a store needs --tokenizer, the
one that made the store. Other masks: --cfg-options model.maskers.video.num_blocks=20.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for custom_imports=['plugins.x'] from anywhere

import torch  # noqa: E402
from mmengine.config import Config, ConfigDict, DictAction  # noqa: E402
from mmengine.logging import MessageHub  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import Tensor  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.apis.reconstruct import Reconstruction, reconstruct_masked  # noqa: E402
from ssvideo.datasets.given_videos import GivenClips, drawn_clip, find_videos, middle_clip  # noqa: E402
from ssvideo.datasets.token_manifest import read_manifest, view_folders  # noqa: E402
from ssvideo.engine.launch import check_names  # noqa: E402
from ssvideo.models.pretrainer import Pretrainer  # noqa: E402
from ssvideo.models.tokenizers import load_tokenizer  # noqa: E402
from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.utils.foreign_weights import read_weights  # noqa: E402
from ssvideo.visualization import animate_rows, draw_reconstructions  # noqa: E402

PLAYED_FPS = 2.0
COLUMNS = dict(hidden='hidden', accuracy='right', copy_accuracy='by copying', psnr_hidden='PSNR hidden', psnr='PSNR whole')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the pre-training')
    parser.add_argument('checkpoint', help='its checkpoint, .pth or .safetensors')
    parser.add_argument('videos', nargs='+', help='videos, folders of videos, or lists with one path a line')
    parser.add_argument('--out', default='work_dirs/reconstruct', help='folder of the results')
    parser.add_argument('--tokenizer', help='tokenizer file with a decoder; default: the one in the config')
    parser.add_argument('--fps', type=float, help='frames per second, for a model that reads tokens; default: as its store')
    parser.add_argument('--seed', type=int, default=0, help='of the masks, and of the clip where the config draws it')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='override the config: key=value, nested keys with dots')
    return parser.parse_args(argv)


def load_model(cfg: Config, checkpoint: str, tokenizer: str | None) -> Pretrainer:
    """Build the model with a tokenizer of its own, and load its weights strictly.

    Raises:
        ValueError: if the config is no pre-training's, there is no tokenizer, or the weights do not fit.
        FileNotFoundError: if there is no such file.
    """
    if tokenizer is not None:
        cfg.model.tokenizer = dict(type=f'ssvideo.{type(load_tokenizer(tokenizer)).__name__}', checkpoint=tokenizer)
    elif not cfg.model.get('tokenizer'):
        raise ValueError('this model reads tokens from a store: say with --tokenizer which file made them')
    model = MODELS.build(cfg.model)
    if not isinstance(model, Pretrainer):
        raise ValueError(f'the config trains a {type(model).__name__}, expected a Pretrainer: give a config of pre-training')
    weights = read_weights(checkpoint).tensors
    try:
        model.load_state_dict(weights)
    except (RuntimeError, ValueError) as error:  # torch's, and a backbone's own
        raise ValueError(f'{checkpoint} does not fit the model of the config. {error}') from error
    return model.eval()


def clip_reader(cfg: Config, model: Pretrainer, stream: str, fps: float | None, seed: int) -> Callable[[str], Tensor]:
    """What makes a clip of a video in the view of the pre-training.

    A model that reads tokens gets the middle clip, of the size of its grid; one that reads pixels a clip drawn by the
    pipeline of its training set.

    Raises:
        ValueError: if the config does not tell.
    """
    loaders = cfg.train_dataloader
    dataset = loaders.get(stream, loaders).get('dataset', ConfigDict())
    if model.backbone.reads == 'tokens':
        stride = model.tokenizers[model.default_target].stride
        frames, height, width = (cells * step for cells, step in zip(model.backbone.grid, stride))
        if height != width:
            raise ValueError(f'the model reads clips of {height} x {width} pixels, expected a square')
        rate = (fps or rate_of_store(dataset)) * stride[0]  # of frames: that of a store is of tokens
        return partial(middle_clip, num_frames=frames, fps=rate, size=height)
    if fps is not None:
        raise ValueError('--fps is for models that read tokens; this one reads clips as its config draws them. Change that with '
                         '--cfg-options')
    if not dataset.get('pipeline'):
        raise ValueError(f'the config has no pipeline of the stream {stream!r} that clips could be drawn with')
    pack = [] if dataset.pipeline[-1].type.endswith('PackActionInputs') else [dict(type='PackActionInputs')]
    kept = [transform for transform in dataset.pipeline if transform.type != 'ssvideo.StoredTokens']
    return partial(drawn_clip, pipeline=[*kept, *pack], seed=seed)


def rate_of_store(dataset: ConfigDict) -> float:
    """Frames per second of the clips that a config reads from a token store.

    Raises:
        ValueError: if the store is not there.
    """
    stores = dataset.get('store') or 'no store'
    store = Path(stores if isinstance(stores, str) else stores[0])
    try:
        return read_manifest(view_folders(store)[0])['fps'] / dataset.get('frame_interval', 1)
    except ValueError as error:
        raise ValueError(f'say the frame rate with --fps (VIMPAC: 2), as the store does not: {error}') from error


def run(args: argparse.Namespace) -> dict:
    """Reconstruct, measure and draw.

    Returns:
        What goes to the JSON file.

    Raises:
        ValueError: for a config, a file or a video that does not fit.
        FileNotFoundError: if there is no such file.
    """
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    check_names(cfg)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    model = load_model(cfg, args.checkpoint, args.tokenizer).to(args.device)
    stream = 'video' if 'video' in model.maskers else next(iter(model.maskers))
    MessageHub.get_current_instance().update_info('seed', args.seed)
    clips = GivenClips(find_videos(args.videos), clip_reader(cfg, model, stream, args.fps, args.seed))
    measured = {}
    for number, path, frames in tqdm(clips, total=len(clips.paths), desc='reconstructing', unit='video'):
        inputs = model.data_preprocessor({stream: dict(inputs=[frames[None]])})['inputs']
        found = reconstruct_masked(model, inputs).get(stream)
        if found is None:
            raise ValueError(f'no objective of the stream {stream!r} predicts tokens: there is nothing to draw')
        measured[path] = found.measure(0)
        draw(found, measured[path], Path(args.out) / f'{number:03}_{Path(path).stem}', title=Path(path).name)
    if not measured:
        raise ValueError(clips.why_none('there is no video to reconstruct'))
    mean = {name: sum(row[name] for row in measured.values()) / len(measured) for name in next(iter(measured.values()))}
    return dict(config=args.config, checkpoint=args.checkpoint, tokenizer=args.tokenizer, seed=args.seed, mean=mean,
                videos=measured, unreadable=clips.broken)


def draw(found: Reconstruction, numbers: dict[str, float], path: Path, title: str) -> None:
    """Write ``path.png``, some frames, and ``path.gif``, all of them."""
    rows = found.rows(0)
    right = f"{numbers['accuracy']:.0%} right, " if 'accuracy' in numbers else ''
    labels = {'masked area': f"masked area\n{numbers['hidden']:.0%}", 'model': f"model\n{right}{numbers['psnr_hidden']:.1f} dB"}
    rows = {labels.get(name, name): frames for name, frames in rows.items()}
    draw_reconstructions(rows, path.with_name(f'{path.name}.png'), title)
    animate_rows(rows, path.with_name(f'{path.name}.gif'), PLAYED_FPS, title)


def show(found: dict) -> None:
    """Print the numbers as a table, and the files that could not be read."""
    names = [name for name in COLUMNS if name in found['mean']]
    table = Table('video', *(COLUMNS[name] for name in names), title='prediction of hidden tokens')
    for video, numbers in (*found['videos'].items(), ('mean', found['mean'])):
        table.add_row(Path(video).name, *(f'{numbers[name]:.2f} dB' if name.startswith('psnr') else f'{numbers[name]:.1%}'
                                          for name in names))
    console = Console()
    console.print(table)
    for path, reason in found['unreadable'].items():
        console.print(f'cannot be read: {path}: {reason}', markup=False, highlight=False, soft_wrap=True)


def main(argv: list[str] | None = None) -> None:
    """Reconstruct, and say where the results are, or in one line why there are none."""
    args = parse_args(argv)
    try:
        found = run(args)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    write_whole(Path(args.out) / 'reconstruction.json', json.dumps(found, indent=1))
    show(found)
    print(f'The numbers are in {args.out}/reconstruction.json, a picture and an animation of each video beside it')


if __name__ == '__main__':
    main()
