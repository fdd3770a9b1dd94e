"""Backbone and classifier as graphs that run without this package: ONNX and ``torch.export``."""
from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..models.classifier import ClipClassifier

SUFFIXES = dict(onnx='.onnx', torch='.pt2')
TOLERANCE = 1e-4
"""By how much a graph may differ from the model, as a share of the largest value of that output, or of 1 if that is larger."""
NUM_TRACED = 2
"""Clips with which a graph is traced."""
NUMS_CHECKED = (1, 2, 3)
"""Clips with which a graph is checked that takes any number of them."""


@dataclass(frozen=True)
class Graph:
    """A graph that was written and checked.

    Args:
        file: its name.
        inputs: shape of its one input; None where any number of clips will do.
        outputs: names of its outputs.
        difference: the largest from the model, see :data:`TOLERANCE`.
    """
    file: str
    inputs: tuple[int | None, ...]
    outputs: tuple[str, ...]
    difference: float

    def __str__(self) -> str:
        shape = ' x '.join('N' if size is None else str(size) for size in self.inputs)
        return f'{self.file}: {shape} -> {", ".join(self.outputs)}; differs from the model by {self.difference:.1e} at most'


class _Encoder(nn.Module):
    """A backbone that returns plain tensors: its maps, then the summary."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.outputs = (*(f'map_{i}' for i in range(len(model.backbone.channels))), 'summary')

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        features = self.backbone(clips)
        return *features.maps, features.summary


class _Classifier(nn.Module):
    """From what the backbone reads to logits."""
    outputs = ('logits',)

    def __init__(self, model: ClipClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> tuple[Tensor]:
        return (self.model.fc(self.model.extract_feat(clips)),)


@torch.no_grad()
def export_graphs(model: nn.Module, folder: Path, kind: Literal['onnx', 'torch'], preprocessing: Mapping) -> list[Graph]:
    """Write a model's backbone, and of a classifier the whole but its tokenizer, and compare each file with the model.

    A graph takes what the backbone reads: normalised pixels ``(N, 3, T, H, W)``, or tokens ``(N, t, h, w)``. N is free, as with
    all backbones of this package, unless the backbone's code fixes it: it is 1 then. A file is compared with the model on random
    clips, one, two and three of them.

    Args:
        model: with a ``backbone``, in eval mode, on the CPU.
        folder: receives ``backbone`` and ``classifier`` with the suffix of the kind.
        kind: ``'onnx'`` needs the packages onnx, onnxscript and onnxruntime.
        preprocessing: says the shape of a clip of pixels.

    Raises:
        ValueError: if the model cannot be traced, a package is missing, or a file computes something else than the model.
    """
    if kind == 'onnx':
        _import_onnx()
    parts = dict(backbone=_Encoder(model)) | (dict(classifier=_Classifier(model)) if isinstance(model, ClipClassifier) else {})
    draw = _random_clips(model.backbone, preprocessing)
    found = []
    for name, part in parts.items():
        path = folder / f'{name}{SUFFIXES[kind]}'
        program, size = _trace(part.eval(), draw, name)
        run = _write_onnx(program, path, part.outputs) if kind == 'onnx' else _write_program(program, path)
        difference = max(_difference(part, run, draw(size or number), path) for number in NUMS_CHECKED)
        found.append(Graph(path.name, (size, *draw(1).shape[1:]), part.outputs, difference))
    return found


def _random_clips(backbone: nn.Module, preprocessing: Mapping) -> Callable[[int], Tensor]:
    if backbone.reads == 'tokens':
        return lambda number: torch.randint(backbone.vocab_size, (number, *backbone.grid))
    return lambda number: torch.randn(number, 3, preprocessing['clip_len'], *preprocessing['size'])


def _trace(part: nn.Module, draw: Callable[[int], Tensor], name: str) -> tuple[ExportedProgram, int | None]:
    """The program, and the number of clips that it is for; None: any."""
    for number in (NUM_TRACED, 1):
        clips = draw(number)
        for some in (clips, clips[:1]):
            part(some)  # makes what the model keeps for a shape; made while tracing it would be no tensor of numbers
        try:
            program = torch.export.export(part, (clips,), dynamic_shapes=({0: Dim.AUTO},) if number > 1 else None)
        except Exception as error:  # of many types
            raise ValueError(f'torch.export cannot trace the {name}: {error}') from error
        if program.range_constraints:  # of sizes that are not fixed
            return program, None
    return program, 1


def _write_program(program: ExportedProgram, path: Path) -> Callable[[Tensor], list[Tensor]]:
    torch.export.save(program, path)
    loaded = torch.export.load(path).module()
    return lambda clips: list(loaded(clips))


def _write_onnx(program: ExportedProgram, path: Path, outputs: tuple[str, ...]) -> Callable[[Tensor], list[Tensor]]:
    onnxruntime = _import_onnx()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        made = torch.onnx.export(program, dynamo=True, verbose=False, input_names=['clips'], output_names=list(outputs))
    made.save(path)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda clips: [torch.from_numpy(value) for value in session.run(None, dict(clips=clips.numpy()))]


def _import_onnx():
    try:
        for package in ('onnx', 'onnxscript'):
            importlib.import_module(package)
        logging.getLogger('onnxscript').setLevel(logging.WARNING)
        return importlib.import_module('onnxruntime')
    except ImportError as error:
        raise ValueError(f'ONNX needs a package that is not installed ({error.name}): pip install onnx onnxscript '
                         'onnxruntime') from error


def _difference(part: nn.Module, run: Callable[[Tensor], list[Tensor]], clips: Tensor, path: Path) -> float:
    largest = 0.0
    for name, wanted, got in zip(part.outputs, part(clips), run(clips), strict=True):
        if got.shape != wanted.shape:
            raise ValueError(f'{path.name} does not compute what the model does: {name} is {tuple(got.shape)}, expected '
                             f'{tuple(wanted.shape)}')
        share = ((wanted - got).abs().max() / wanted.abs().max().clamp(min=1)).item()
        if not share <= TOLERANCE:  # NaN is too much, either
            raise ValueError(f'{path.name} does not compute what the model does: {name} differs by {share:.2g}, more than '
                             f'{TOLERANCE:g}')
        largest = max(largest, share)
    return largest
