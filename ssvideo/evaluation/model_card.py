"""The page that goes along with an exported model."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

NUM_LABELS_SHOWN = 20


@dataclass
class Provenance:
    """What a card says of a model's making.

    Args:
        config: of the training, its file's name and its text with everything that it inherits.
        source: of the weights, see :func:`~ssvideo.utils.model_file.source_of`.
        data: see :func:`~ssvideo.evaluation.provenance.data_of`.
        results: see :func:`~ssvideo.evaluation.provenance.results_of`.
        versions: of the libraries.
    """
    config: tuple[str, str]
    source: dict
    data: list[dict]
    results: dict
    versions: dict[str, str]


def model_card(name: str, model: nn.Module, preprocessing: Mapping, labels: Sequence[str] | None, graphs: Sequence[str],
               provenance: Provenance) -> str:
    """The card, in Markdown.

    Args:
        name: of the model, its title.
        model: a ``ClipClassifier`` or a ``Pretrainer``.
        preprocessing: see :func:`~ssvideo.utils.preprocessing.preprocessing_of`.
        labels: names of the classes, if they are known.
        graphs: one line for each graph that lies beside the weights.
        provenance: where the model comes from.
    """
    sections = [
        ('', _what(name, model)), ('Use', _use(hasattr(model, 'fc'))), ('Input', _input(model, preprocessing)),
        ('Graphs', '\n'.join(f'- {line}' for line in graphs)), ('Classes', _classes(model, labels)),
        ('Results', _results(provenance.results)), ('Where it comes from', _origin(provenance)),
        ('Data', _data(provenance.data)), ('Config', _config(provenance.config))]
    return '\n\n'.join(f'## {title}\n\n{text}' if title else text for title, text in sections if text) + '\n'


def _what(name: str, model: nn.Module) -> str:
    size = sum(parameter.numel() for parameter in model.parameters())
    backbone = sum(parameter.numel() for parameter in model.backbone.parameters())
    return (f'# {name}\n\nA {type(model).__name__} with a {type(model.backbone).__name__}, made with ssvideo: {size / 1e6:.4g} M '
            f'parameters, {backbone / 1e6:.4g} M of them in the backbone.')


def _use(classifies: bool) -> str:
    last = ("scores = exported.predict('video.mp4')      # {class: probability}, the best first" if classifies else
            "features = exported.features('video.mp4')   # (views, C)")
    return ('```python\nfrom ssvideo.apis.exported_model import open_exported\n\n'
            "exported = open_exported('THIS_FOLDER')     # loads strictly; exported.model is a torch module\n"
            f'{last}\n```')


def _input(model: nn.Module, preprocessing: Mapping) -> str:
    frames = preprocessing
    spacing = (f'{frames["fps"]:g} frames a second' if frames['fps'] else
               f'{frames["frame_interval"] or 1} frames apart' if frames['strategy'] == 'random' else 'one of each equal segment')
    views = f'of a video {frames["num_clips"]} x {frames["crops"]} (clips x crops)'
    lines = [f'- Clips of {frames["clip_len"]} frames, {spacing}; {views}.']
    if frames['size']:
        lines.append(f'- RGB, {frames["size"][0]} x {frames["size"][1]} pixels' + (
            f', minus {frames["mean"]}, divided by {frames["std"]} (of 0 to 255).' if frames['mean'] else ', not normalised.'))
    if model.backbone.reads == 'tokens':
        own = getattr(model, 'tokenizer', None)
        lines.append(f'- The backbone reads tokens of the grid {tuple(model.backbone.grid)}' + (
            f', which the {type(own).__name__} in this folder makes.' if own is not None else
            '. Their tokenizer is not in this folder; its checksum is below.'))
    if frames['loader'].startswith('train'):
        lines.append('- Training cut clips and crops out at random; this is the middle of the video and the centre of the frame.')
    return '\n'.join([*lines, '- All of it, for programs: `preprocessing.json`.'])


def _classes(model: nn.Module, labels: Sequence[str] | None) -> str:
    if not hasattr(model, 'fc'):
        return ''
    if labels is None:
        return f'{model.fc.out_features}; their names are not known.'
    rest = f', ... (`labels.json` has all {len(labels)})' if len(labels) > NUM_LABELS_SHOWN else ''
    return ', '.join(labels[:NUM_LABELS_SHOWN]) + rest


def _results(results: Mapping) -> str:
    """What was logged as a table; the rest as it was found."""
    parts = []
    if logged := results.get('logged'):
        rows = '\n'.join(f'| {name} | {value:.5g} | {step} |' for name, (step, value) in sorted(logged.items()))
        parts.append(f'Last values in the log of the run:\n\n| quantity | value | step |\n| --- | --- | --- |\n{rows}')
    others = {name: json.dumps(content, indent=2) for name, content in results.items() if name != 'logged'}
    parts += [f'{name}:\n\n```json\n{content}\n```' for name, content in others.items()]
    return '\n\n'.join(parts) or 'No results were found beside the checkpoint.'


def _origin(provenance: Provenance) -> str:
    source = provenance.source
    lines = [f'- Checkpoint: `{source["file"]}`, SHA-256 `{source["sha256"]}`.']
    training = dict(source.get('training', {}))
    for name, checksum in (training.pop('tokenizers', None) or {}).items():
        lines.append(f'- Trained with the tokenizer {name!r} of checksum `{checksum}`.')
    if training:
        lines.append('- ' + ', '.join(f'{key} {value}' for key, value in training.items()) + '.')
    lines += [f'- {note}.' for note in source.get('notes', [])]
    lines.append('- Exported with ' + ', '.join(f'{name} {number}' for name, number in provenance.versions.items()) + '.')
    return '\n'.join(lines)


def _data(data: Sequence[Mapping]) -> str:
    rows = [f'| `{entry["path"]}` | {", ".join(entry["used_by"])} | {_content(entry)} |' for entry in data]
    return '\n'.join(['| list | used by | content |', '| --- | --- | --- |', *rows]) if rows else ''


def _content(entry: Mapping) -> str:
    if entry.get('missing') or entry.get('folder'):
        return 'not on the machine that exported' if entry.get('missing') else 'a folder'
    count = f'{entry["num_lines"]} lines' if 'num_lines' in entry else f'token store of {entry["num_videos"]} videos'
    tokenizer = f', tokenizer `{entry["tokenizer"]}`' if entry.get('tokenizer') else ''
    return f'{count}, SHA-256 `{entry["sha256"]}`{tokenizer}'


def _config(config: tuple[str, str]) -> str:
    name, text = config
    return f'`{name}`, with what it inherits:\n\n```python\n{text.strip()}\n```'
