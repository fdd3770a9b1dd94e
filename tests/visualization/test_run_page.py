from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from mmengine.visualization import LocalVisBackend
from PIL import Image

from ssvideo.visualization import write_animation
from ssvideo.visualization.run_page import folder as folder_of_runs
from ssvideo.visualization.run_page import write_page

VOID = {'meta', 'img', 'br', 'hr', 'link', 'input', 'source'}
EVIL = '<script>alert("x")</script><img src=http://evil.example/x.png onerror=alert(1)> & "quotes"'
LOG = """2026/01/01 10:00:00 - mmengine - INFO -
------------------------------------------------------------
System environment:
    sys.platform: linux
    Python: 3.11.7 {evil}
------------------------------------------------------------

2026/01/01 10:00:00 - mmengine - INFO - Config:
    seed: 0
2026/01/01 10:00:01 - mmengine - WARNING - skipped a file {evil}
2026/01/01 10:00:02 - mmengine - WARNING - skipped a file {evil}
2026/01/01 10:00:03 - mmengine - ERROR - stopped
"""


class Page(HTMLParser):
    """A page as a tree of tags; fails where tags are not closed in their order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open, self.tags, self.text, self.ids = [], [], [], []
        self.feed(path.read_text())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if 'id' in attrs:
            self.ids.append(attrs['id'])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f'</{tag}> at {self.getpos()}'

    def handle_data(self, data):
        if 'style' not in self.open:
            self.text.append(data)

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attrs[name] for found, attrs in self.tags if found == tag and name in attrs]

    @property
    def words(self) -> str:
        return ' '.join(' '.join(self.text).split())


def write_run(path: Path, steps: int = 3, model: str = 'ssvideo.Pretrainer', stamp: str = '20260101_100000') -> Path:
    """What a training leaves: log, scalars, config."""
    backend = LocalVisBackend(str(path / stamp / 'vis_data'))
    for step in range(1, steps + 1):
        backend.add_scalars({'loss': 4 / step, 'video_mlm_accuracy': 0.1 * step, 'grad_norm': 1.0, 'time': 2.0, 'odd': step,
                             'iter': step}, step=step)
    (path / stamp / f'{stamp}.log').write_text(LOG.format(evil=EVIL))
    (path / 'recipe.py').write_text(f"raise SystemExit('executed')\nx = '''{EVIL}'''\nmodel = dict(\n    type='{model}')\n")
    return path


def check_offline(page: Page) -> None:
    """Nothing is loaded from anywhere, nothing runs, and every picture is whole."""
    assert not {'script', 'link', 'iframe', 'object', 'embed', 'form', 'base'} & {tag for tag, _ in page.tags}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith('on')]
    for tag, attrs in page.tags:
        for name in ('src', 'href', 'srcset', 'poster', 'data', 'action'):
            if name in attrs:
                assert attrs[name].startswith('#' if tag == 'a' else 'data:'), (tag, attrs[name][:80])
    policy = next(attrs['content'] for tag, attrs in page.tags if attrs.get('http-equiv') == 'Content-Security-Policy')
    assert policy.startswith("default-src 'none'")
    for tag, attrs in page.tags:
        if tag == 'img':
            assert attrs['alt'] and (int(attrs['width']), int(attrs['height'])) == image_of(attrs['src']).size
    links = {link[1:] for link in page.attributes('a', 'href')}
    assert links <= set(page.ids) and len(page.ids) == len(set(page.ids))


def image_of(uri: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(uri.split(',', 1)[1])))
    image.load()
    return image


def test_write_page__of_a_run_has_its_curves_messages_config_and_environment(tmp_path):
    run = write_run(tmp_path / 'my_run')
    written = write_page(run)
    assert written == run / 'report.html'
    page = Page(written)
    check_offline(page)
    alts = page.attributes('img', 'alt')
    assert [alt.split(',')[0] for alt in alts] == ['Accuracy', 'Losses', 'Time of a step', 'Gradient norm']
    assert 'loss: 4 at step 1, 1.333 at step 3' in alts[1]
    for words in ('my_run', 'Pre-training', 'video_mlm_accuracy 30.0 %', 'loss 1.333', 'steps 3', 'time of the steps 0.1 min',
                  'odd 3 1 1 3 3', 'sys.platform linux', 'ERROR stopped 1', f'WARNING skipped a file {EVIL} 2'):
        assert words in page.words, words
    assert f"raise SystemExit('executed') x = '''{EVIL}''' model = dict( type='ssvideo.Pretrainer')" in page.words


def test_write_page__whatever_files_contain_is_escaped(tmp_path):
    run = write_run(tmp_path / 'run')
    (run / 'other.json').write_text(json.dumps({EVIL: [EVIL], 'nested': [{'a': {'b': 0.123456789}}]}))
    (run / 'notes.md').write_text(EVIL)
    (run / 'broken_videos.jsonl').write_text(json.dumps(dict(path=EVIL, reason=EVIL)) + '\n')
    page = Page(write_page(run, tmp_path / 'out.html'))
    check_offline(page)
    assert page.words.count('<script>alert("x")</script>') >= 8 and 'nested[0].a.b 0.123457' in page.words


def test_write_page__shows_pictures_and_says_which_it_cannot(tmp_path, monkeypatch):
    run = write_run(tmp_path / 'run')
    (run / 'pictures').mkdir()
    red, blue = (np.full((20, 30, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    Image.fromarray(red).save(run / 'pictures' / 'video_masks.png')
    write_animation([red, blue], run / 'pictures' / 'moving.gif', 2)
    write_animation([red, blue], run / 'confusion.mp4', 2)
    (run / 'pictures' / 'torn.png').write_bytes((run / 'pictures' / 'video_masks.png').read_bytes()[:40])
    page = Page(write_page(run))
    check_offline(page)
    shown = dict(zip(page.attributes('img', 'alt'), page.attributes('img', 'src')))
    assert image_of(shown['Picture video_masks.png of the run']).getpixel((3, 3)) == (200, 0, 0)
    assert image_of(shown['Picture moving.gif of the run']).n_frames == 2
    assert page.attributes('video', 'aria-label') == ['Picture confusion.mp4 of the run']
    assert 'torn.png cannot be shown' in page.words
    monkeypatch.setattr(folder_of_runs, 'MAX_EMBEDDED', 600)
    assert 'Left out, as the page would become too large' in Page(write_page(run)).words


def test_write_page__shows_results_in_tables(tmp_path):
    run = write_run(tmp_path / 'finetune', model='ssvideo.ClipClassifier')
    seeds = [dict(seed=0, top1=0.5, num_test=40, seconds=3.2), dict(seed=1, top1=0.7, num_test=40, seconds=3.0)]
    (run / 'results.json').write_text(json.dumps(dict(task='ft', num_classes=4, num_test=40, mean=0.6, std=0.1414, seeds=seeds)))
    (run / 'temporal.json').write_text(json.dumps(dict(figures=dict(normal={'acc/top1': 0.6}, shuffled={'acc/top1': 0.25}))))
    (run / 'temporal.md').write_text('the same')
    test = run / '20260102_100000'
    test.mkdir()
    (test / '20260102_100000.json').write_text(json.dumps({'acc/top1': 0.625}))
    for seed in (0, 1):
        write_run(run / f'seed_{seed}', model='ssvideo.ClipClassifier')
    (run / 'torn.json').write_text('{"a": ')
    page = Page(write_page(run))
    check_offline(page)
    for words in ('top-1 60.0 ± 14.1 %', 'Accuracy of ft, 4 classes (chance 25.0 %)', 'seed 1 70.0 % 40 3',
                  'figure normal shuffled acc/top1 60.0 % 25.0 %', 'acc/top1 0.625', 'torn.json cannot be read', 'Fine-tuning'):
        assert words in page.words, words
    assert 'the same' not in page.words  # the JSON says it
    assert 'seed_0: 4 at step 1' in page.attributes('img', 'alt')[0]  # both in one chart


def test_write_page__of_several_runs_has_each_in_order_of_time(tmp_path):
    write_run(tmp_path / 'b_first', stamp='20260101_000000')
    write_run(tmp_path / 'a_second', stamp='20260102_000000')
    (tmp_path / 'tokens').mkdir()
    (tmp_path / 'tokens' / 'manifest.json').write_text(json.dumps(dict(num_videos=7, vocab_size=32)))
    (tmp_path / 'data').mkdir()
    (tmp_path / 'report.json').write_text(json.dumps(dict(chance=0.1, skipped=[], results=dict(
        scratch=dict(vimpac=dict(mean=0.2, std=0.01, seeds=[0.2])), vimpac=dict(mean=0.5, std=0.02, seeds=[0.5])))))
    (tmp_path / 'steps.tsv').write_text('Training\t12\tpython tools/train.py x\n')
    page = Page(write_page(tmp_path))
    check_offline(page)
    assert [link for link in page.attributes('a', 'href') if link != '#main'] == ['#run-1', '#run-2', '#run-3']
    nav = page.words[page.words.index('b_first'):]
    assert nav.startswith('b_first a_second tokens')
    for words in ('VIMPAC 50.0 ± 2.0 20.0 ± 1.0 +30.0', 'Training 12 python tools/train.py x', 'Token store', 'num_videos 7'):
        assert words in page.words, words


def test_write_page__lists_of_skipped_files_are_counted_and_cut(tmp_path):
    run = write_run(tmp_path / 'run')
    lines = [json.dumps(dict(path=f'clip_{number}.mp4', reason='no video')) for number in range(205)]
    (run / 'broken_videos.jsonl').write_text('\n'.join(lines) + '\n{"path": "half')
    words = Page(write_page(run)).words
    assert '205 in all. The first 200 of 205 rows; the file has all. 1 torn line(s) left out.' in words
    assert 'clip_199.mp4 no video' in words and 'clip_200.mp4' not in words


def test_write_page__damaged_logs_are_a_warning(tmp_path):
    run = write_run(tmp_path / 'run')
    scalars = run / '20260101_100000' / 'vis_data' / 'scalars.json'
    scalars.write_text('{"loss": \n' + scalars.read_text())
    page = Page(write_page(run))
    check_offline(page)
    assert 'The scalars cannot be read' in page.words and 'expected one JSON object a line' in page.words


def test_write_page__an_error_is_seen_behind_many_warnings(tmp_path):
    run = write_run(tmp_path / 'run')
    log, = run.glob('*/*.log')
    frozen = [f'2026/01/01 10:00:01 - mmengine - WARNING - layer{number}.weight is skipped since its requires_grad=False'
              for number in range(80)]
    others = [f'2026/01/01 10:00:02 - mmengine - WARNING - {text}' for number in range(60) for text in [f'number {number}'] * 2]
    log.write_text('\n'.join([*frozen, *others, '2026/01/01 10:00:03 - mmengine - ERROR - stopped']) + '\n' * 30)
    words = Page(write_page(run)).words
    assert 'Warnings and errors: 201' in words and 'times ERROR stopped 1' in words
    assert 'a frozen parameter is left out of the optimiser 80' in words and 'layer7' not in words
    assert '12 other messages are in the log' in words


def test_write_page__another_folder_is_refused(tmp_path):
    (tmp_path / 'empty').mkdir()
    for folder, out, message in [('none', None, 'is no folder'), ('empty', None, 'is not the folder of a run'),
                                 ('empty', tmp_path / 'x.pdf', r'ends in \.html')]:
        with pytest.raises(ValueError, match=message):
            write_page(tmp_path / folder, out)
    assert not list((tmp_path / 'empty').iterdir())
