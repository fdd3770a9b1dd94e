"""Write a small labelled set of video files whose classes differ by their motion only.

    python tools/data/make_motion_dataset.py data/motion --train 800 --val 400 --size 64 --workers 2
"""
from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tqdm import tqdm  # noqa: E402

from ssvideo.datasets.synthetic_motion import CLASSES, MotionSettings, make_motion_dataset  # noqa: E402


def parse_args() -> argparse.Namespace:
    default = {field.name: field.default for field in fields(MotionSettings)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', help='folder to write; complete and of the same settings, it is left as it is')
    parser.add_argument('--train', type=int, default=default['num_train'], help='training clips')
    parser.add_argument('--val', type=int, default=default['num_val'], help='validation clips')
    parser.add_argument('--size', type=int, default=default['size'], help='height and width in pixels')
    parser.add_argument('--frames', type=int, default=default['num_frames'], help='frames of a clip')
    parser.add_argument('--fps', type=int, default=default['fps'], help='frames per second')
    parser.add_argument('--speed', type=float, nargs=2, default=default['speed'], metavar=('SLOWEST', 'FASTEST'),
                        help='pixels a frame that the disc moves')
    parser.add_argument('--scenes', type=int, default=default['num_scenes'], help='scenes, shared by all classes')
    parser.add_argument('--classes', nargs='+', default=CLASSES, choices=CLASSES, help='default: all')
    parser.add_argument('--seed', type=int, default=default['seed'])
    parser.add_argument('--workers', type=int, default=2, help='threads')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    settings = MotionSettings(num_train=args.train, num_val=args.val, size=args.size, num_frames=args.frames,
                              fps=args.fps, speed=tuple(args.speed), num_scenes=args.scenes,
                              classes=tuple(args.classes), seed=args.seed)
    progress = partial(tqdm, total=args.train + args.val, desc='videos', unit='video')
    out = make_motion_dataset(args.out, settings, args.workers, progress)
    print(f'{args.train} + {args.val} clips of {len(settings.classes)} classes in {out}')


if __name__ == '__main__':
    main()
