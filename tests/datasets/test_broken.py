"""Files that cannot be read, or not in time, in training."""
from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from ssvideo.datasets import BrokenFileError, BrokenLog, DrawSampler, VideoList
from ssvideo.datasets.broken import TimedOutDraws, TimedOutError
from ssvideo.datasets.broken_policy import FailureShare
from ssvideo.datasets.transforms import DecodeClips, SampleClips
from ssvideo.utils.shared_lines import SharedLines

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import video_files as files  # noqa: E402


class Read:
    """Stands for sampling and decoding: fails for some files, is late with others, else tells the file and a random number."""

    def __init__(self, broken: set[str] = frozenset(), late: set[str] = frozenset()):
        self.broken, self.late = broken, late

    def __call__(self, results: dict) -> tuple[str, float]:
        name = Path(results['filename']).name
        if name in self.late:
            raise TimedOutError(results['filename'], f'more than {results["time_limit"]} s')
        if name in self.broken:
            raise BrokenFileError(results['filename'], 'no video')
        return name, random.random()


@pytest.fixture
def source(tmp_path):
    """A list of thirty names."""
    (tmp_path / 'list.txt').write_text('\n'.join(f'{i}.mp4' for i in range(30)))
    return tmp_path / 'list.txt'


def draws(dataset: VideoList, num_workers: int = 0, start: int = 0, num_draws: int = 90) -> list[tuple[str, float]]:
    sampler = DrawSampler(dataset, seed=4)
    sampler.start_at(start)
    loader = iter(DataLoader(dataset, 5, sampler=sampler, num_workers=num_workers, collate_fn=list))
    return [item for _ in range((num_draws - start) // 5) for item in next(loader)]


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def dataset_of(source: Path, folder: Path, resumed: bool = False, **read) -> VideoList:
    dataset = VideoList(source, [Read(**read)])
    dataset.log_broken_to(folder, resumed)
    return dataset


# -- time-outs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('num_workers', [0, 2])
def test_time_out__a_resumed_run_draws_what_the_late_one_drew(source, tmp_path, num_workers):
    late = {'3.mp4', '17.mp4', '20.mp4'}
    first = draws(dataset_of(source, tmp_path / 'run', late=late, broken={'5.mp4'}), num_workers)
    assert not late & {name for name, _ in first}
    record = lines_of(tmp_path / 'run' / 'timed_out_draws.jsonl')
    assert len(record) >= 9  # each of three files at least once in each of three passes
    assert {Path(line['path']).name for line in record} == late
    assert all(line['stream'] == 'video' and line['seconds'] >= 0 for line in record)

    resumed = dataset_of(source, tmp_path / 'run', resumed=True, broken={'5.mp4'})  # and nothing is late any more
    assert draws(resumed, num_workers, start=45) == first[45:]
    assert lines_of(tmp_path / 'run' / 'timed_out_draws.jsonl') == record
    assert draws(dataset_of(source, tmp_path / 'other', broken={'5.mp4'})) != first


def test_time_out__is_listed_as_broken_once_and_a_new_run_forgets_it(source, tmp_path):
    draws(dataset_of(source, tmp_path, late={'3.mp4'}, broken={'5.mp4'}), 2)
    assert {(line['path'], line['reason']) for line in lines_of(tmp_path / 'broken_videos.jsonl')} == {
        ('3.mp4', 'more than 60.0 s'), ('5.mp4', 'no video')}
    fresh = dataset_of(source, tmp_path)
    assert not (tmp_path / 'timed_out_draws.jsonl').exists()
    assert {name for name, _ in draws(fresh)} == {f'{i}.mp4' for i in range(30)}


def test_time_out__streams_do_not_take_each_others_draws(tmp_path):
    video = TimedOutDraws(tmp_path / 'timed.jsonl', 'video')
    video.add(7, 1, 'a.mp4', 60.0)
    assert (7, 1) not in video
    assert (7, 1) in TimedOutDraws(tmp_path / 'timed.jsonl', 'video')
    assert (7, 1) not in TimedOutDraws(tmp_path / 'timed.jsonl', 'image')


def test_time_limit__is_checked_and_handed_to_the_pipeline(source):
    assert VideoList(source, [], time_limit=2.5).describe(0)['time_limit'] == 2.5
    assert VideoList(source, [], time_limit=None).describe(0)['time_limit'] is None
    with pytest.raises(ValueError, match='time_limit must be positive seconds, or None'):
        VideoList(source, [], time_limit=0)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_time_limit__holds_for_a_file_whose_opening_hangs(tmp_path, num_workers):
    os.mkfifo(tmp_path / 'hangs.mp4')  # nobody ever writes to it
    for i in range(3):
        files.write_video(tmp_path / f'{i}.mp4', num_frames=8)
    (tmp_path / 'list.txt').write_text('0.mp4\n1.mp4\nhangs.mp4\n2.mp4\n')
    pipeline = [SampleClips(4, frame_interval=1), DecodeClips(), lambda results: (Path(results['filename']).name, 0.0)]
    dataset = VideoList(tmp_path / 'list.txt', pipeline, data_root=tmp_path, time_limit=5)
    dataset.log_broken_to(tmp_path / 'run')
    assert 'hangs.mp4' not in {name for name, _ in draws(dataset, num_workers, num_draws=5)}
    record = lines_of(tmp_path / 'run' / 'timed_out_draws.jsonl')
    assert record and all(line['path'].endswith('hangs.mp4') and line['seconds'] >= 5 for line in record)
    with suppress(OSError):  # where no reader of this process waits
        os.close(os.open(tmp_path / 'hangs.mp4', os.O_WRONLY | os.O_NONBLOCK))  # lets those that do end


# -- how many ---------------------------------------------------------------------------------------------------------


def test_skipped_files__are_counted_while_workers_load(source, tmp_path):
    dataset = dataset_of(source, tmp_path, broken={'3.mp4', '8.mp4'})
    assert VideoList(source, []).num_skipped_files() == dataset.num_skipped_files() == 0
    draws(dataset, 2, num_draws=60)
    assert dataset.num_skipped_files() == 2
    BrokenLog(tmp_path / 'broken_videos.jsonl').add('of another process.mp4', 'x')
    assert dataset.num_skipped_files() == 3


def test_failure_share__notices_a_disk_that_fails_late_and_no_chance():
    share, rng = FailureShare(0.1), random.Random(0)
    for _ in range(20_000):  # a day of 8 % broken files
        share.add(rng.random() < 0.08)
        assert not share.too_many()
    until = 0
    while not share.too_many():  # then a third fails
        share.add(rng.random() < 0.33)
        until += 1
    assert until < 400
    assert f'{share.num_failed} of the last 1000 files drawn' in str(share)
    assert share.num_failed == sum(share.recent)


@pytest.mark.parametrize('limit', [-0.1, 1.5])
def test_failure_share__refuses_what_is_no_share(limit, source):
    with pytest.raises(ValueError, match=r'max_broken_share must be in \[0, 1\]'):
        VideoList(source, [], max_broken_share=limit)


def test_failure_share__the_user_is_told_where_the_list_is(source, tmp_path):
    broken = {f'{i}.mp4' for i in range(15)}
    dataset = VideoList(source, [Read(broken)], broken_log=tmp_path, max_broken_share=0.1)
    with pytest.raises(BrokenFileError, match='BrokenFileError: .* of the last .* files drawn cannot be read, more than max_'
                                              r'broken_share=0.1. The last: \d+.mp4: no video. All are listed in .*videos.jsonl'):
        draws(dataset, 2, num_draws=600)


def test_on_broken__goes_with_the_mode(source):
    assert VideoList(source, []).on_broken == 'replace'
    assert VideoList(source, [], test_mode=True).on_broken == 'error'
    for wrong in (dict(on_broken='replace', test_mode=True), dict(on_broken='missing'), dict(on_broken='skip')):
        with pytest.raises(ValueError, match='on_broken must be one of'):
            VideoList(source, [], **wrong)
    with pytest.raises(BrokenFileError, match='3.mp4: no video'):
        VideoList(source, [Read({'3.mp4'})], on_broken='error')[3, 0]


# -- lists ------------------------------------------------------------------------------------------------------------


def write_many(path: Path, number: int) -> None:
    for i in range(60):
        BrokenLog(path).add(f'{i}.mp4', f'found by {number}')


def test_broken_log__processes_list_each_file_once(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=write_many, args=(tmp_path / 'broken.jsonl', i)) for i in range(4)]
    for process in processes:
        process.start()
    reader, deadline = SharedLines(tmp_path / 'broken.jsonl'), time.monotonic() + 600
    seen: list[dict] = []
    while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
        seen += reader.new()
    seen += reader.new()
    assert [process.exitcode for process in processes] == [0] * 4
    assert sorted(line['path'] for line in seen) == sorted(f'{i}.mp4' for i in range(60))


def test_shared_lines__pass_over_the_line_of_a_killed_process(tmp_path):
    (tmp_path / 'a.jsonl').write_text('{"a": 1}\n[3]\n{"a": ')
    lines = SharedLines(tmp_path / 'a.jsonl')
    assert lines.new() == [{'a': 1}]
    with lines.locked() as (news, file):
        assert news == []
        lines.append(file, {'a': 2})
    assert lines.new() == [{'a': 2}]
    assert SharedLines(tmp_path / 'a.jsonl').new() == [{'a': 1}, {'a': 2}]
