"""Export a trained model: a folder with all that is needed to use it, on any machine that has this package.

    python tools/export.py CONFIG CHECKPOINT OUT --labels classes.txt
    python tools/export.py CONFIG CHECKPOINT OUT --tokens configs/tokenizers/tokens_vimpac_finetune.py    # to read videos
    python tools/export.py CONFIG CHECKPOINT OUT --graphs onnx torch    # graphs that run without this package, too

OUT holds the weights (safetensors), the architecture, the preprocessing and the names of the classes (JSON), the tokenizer where
the model needs one, and README.md, the model's card. ssvideo.apis.load_pretrained(OUT) builds and loads the model;
ssvideo.apis.exported_model.open_exported(OUT).predict(VIDEO) classifies a video.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for custom_imports=['plugins.x'] from anywhere

from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

from ssvideo.apis.export_graphs import Graph, export_graphs  # noqa: E402
from ssvideo.apis.load_pretrained import load_pretrained  # noqa: E402
from ssvideo.engine.launch import given_config  # noqa: E402
from ssvideo.evaluation.model_card import Provenance, model_card  # noqa: E402
from ssvideo.evaluation.provenance import data_of, results_of, versions  # noqa: E402
from ssvideo.registry import DATASETS  # noqa: E402
from ssvideo.utils.exported_folder import whole_folder, write_exported  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.utils.model_file import ModelFile  # noqa: E402
from ssvideo.utils.plugins import plugin_argument  # noqa: E402
from ssvideo.utils.preprocessing import preprocessing_of  # noqa: E402
from ssvideo.utils.trained_model import trained_model  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='the config that was trained, of a ClipClassifier or a Pretrainer')
    parser.add_argument('checkpoint', help='its weights; the folder they lie in is searched for results')
    parser.add_argument('out', help='the folder to write; must not be there')
    parser.add_argument('--labels', type=Path, help="names of the classes, one a line; default: the data set's, where it tells")
    parser.add_argument('--tokens', metavar='CONFIG', help='of a model trained on a token store: the config that '
                        'tools/extract_tokens.py filled it with. Its tokenizer goes along, so that the model reads videos')
    parser.add_argument('--graphs', nargs='+', choices=['onnx', 'torch'], default=[],
                        help='also write the backbone and a classifier as graphs, and compare them with the model')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='override the config: key=value')
    plugin_argument(parser)
    return parser.parse_args(argv)


def read_config(path: str, options: dict, plugins: Sequence[str]) -> Config:
    """A config, with the components that it names imported.

    Raises:
        ValueError: for a component of ours that is written without ``ssvideo.``.
    """
    cfg = given_config(path, options, plugins)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    return cfg


def labels_of(cfg: Config, file: Path | None) -> list[str] | None:
    """Names of a classifier's classes, in order; None where nothing tells them.

    Args:
        cfg: the config; a data set of it has ``class_names``, or is a folder whose sub-folders are the classes.
        file: with one name a line; stands above the config.

    Raises:
        ValueError: if their number is not that of the classes.
    """
    if 'num_classes' not in cfg.model:
        return None
    if file is not None:
        names = [line.strip() for line in file.read_text('utf-8').splitlines() if line.strip()]
    else:
        names = next(filter(None, map(_names_of, _labelled(cfg))), None)
    if names is not None and len(names) != cfg.model.num_classes:
        raise ValueError(f'{len(names)} names for the {cfg.model.num_classes} classes of the model: give --labels FILE')
    return names


def _labelled(cfg: Config) -> list[dict]:
    loaders = (cfg.get(name) or {} for name in ('test_dataloader', 'val_dataloader', 'train_dataloader'))
    return [loader['dataset'] for loader in loaders if 'dataset' in loader]


def _names_of(dataset: dict) -> list[str]:
    names = dataset.get('class_names')
    if (isinstance(names, str) and Path(names).is_file()) or (not names and Path(dataset.get('source') or '?').is_dir()):
        return list(DATASETS.build(dataset).metainfo.get('classes', []))
    return [] if isinstance(names, str) else list(names or [])


def model_of(cfg: Config, checkpoint: str, tokens: Config | None) -> ModelFile:
    """Architecture and weights, with the tokenizer of a token store where there is one.

    Raises:
        ValueError: if the model is of another kind, or has a tokenizer of its own.
    """
    kind = cfg.model.type.removeprefix('ssvideo.')
    if kind not in ('ClipClassifier', 'Pretrainer'):
        raise ValueError(f'{cfg.filename} trains a {kind}; a ClipClassifier or a Pretrainer is exported. A tokenizer has its own '
                         'file already, tokenizer.safetensors in its work folder')
    model = trained_model(cfg, checkpoint)
    if tokens is not None:
        if model.config.get('tokenizer'):
            raise ValueError('--tokens is for a model that reads a token store; this one has a tokenizer of its own')
        model.config['tokenizer'] = tokens.tokenizer.to_dict()
    return model


def export(args: argparse.Namespace) -> list[str]:
    """Write the folder; lines that say what it holds.

    Raises:
        FileNotFoundError: if a file is not there.
        FileExistsError: if there is such a folder already.
        ValueError: if anything does not fit, or a graph does not compute what the model computes.
    """
    cfg = read_config(args.config, args.cfg_options, args.plugin)
    tokens = read_config(args.tokens, {}, args.plugin) if args.tokens else None
    preprocessing, labels = preprocessing_of(cfg, tokens), labels_of(cfg, args.labels)
    file, reports = model_of(cfg, args.checkpoint, tokens), []
    work_dir = Path(args.checkpoint).absolute().parent
    provenance = Provenance(config=(Path(args.config).name, cfg.pretty_text), source=file.source, data=data_of(cfg),
                            results=results_of(work_dir), versions=versions())
    with whole_folder(args.out) as folder:
        write_exported(folder, file, preprocessing, labels)
        model = load_pretrained(folder, report_to=reports.append)  # by its reader, before it gets its name
        graphs = graphs_of(model, folder, args.graphs, preprocessing)
        card = model_card(Path(args.out).name, model, preprocessing, labels, list(map(str, graphs)), provenance)
        write_whole(folder / 'README.md', card)
        size = sum(path.stat().st_size for path in folder.iterdir())
    return [*str(reports[0]).replace(f'{args.out}.tmp', args.out).splitlines(), *(f'  {graph}' for graph in graphs),
            *([] if labels or 'num_classes' not in cfg.model else ['  names of the classes: not known, give --labels FILE']),
            f'The model is in {args.out}, {size / 1e6:.1f} MB; its card is {args.out}/README.md']


def graphs_of(model, folder: Path, kinds: Sequence[str], preprocessing: dict) -> list[Graph]:
    """The graphs that are asked for, written and checked."""
    return [graph for kind in kinds for graph in export_graphs(model, folder, kind, preprocessing)]


def main(argv: list[str] | None = None) -> None:
    """Export, and say where the model is, or in one line why it is not."""
    try:
        print('\n'.join(export(parse_args(argv))))
    except (ValueError, OSError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
