"""Lay the videos of a list out in the plane by their features, coloured by class.

    python tools/visualizations/embedding.py CONFIG CHECKPOINT LIST --out embedding.png [--method tsne]

'pca' shows the two directions in which the features differ most; 'tsne' who is whose neighbour (it needs scikit-learn,
requirements/optional.txt). A JSON file beside the picture has the points.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for custom_imports=['plugins.x'] from anywhere

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor  # noqa: E402

from ssvideo.engine.encoded_list import encode_list, list_arguments  # noqa: E402
from ssvideo.engine.given_model import model_arguments, open_model  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.visualization import draw_scatter, suffix_of  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model_arguments(parser)
    parser.add_argument('source', help='list of lines `path` or `path label`, or folder, in which sub-folders are classes')
    list_arguments(parser)
    parser.add_argument('--method', choices=['pca', 'tsne'], default='pca')
    parser.add_argument('--perplexity', type=float, default=30.0, help='of t-SNE: about how many neighbours count')
    parser.add_argument('--out', default='work_dirs/embedding.png', help='picture to write, .png')
    return parser.parse_args(argv)


def lay_out(features: Tensor, method: str, perplexity: float, seed: int) -> np.ndarray:
    """Points ``(M, 2)`` for features ``(M, C)``, by their directions alone.

    Raises:
        ValueError: if there are too few videos, or scikit-learn is needed and not installed.
    """
    unit = F.normalize(features, dim=1)
    if method == 'pca':
        if len(unit) < 3:
            raise ValueError(f'two directions need at least 3 videos, got {len(unit)}')
        centred = (unit - unit.mean(0)).double()
        return (centred @ torch.linalg.svd(centred, full_matrices=False)[2][:2].T).numpy()
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise ValueError('--method tsne needs scikit-learn: pip install scikit-learn, or take --method pca') from error
    if not 0 < perplexity < len(unit):
        raise ValueError(f'--perplexity must be positive and below the number of videos, {len(unit)}; got {perplexity}')
    return TSNE(perplexity=perplexity, init='pca', metric='cosine', random_state=seed).fit_transform(unit.numpy())


def run(args: argparse.Namespace) -> Path:
    """Encode, lay out and draw.

    Returns:
        The picture.

    Raises:
        ValueError: for a config, a file or a list that does not fit.
        FileNotFoundError: if there is no such file.
    """
    suffix_of(args.out, ('.png',))
    found = encode_list(open_model(args), args.source, args)
    points = lay_out(found.features, args.method, args.perplexity, args.seed)
    labels = None if found.labels is None else found.labels.tolist()
    title = f'{len(points)} videos by {dict(pca="principal components", tsne="t-SNE")[args.method]} of their features'
    path = draw_scatter(points, labels, args.out, title, found.class_names)
    videos = [dict(path=video, label=label, point=point)
              for video, label, point in zip(found.paths, labels or [None] * len(points), points.tolist())]
    write_whole(path.with_suffix('.json'), json.dumps(dict(method=args.method, videos=videos, unreadable=found.broken), indent=1))
    for video, reason in found.broken.items():
        print(f'cannot be read: {video}: {reason}', file=sys.stderr)
    return path


def main(argv: list[str] | None = None) -> None:
    """Draw, and say where the picture is, or in one line why there is none."""
    args = parse_args(argv)
    try:
        path = run(args)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    print(f'The picture is {path}, the points are in {path.with_suffix(".json")}')


if __name__ == '__main__':
    main()
