"""A model from its file or folder."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import print_log
from torch import Tensor, nn

from ..models.backbones.base import Backbone
from ..utils.exported_folder import TOKENIZER, read_model
from ..utils.model_file import build_model, refuse_other_shapes


@dataclass
class LoadReport:
    """What loading did; ``str(report)`` is a table.

    Args:
        path: the file or folder.
        model: what was built, such as ``'Pretrainer (DividedTransformer)'``.
        source: where the weights of the file come from; see :func:`~ssvideo.utils.model_file.source_of`.
        loaded: names of the weights of the model that the file has.
        resized: of these, what was fitted, one line each, "from what to what".
        missing: names that the file lacks; the model keeps their initial values. Those of a classifier's tokenizer do not
            count, it has loaded its own file.
        unexpected: names that the model lacks; left out.
    """
    path: Path
    model: str
    source: dict
    loaded: list[str]
    resized: list[str]
    missing: list[str]
    unexpected: list[str]

    def __str__(self) -> str:
        origin = f', from {self.source["file"]} (sha256 {self.source["sha256"][:12]})' if 'sha256' in self.source else ''
        lines = [f'{self.path}: a {self.model}{origin}', *(f'  {note}' for note in self.source.get('notes', []))]
        for kind in ('loaded', 'resized', 'missing', 'unexpected'):
            found = getattr(self, kind)
            lines.append(f'  {kind:<10} {len(found):>5}')
            if kind != 'loaded':  # all of them would hide the rest
                lines += [f'{"":19}{line}' for line in found]
        return '\n'.join(lines)

    def in_words(self) -> str:
        """What is missing and what is unexpected, in half a line."""
        return (f'missing {self.missing[:5]} ({len(self.missing)}), unexpected {self.unexpected[:5]} '
                f'({len(self.unexpected)})')


def log_report(report: LoadReport) -> None:
    """Write a report to mmengine's log."""
    print_log(str(report), logger='current')


def load_pretrained(path: str | Path, backbone: Mapping | None = None, strict: bool = True,
                    report_to: Callable[[LoadReport], object] = log_report) -> nn.Module:
    """Build the model that a file or a folder describes and load its weights.

    Args:
        path: ``.safetensors``, written by ``tools/convert_checkpoint.py``; or a folder, written by ``tools/export.py``.
        backbone: arguments of the backbone to replace, such as ``dict(grid=(10, 32, 32))`` or ``dict(dropout=0.0)``.
            Weights of another grid or window are fitted, see :meth:`Backbone.adapt`.
        strict: whether a missing or an unexpected weight is an error.
        report_to: is given the report, before an error is raised; by default it is logged. A script takes it with
            ``reports = []; load_pretrained(path, report_to=reports.append)``.

    Returns:
        A ``Pretrainer`` (with ``.backbone`` and ``.objectives``) or a ``ClipClassifier``, or what else the file
        describes, in eval mode on the CPU.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if it holds no model, describes anything that is not registered in ``ssvideo.registry.MODELS``, or
            its weights do not fit.

    Example:
        >>> model = load_pretrained('vimpac_small.safetensors')
        >>> summary = model.backbone(tokens).summary  # (N, C)
    """
    file = read_model(path)
    model = build_model(_with_backbone(path, file.config, backbone or {}))
    report, weights = compare_weights(path, model, file.weights, file.source)
    report_to(report)
    if strict and (report.missing or report.unexpected):
        raise ValueError(f'{path} does not hold the weights of the model that it describes: {report.in_words()}. With '
                         'strict=False what is missing keeps its initial values')
    expected = model.state_dict()
    refuse_other_shapes(expected, weights)
    model.load_state_dict({name: weights.get(name, value) for name, value in expected.items()})
    return model.eval()


def compare_weights(path: str | Path, model: nn.Module, weights: Mapping[str, Tensor],
                    source: Mapping) -> tuple[LoadReport, dict[str, Tensor]]:
    """Compare weights with a model; nothing is loaded.

    Args:
        path: where they come from.
        model: its backbones fit the weights first.
        weights: a state dict.
        source: for the report.

    Returns:
        The report, and the fitted weights.
    """
    expected = model.state_dict()
    fitted, resized = _fit(model, weights)
    missing = sorted(name for name in expected.keys() - fitted if not name.startswith(TOKENIZER))
    return LoadReport(Path(path), _describe(model), dict(source), loaded=sorted(expected.keys() & fitted), resized=resized,
                      missing=missing, unexpected=sorted(fitted.keys() - expected)), fitted


def _with_backbone(path: str | Path, config: dict, changes: Mapping) -> dict:
    if changes and not isinstance(config.get('backbone'), Mapping):
        raise ValueError(f'{path} describes a {config.get("type")!r} without a backbone: leave out backbone={dict(changes)}')
    return config | ({'backbone': {**config['backbone'], **changes}} if changes else {})


def _fit(model: nn.Module, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Weights as the model's backbones want them, and a line for each that changed."""
    fitted, lines = dict(weights), []
    for place, part in model.named_modules():
        if isinstance(part, Backbone):
            prefix = f'{place}.' if place else ''
            own = {name.removeprefix(prefix): fitted.pop(name) for name in list(fitted) if name.startswith(prefix)}
            own, notes = part.adapt(own)
            fitted.update({prefix + name: value for name, value in own.items()})
            lines += [prefix + note for note in notes]
    return fitted, lines


def _describe(model: nn.Module) -> str:
    backbone = getattr(model, 'backbone', None)
    return type(model).__name__ + (f' ({type(backbone).__name__})' if backbone is not None else '')
