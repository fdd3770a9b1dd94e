from __future__ import annotations

from types import SimpleNamespace

from ssvideo.datasets import VideoList
from ssvideo.datasets.broken import TimedOutError
from ssvideo.engine.hooks import BrokenFilesHook


def late(results):
    if results['sample_idx'] == 1:
        raise TimedOutError(results['filename'], 'too late')
    return results


def train(source, folder, resume) -> list[str]:
    """What a run in any loop does, told by nothing but the hook."""
    dataset = VideoList(source, [late])
    runner = SimpleNamespace(work_dir=str(folder), _resume=resume,
                             train_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset)))
    BrokenFilesHook().before_train(runner)
    told = dataset.timed_out
    BrokenFilesHook().before_train(runner)
    assert dataset.timed_out is told, 'what is said is not said again'
    return [dataset[index, draw]['filename'] for draw, index in enumerate((0, 1, 2))]


def test_broken_files_hook__lists_them_in_the_work_folder_and_keeps_the_record_of_a_resumed_run(tmp_path):
    (tmp_path / 'list.txt').write_text('a.mp4\nb.mp4\nc.mp4\n')
    drawn = train(tmp_path / 'list.txt', tmp_path / 'run', resume=False)
    record = tmp_path / 'run' / 'timed_out_draws.jsonl'
    assert 'b.mp4' not in drawn
    assert (tmp_path / 'run' / 'broken_videos.jsonl').read_text() == '{"path": "b.mp4", "reason": "too late"}\n'
    before = record.read_text()
    assert train(tmp_path / 'list.txt', tmp_path / 'run', resume=True) == drawn
    assert record.read_text() == before
    record.write_text('{"stream": "video", "draw": 0, "attempt": 0, "path": "a.mp4", "seconds": 60.0}\n')
    assert train(tmp_path / 'list.txt', tmp_path / 'run', resume=False) == drawn
