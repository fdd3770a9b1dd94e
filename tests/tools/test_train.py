"""VIMPAC's path with recipes as they are, shrunk: pre-train, fine-tune on several splits, test in many crops."""
import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from ssvideo.datasets.token_store import TokenStoreWriter
from ssvideo.datasets.transforms.fixed_view import fixed_views

ROOT = Path(__file__).parents[2]
TINY = ['model.backbone.embed_dims=8', 'model.backbone.num_layers=1', 'model.backbone.num_heads=2']
CHEAP = ['env_cfg.mp_cfg.mp_start_method=fork', 'visualizer.vis_backends=[]']
FINETUNING = ['train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0',
              'val_dataloader.persistent_workers=False', 'train_dataloader.batch_size=2', 'optim_wrapper.accumulative_counts=1',
              'train_cfg.max_epochs=1', 'model.backbone.init_cfg.checkpoint=pretraining/epoch_1.pth', *TINY, *CHEAP]


def write_store(path: Path, names: list[str], seed: int) -> None:
    manifest = dict(tokenizer='', fps=2, size=(16, 16), grid=(2, 2), vocab_size=8192)
    writer = TokenStoreWriter(path, manifest)
    generator = torch.Generator().manual_seed(seed)
    for number, name in enumerate(names):
        length = 1 + 2 * number  # the first is shorter than a clip
        writer.write(name, torch.randint(8192, (length, 2, 2), generator=generator))
    writer.close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Token stores as the recipes name them, 2 x 2 tokens a frame; lists of two splits."""
    monkeypatch.chdir(tmp_path)
    for word, value in dict(SPLIT='1', VIMPAC_FRAMES='3', VIMPAC_SIZE='16', VIMPAC_CROPS='4').items():
        monkeypatch.setenv(word, value)
    names = [f'{number}.avi' for number in range(6)]
    write_store(tmp_path / 'data/howto100m/tokens_16', names, seed=0)
    for number, view in enumerate(fixed_views(16, (1.0, 1.25), ('top_left', 'center', 'bottom_right'), (False, True))):
        write_store(tmp_path / f'data/ucf101/tokens_16/{view.name}', names, seed=number)
    for split, test in ((1, 2), (2, 3)):
        lines = [f'{name} {number}\n' for number, name in enumerate(names)]
        (tmp_path / f'data/ucf101/test_{split}.txt').write_text(''.join(lines[:test]))
        (tmp_path / f'data/ucf101/train_{split}.txt').write_text(''.join(lines[test:]))
    yield tmp_path
    DefaultScope._instance_dict.clear()


def load_tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / f'tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(monkeypatch, *arguments: str) -> None:
    module = load_tool('train')
    monkeypatch.setattr(sys, 'argv', ['train.py', *arguments])
    module.main()


def pretrain(monkeypatch) -> None:
    recipe, loader = str(ROOT / 'configs/vimpac_small.py'), 'train_dataloader.video'
    train(monkeypatch, recipe, '--work-dir', 'pretraining', '--cfg-options', f'{loader}.batch_size=2', f'{loader}.num_workers=0',
          f'{loader}.persistent_workers=False', 'optim_wrapper.accumulative_counts=3',
          'model.objectives.nce.num_pairs=6', 'model.objectives.nce.hidden_dims=8', 'train_cfg.max_epochs=1', *TINY, *CHEAP)


def test_train__splits_are_trained_one_by_one_and_averaged(folder, monkeypatch, capsys):
    pretrain(monkeypatch)
    recipe = str(ROOT / 'configs/finetune/vimpac_small_ucf101.py')
    train(monkeypatch, recipe, '--work-dir', 'runs', '--splits', '1', '2', '--cfg-options', *FINETUNING)
    results = json.loads((folder / 'runs/results.json').read_text())
    first, second = results['splits']
    assert (first['split'], first['num_test'], second['split'], second['num_test']) == (1, 2, 2, 3)
    top1 = [first['top1'], second['top1']]
    assert results['mean'] == pytest.approx(sum(top1) / 2)
    assert results['std'] == pytest.approx(abs(top1[0] - top1[1]) / 2 ** 0.5)
    line = [line for line in capsys.readouterr().out.splitlines() if 'over splits' in line][-1]
    assert f'{100 * results["mean"]:.1f} ±' in line and 'runs/results.json' in line
    weights = [torch.load(folder / f'runs/split_{split}/epoch_1.pth', weights_only=True)['state_dict'] for split in (1, 2)]
    assert not torch.equal(weights[0]['fc.weight'], weights[1]['fc.weight']), 'each learns its own list'

    # once more, from where each ended: nothing is left to train, and the figures are the same
    train(monkeypatch, recipe, '--work-dir', 'runs', '--splits', '1', '2', '--resume', '--cfg-options', *FINETUNING)
    again = json.loads((folder / 'runs/results.json').read_text())
    assert [one['top1'] for one in again['splits']] == top1


def test_test__refuses_the_weights_of_another_model(folder, monkeypatch):
    """mmengine would test a classifier of random weights, and say so among many lines."""
    torch.save(dict(state_dict={'backbone.other': torch.zeros(2)}), 'other.pth')
    tool = load_tool('test')
    with pytest.raises(ValueError, match='the checkpoint is not one of this ClipClassifier: .* missing'):
        tool.main([str(ROOT / 'configs/finetune/vimpac_small_ucf101.py'), 'other.pth', '--work-dir', 'testing',
                   '--cfg-options', *FINETUNING, 'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False'])


def test_train__a_recipe_without_splits_says_so(folder, monkeypatch):
    with pytest.raises(ValueError, match='vimpac_large_ssv2.py has no splits'):
        train(monkeypatch, str(ROOT / 'configs/finetune/vimpac_large_ssv2.py'), '--splits', '1', '2')
    assert os.environ['SPLIT'] == '1'
    with pytest.raises(SystemExit):
        train(monkeypatch, 'x.py', '--splits', '1', '--seeds', '1')
    with pytest.raises(SystemExit):
        train(monkeypatch, 'x.py', '--splits', '1', '--resume', 'some.pth')


def test_train__seeds_need_a_validation(folder, monkeypatch):
    with pytest.raises(ValueError, match='--seeds collects the last validation'):
        train(monkeypatch, str(ROOT / 'configs/finetune/vimpac_small_ucf101.py'), '--seeds', '1', '--no-validate')
