"""The whole path in a few minutes, as a newcomer runs it, and what can be done with its results."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from quickstart_runs import ROOT, run  # noqa: E402


@pytest.fixture(scope='module')
def quickstart(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('quickstart') / 'results'
    output = run(['bash', 'tools/quickstart.sh', '--fast'], folder)
    assert f'{folder}/report.md' in output.splitlines()[-1]
    return folder


def test_quickstart__reports_accuracies_beside_chance_and_scratch(quickstart):
    report = json.loads((quickstart / 'report.json').read_text())
    assert report['chance'] == pytest.approx(0.1)
    for results in (report['results'], report['results']['scratch']):
        for model in ('vimpac', 'bevt'):
            assert len(results[model]['seeds']) == 1 and 0 <= results[model]['mean'] <= 1
    page = (quickstart / 'report.md').read_text()
    for picture in ('video_masks.png', 'video_reconstruction.png', 'image_reconstruction.png'):
        assert picture in page, f'the report shows {picture}'


def test_quickstart__its_checkpoints_hold_plain_values_only(quickstart):
    for path in quickstart.glob('*/last.pth'):
        checkpoint = torch.load(path, weights_only=True)
        assert 'config' not in checkpoint['meta']
        assert not any('tokenizer' in name for name in checkpoint['state_dict'])


def test_quickstart__the_image_stage_starts_the_joint_stage(quickstart):
    image, joint = (torch.load(next((quickstart / stage).glob('last.pth')), weights_only=True)['state_dict']
                    for stage in ('bevt_image', 'bevt_joint'))
    assert image['backbone.patch_embed.proj.weight'].shape[2] == 1 and joint['backbone.patch_embed.proj.weight'].shape[2] == 2
    log = ''.join(path.read_text() for path in (quickstart / 'bevt_joint').glob('*/*.log'))
    assert 'patch_embed.proj.weight' in log, 'loading says what it inflated'


def test_train__resumes_from_its_own_checkpoint(quickstart, tmp_path):
    command = [sys.executable, 'tools/train.py', 'configs/quickstart/vimpac.py', '--work-dir', str(tmp_path / 'run'),
               '--cfg-options', 'default_hooks.checkpoint.interval=1', 'custom_hooks.0.interval=None']
    small = dict(QUICKSTART_DRAWS='32', QUICKSTART_SCALE='0.01')
    run([*command, 'train_cfg.max_epochs=1'], quickstart, **small)
    output = run([*command, 'train_cfg.max_epochs=2', '--resume'], quickstart, **small)
    assert 'resumed epoch: 1' in output
    assert (tmp_path / 'run' / 'last.pth').exists()


def test_test__agrees_with_the_validation_while_training(quickstart, tmp_path):
    results = json.loads((quickstart / 'finetune_bevt' / 'results.json').read_text())
    checkpoint = next((quickstart / 'finetune_bevt' / 'seed_0').glob('last.pth'))
    output = run([sys.executable, 'tools/test.py', 'configs/quickstart/finetune_bevt.py', str(checkpoint), '--work-dir',
                  str(tmp_path), '--dump', str(tmp_path / 'predictions.pkl')], quickstart)
    assert f"acc/top1 {results['seeds'][0]['top1']:.4f}" in output.splitlines()[-1]
    assert (tmp_path / 'predictions.pkl').exists()


def test_dist_train__two_processes_train_the_joint_recipe_and_log_once(quickstart, tmp_path):
    output = run(['bash', 'tools/dist_train.sh', 'configs/quickstart/bevt_joint.py', '2', '--work-dir', str(tmp_path)],
                 quickstart, QUICKSTART_DRAWS='64', QUICKSTART_SCALE='0.01', PORT='29611')
    lines = [line for line in output.splitlines() if 'Epoch(train)' in line]
    assert lines and len({line.split('Epoch(train)')[1].split('lr')[0] for line in lines}) == len(lines), 'one stream of losses'
    assert 'video_mvm_loss' in lines[-1] and 'image_mvm_loss' in lines[-1]
    assert len(list(tmp_path.glob('*/vis_data/scalars.json'))) == 1


def test_dist_train__refuses_a_number_of_processes_that_does_not_divide():
    done = subprocess.run(['bash', 'tools/dist_train.sh', 'x.py', '3'], cwd=ROOT, env=os.environ | dict(NNODES='2'),
                          capture_output=True, text=True)
    assert done.returncode == 2 and 'multiple of NNODES=2' in done.stderr
