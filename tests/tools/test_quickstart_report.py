from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.visualization import LocalVisBackend

from ssvideo.evaluation.quickstart_report import write_report
from ssvideo.visualization import draw_masks

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis_tools' / 'quickstart_report.py'
TOP1 = {'finetune_vimpac': [0.5, 0.6, 0.7], 'scratch_vimpac': [0.2, 0.25, 0.3],
        'finetune_bevt': [0.4, 0.5, 0.6], 'scratch_bevt': [0.35, 0.35, 0.35]}


def add_results(work_dir: Path, top1=TOP1, num_classes: int = 10) -> None:
    for name, values in top1.items():
        seeds = [{'seed': seed, 'top1': value, 'seconds': 2.5} for seed, value in enumerate(values)]
        (work_dir / name).mkdir(parents=True, exist_ok=True)
        content = {'task': name, 'num_classes': num_classes, 'num_test': 400, 'seeds': seeds}
        (work_dir / name / 'results.json').write_text(json.dumps(content))
        backend = LocalVisBackend(str(work_dir / name / 'seed_0' / '20240101_000000' / 'vis_data'))
        for step in (5, 10):
            backend.add_scalars({'loss': 2.0 / step, 'iter': step}, step=step)


def add_pretraining(work_dir: Path) -> None:
    scalars = {'tokenizer': ('loss', 'psnr', 'codebook_use'), 'vimpac': ('loss', 'video_mlm_loss', 'video_nce_loss',
               'video_mlm_accuracy'), 'bevt_joint': ('loss', 'video_mvm_loss', 'image_mvm_loss', 'image_mvm_accuracy')}
    for name, keys in scalars.items():
        backend = LocalVisBackend(str(work_dir / name / '20240101_000000' / 'vis_data'))
        for step in (10, 20):
            backend.add_scalars(dict.fromkeys(keys, 1.0 / step) | {'time': 0.5, 'lr': 0.1, 'iter': step}, step=step)
    draw_masks(np.zeros((2, 16, 16, 3), np.uint8), np.ones((2, 2, 2), bool),
               work_dir / 'vimpac' / 'pictures' / 'video_masks.png')


def links(page: str) -> list[str]:
    return re.findall(r'!\[[^\]]*\]\(([^)]*)\)', page)


def test_report__figures_and_page_of_a_whole_quickstart(tmp_path):
    add_results(tmp_path)
    add_pretraining(tmp_path)
    (tmp_path / 'broken_videos.jsonl').write_text('{"path": "b.mp4", "reason": "cut | short"}\n{"path": "half')
    (tmp_path / 'tokens').mkdir()
    (tmp_path / 'tokens' / 'failed.jsonl').write_text('{"path": "a.mp4", "reason": "no frames"}\n'
                                                      '{"path": "b.mp4", "reason": "again"}\n')
    report = write_report(tmp_path)
    figures = json.loads((tmp_path / 'report.json').read_text())
    skipped = figures.pop('skipped')
    assert skipped == [{'path': 'a.mp4', 'reason': 'no frames'}, {'path': 'b.mp4', 'reason': 'cut | short'}]
    assert figures['chance'] == pytest.approx(0.1) and set(figures) == {'chance', 'results'}
    assert set(figures['results']) == {'scratch', 'vimpac', 'bevt'}
    assert figures['results']['vimpac'] == {'mean': pytest.approx(0.6), 'std': pytest.approx(0.1),
                                            'seeds': [0.5, 0.6, 0.7]}
    assert figures['results']['scratch']['bevt'] == {'mean': pytest.approx(0.35), 'std': 0, 'seeds': [0.35] * 3}

    page = report.read_text()
    assert '| VIMPAC | **60.0 ± 10.0** | 25.0 ± 5.0 | +35.0 | 6.0 | **yes** |' in page
    assert '| BEVT | **50.0 ± 10.0** | 35.0 ± 0.0 | +15.0 | 5.0 | **yes** |' in page
    assert '| `b.mp4` | cut \\| short |' in page
    found = links(page)
    assert all((tmp_path / link).is_file() for link in found)
    assert {Path(link).name for link in found} == {
        'tokenizer_loss.png', 'tokenizer_psnr.png', 'tokenizer_codebook_use.png', 'vimpac_loss.png',
        'vimpac_accuracy.png', 'bevt_joint_loss.png', 'bevt_joint_accuracy.png', 'video_masks.png',
        'fine_tuning_vimpac.png', 'fine_tuning_bevt.png'}
    assert 'At step 20: loss 0.05, video_mlm_accuracy 0.05' in page
    assert 'VIMPAC, on tokens, 10 s:' in page and 'VIMPAC, from scratch, 8 s:' in page  # 20 steps of 0.5 s; 3 of 2.5 s
    assert f'--work-dir {tmp_path}/scratch_bevt --seeds 0 1 2' in page


def test_report__a_gain_within_the_spread_is_not_above_scratch(tmp_path):
    add_results(tmp_path, TOP1 | {'scratch_vimpac': [0.4, 0.5, 0.6]})  # 0.1 apart, deviations 0.1 and 0.1
    page = write_report(tmp_path).read_text()
    assert '| VIMPAC | **60.0 ± 10.0** | 50.0 ± 10.0 | +10.0 | 6.0 | **no** |' in page


def test_report__one_seed_has_no_spread(tmp_path):
    add_results(tmp_path, {name: values[:1] for name, values in TOP1.items()}, num_classes=8)
    page = write_report(tmp_path).read_text()
    figures = json.loads((tmp_path / 'report.json').read_text())
    assert figures['results']['bevt'] == {'mean': 0.4, 'std': 0.0, 'seeds': [0.4]} and figures['chance'] == 0.125
    assert 'which one seed does not show' in page


def test_report__without_labels_has_the_pretraining_alone(tmp_path):
    add_pretraining(tmp_path)
    page = write_report(tmp_path).read_text()
    assert json.loads((tmp_path / 'report.json').read_text()) == {'chance': None, 'results': {}, 'skipped': []}
    assert 'no labels' in page and '## Pre-training' in page and '## Fine-tuning' not in page
    assert 'tokenizer_psnr.png' in page and '## Accuracy' not in page


def test_report__steps_noted_by_the_quickstart_are_repeated_as_they_are(tmp_path):
    add_pretraining(tmp_path)
    (tmp_path / 'steps.tsv').write_text('Making lists\t3\tpython tools/data/make_lists.py a b \n')
    page = write_report(tmp_path).read_text()
    assert 'Making lists, 3 s:\n\n    python tools/data/make_lists.py a b\n' in page
    (tmp_path / 'steps.tsv').write_text('Making lists\tthree\tpython\n')
    with pytest.raises(ValueError, match=r'steps\.tsv, line 1'):
        write_report(tmp_path)


@pytest.mark.parametrize('top1, message', [
    ({'finetune_vimpac': [0.5]}, "but not of .*'scratch_bevt'"), (TOP1 | {'finetune_bevt': [53.0]}, r'in \[0, 1\]'),
    (TOP1 | {'finetune_bevt': []}, 'at least one')])
def test_report__results_that_cannot_be_are_refused(top1, message, tmp_path):
    add_results(tmp_path, top1)
    with pytest.raises(ValueError, match=message):
        write_report(tmp_path)
    assert not (tmp_path / 'report.json').exists()


def test_report__runs_of_different_tasks_are_not_compared(tmp_path):
    add_results(tmp_path)
    add_results(tmp_path, {'scratch_bevt': [0.1]}, num_classes=4)
    with pytest.raises(ValueError, match='differ in num_classes'):
        write_report(tmp_path)


def test_report__malformed_input_is_named(tmp_path):
    with pytest.raises(ValueError, match='no run of a quickstart'):
        write_report(tmp_path)
    add_results(tmp_path)
    (tmp_path / 'failed.jsonl').write_text('{"file": "a"}\n')
    with pytest.raises(ValueError, match=r'failed\.jsonl, line 1'):
        write_report(tmp_path)
    (tmp_path / 'failed.jsonl').unlink()
    (tmp_path / 'scratch_bevt' / 'results.json').write_text('{"seeds": [0.5]}')
    with pytest.raises(ValueError, match=r'scratch_bevt/results\.json.*expected'):
        write_report(tmp_path)


def test_tool__last_line_says_where_the_report_is(tmp_path):
    add_pretraining(tmp_path / 'work')
    page = tmp_path / 'elsewhere' / 'page.md'
    done = subprocess.run([sys.executable, TOOL, tmp_path / 'work', '--out', page], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(str(page))
    assert (page.parent / 'page.json').is_file()
    assert all((page.parent / link).is_file() for link in links(page.read_text()))
