"""Random weights under the names of VIMPAC's released code, and the golden ones."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from safetensors import safe_open

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / 'tests' / 'parity' / 'data'


def golden(name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a file of golden tensors."""
    with safe_open(GOLDEN / f'{name}.safetensors', 'pt') as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118  (no iterator)


def authors_weights(branches=(1, 2), norm='post', width=128, attention=128, mlp=256, layers=2, grid=(2, 4, 4), vocab=16,
                    projector=(64, 32), mlm=True) -> dict[str, torch.Tensor]:
    """A state dict as the authors' code would save it; ``branches`` are those of each attention block."""
    generator = torch.Generator().manual_seed(0)
    weights = {}

    def add(name, *shape):
        weights[name] = torch.randn(*shape, generator=generator) * 0.02

    def linear(name, n_in, n_out, bias=True):
        add(f'{name}.weight', n_out, n_in)
        if bias:
            add(f'{name}.bias', n_out)

    def norm_layer(name, dims):
        add(f'{name}.weight', dims)
        add(f'{name}.bias', dims)

    inside = 'output.' if norm == 'post' else ''
    add('backbone.embedding.weight', vocab + 5, width)
    add('backbone.cls_param', width)
    add('backbone.positional_embedding.cls_pos_embedding', 1, width)
    for axis, size in zip(('temporal', 'height', 'width'), grid):
        add(f'backbone.positional_embedding.{axis}_pos_embedding', size, width)
    norm_layer('backbone.ln_pre' if norm == 'post' else 'backbone.ln_post', width)
    for layer in (f'backbone.transformer.resblocks.{i}' for i in range(layers)):
        for i, num in enumerate(branches):
            block = f'{layer}.attention_blocks.{i}'
            for branch in range(num):
                for part in ('query', 'key', 'value'):
                    linear(f'{block}.attentions.{branch}.attention.{part}', width, attention // num)
            linear(f'{block}.{inside}dense', attention, width)
            norm_layer(f'{block}.{inside}LayerNorm', width)
        linear(f'{layer}.mlp.c_fc', width, mlp)
        linear(f'{layer}.mlp.c_proj', mlp, width)
        norm_layer(f'{layer}.ln', width)
    if mlm:
        linear('mlm_head.transform.0', width, width)
        norm_layer('mlm_head.transform.2', width)
        add('mlm_head.bias', vocab + 5)
    for i, out in enumerate(projector):
        last = i == len(projector) - 1
        linear(f'cls_head.mlp.linear_{i}', (width, *projector)[i], out, bias=not last)
        if not last:
            norm_layer(f'cls_head.mlp.bn_{i}', out)
            weights[f'cls_head.mlp.bn_{i}.running_mean'] = torch.zeros(out)
            weights[f'cls_head.mlp.bn_{i}.running_var'] = torch.ones(out)
    return weights


def finetuned_weights(name='cls_head.fc', num_classes=7, **sizes) -> dict[str, torch.Tensor]:
    """As :func:`authors_weights`, with a linear classifier in the place of the projector and without an MLM head."""
    weights = authors_weights(projector=(), mlm=False, **sizes)
    width = weights['backbone.cls_param'].shape[0]
    return weights | {f'{name}.weight': torch.randn(num_classes, width, generator=torch.Generator().manual_seed(1)),
                      f'{name}.bias': torch.arange(num_classes).float()}


def convert(*args) -> None:
    """Run tools/convert_checkpoint.py with these words."""
    spec = importlib.util.spec_from_file_location('convert_checkpoint', ROOT / 'tools' / 'convert_checkpoint.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main(list(map(str, args)))
