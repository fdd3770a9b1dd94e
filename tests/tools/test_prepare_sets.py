"""``tools/data/prepare.py`` on tiny data sets in their official formats."""
import os
import sys
from pathlib import Path

import pytest

from ssvideo.datasets import ImageList, VideoList

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from page_commands import load_tool  # noqa: E402
from release_files import WRITERS, write, write_release, write_ssv2  # noqa: E402

TOOL = load_tool('tools/data/prepare.py')


def prepare(name: str, files: Path, annotations: Path | None, out: Path) -> dict[str, list[str]]:
    """Run the tool; the lines of every file that it wrote."""
    TOOL.main([name, str(files), *([str(annotations)] if annotations else []), '--out', str(out)])
    return read(out)


def read(out: Path) -> dict[str, list[str]]:
    return {file.name: file.read_text('utf-8').split('\n')[:-1] for file in out.glob('*.txt')}


@pytest.fixture
def prepared(tmp_path):
    """Prepares a set, and gives the files that were written."""
    def run(name: str) -> dict[str, list[str]]:
        return prepare(name, *write_release(name, tmp_path), tmp_path / 'out')

    return run


def test_prepare__kinetics(prepared):
    written = prepared('kinetics400')
    assert written == {
        'classes.txt': ['abseiling', 'dancing, slowly', 'tai chi'],
        'train.txt': ['tai chi/-wasn1P0xyk_000010_000020.mp4 2', 'abseiling/_xXy0-9_000005_000015.mkv 0'],
        'val.txt': ['abc_000000_000010.MP4 2'],
        'videos.txt': ['tai chi/-wasn1P0xyk_000010_000020.mp4 2', 'abseiling/_xXy0-9_000005_000015.mkv 0',
                       'abc_000000_000010.MP4 2'],
        'missing.txt': ['train gone_000007_000017'], 'problems.txt': []}


@pytest.mark.parametrize('prefix', ['', 'something-something-v2-'])
def test_prepare__something_something_under_both_names(tmp_path, prefix):
    written = prepare('ssv2', *write_ssv2(tmp_path, prefix), tmp_path / 'out')
    assert written == {
        'classes.txt': ["Pretending to throw something, but doesn't", 'Pushing something'],
        'train.txt': ['1.webm 1', '2.webm 0'], 'val.txt': ['30.webm 1'], 'videos.txt': ['1.webm 1', '2.webm 0', '30.webm 1'],
        'missing.txt': ['train 4'], 'problems.txt': []}


def test_prepare__diving48(prepared):
    written = prepared('diving48')
    assert written['classes.txt'] == ['Back 15som 05Twis FREE', 'Back 15som 15Twis FREE']
    assert written['train.txt'] == ['rgb/a_00000.mp4 1', 'rgb/-b_00012.mp4 0'] and written['test.txt'] == ['rgb/c_00001.mp4 1']
    assert written['missing.txt'] == ['test d_00001']


def test_prepare__ucf101(prepared):
    written = prepared('ucf101')
    assert written['classes.txt'] == ['Archery', 'YoYo'] and not written['missing.txt'] and not written['problems.txt']
    assert written['train_2.txt'] == ['YoYo/v_YoYo_g02_c01.avi 1', 'Archery/v_Archery_g02_c01.avi 0']
    assert written['test_3.txt'] == ['YoYo/v_YoYo_g09_c01.avi 1']
    assert len(written['videos.txt']) == len(set(written['videos.txt'])) == 7  # of three splits, each once


def test_prepare__hmdb51_has_other_videos_in_each_split(prepared):
    written = prepared('hmdb51')
    assert written['classes.txt'] == ['sword', 'sword_exercise']
    assert written['train_1.txt'] == ['sword/a&b #2.avi 0', 'sword_exercise/c_2.avi 1']
    # one file name in two classes: its folder tells which is meant
    assert written['test_1.txt'] == ['sword/a&b #0.avi 0', 'sword_exercise/c_0.avi 1', 'sword_exercise/a&b #0.avi 1']
    assert written['train_3.txt'] == ['sword/a&b #0.avi 0', 'sword_exercise/c_0.avi 1']
    assert len(set(written['videos.txt'])) == 7 and not written['problems.txt']


def test_prepare__howto100m_has_no_labels(prepared):
    written = prepared('howto100m')
    assert written == {'train.txt': ['0/-abc_1.webm', 'def.mp4'], 'missing.txt': ['train gone'], 'problems.txt': []}


def test_prepare__imagenet_of_kaggle(prepared):
    written = prepared('imagenet')
    assert written['train.txt'] == ['train/n01/n01_3.JPEG 0', 'train/n02/n02_10.JPEG 1', 'train/n02/n02_7.JPEG 1']
    assert written['val.txt'] == ['val/ILSVRC2012_val_00000002.JPEG 0', 'val/ILSVRC2012_val_00000001.JPEG 1']
    assert written['classes.txt'] == ['n01', 'n02'] and written['missing.txt'] == ['val val/ILSVRC2012_val_00000003']


@pytest.mark.parametrize('folders', [False, True])
def test_prepare__imagenet_without_annotations(tmp_path, capsys, folders):
    files, _ = write_release('imagenet', tmp_path)
    if folders:
        (files / 'val/n02').mkdir()
        (files / 'val/ILSVRC2012_val_00000001.JPEG').rename(files / 'val/n02/ILSVRC2012_val_00000001.JPEG')
    written = prepare('imagenet', files, None, tmp_path / 'out')
    assert written.get('val.txt') == (['val/n02/ILSVRC2012_val_00000001.JPEG 1'] if folders else None)
    said = capsys.readouterr().out
    assert '2 classes have fewer than 732 training images' in said and 'n01 (1), n02 (2)' in said
    assert ('val.txt is not written' in said) is not folders


@pytest.mark.parametrize('name', WRITERS)
def test_prepare__the_lists_open_with_the_paths_of_the_configs(tmp_path, monkeypatch, name):
    files, annotations = write_release(name, tmp_path / 'release')
    before = {path: path.stat().st_mtime_ns for path in [files, *files.rglob('*')]}
    monkeypatch.chdir(tmp_path)
    TOOL.main([name, str(files), str(annotations)])
    out = Path('data') / name
    kind, root = (ImageList, out) if name == 'imagenet' else (VideoList, out / 'videos')
    classes = out / 'classes.txt' if (out / 'classes.txt').exists() else None
    for file in out.glob('[tv]*.txt'):
        opened = kind(file, [lambda results: results], data_root=root, class_names=classes)
        assert (opened.entries.labels is None) == (name == 'howto100m')
        assert all(os.path.isfile(opened[i]['filename']) for i in range(len(opened)))
    assert before == {path: path.stat().st_mtime_ns for path in [files, *files.rglob('*')]}  # nothing was touched


def test_prepare__names_what_is_odd_and_goes_on(tmp_path, capsys):
    files, annotations = write_release('kinetics400', tmp_path)
    write(files, {'tai chi/abc_000000_000010.mp4': ''})
    with open(annotations / 'train.csv', 'a') as stream:
        stream.write('tai chi,#NAME?,1,2,train,0\ntai chi,x,1.5,2,train,0\nabseiling,abc,0,10,train,0\n'
                     'tai chi,-wasn1P0xyk,10,20,train,0\nabseiling\n')
    with open(annotations / 'val.csv', 'a') as stream:
        stream.write('\njuggling,other,0,10,val\n')
    written = prepare('kinetics400', files, annotations, tmp_path / 'out')
    assert written['problems.txt'] == [
        'odd line: train.csv, line 5: tai chi,#NAME?,1,2,train,0', 'odd line: train.csv, line 6: tai chi,x,1.5,2,train,0',
        'odd line: train.csv, line 9: abseiling,,,,,',
        'train: several files, the first is taken: abc_000000_000010.MP4 and tai chi/abc_000000_000010.mp4',
        'train: named twice: -wasn1P0xyk_000010_000020',
        'val: several files, the first is taken: abc_000000_000010.MP4 and tai chi/abc_000000_000010.mp4',
        "val: unknown class 'juggling': other_000000_000010", 'val: also in train.txt: abc_000000_000010.MP4']
    assert len(written['train.txt']) == 3 and len(written['val.txt']) == 1
    said = capsys.readouterr().out
    assert '8 problems, the first: odd line: train.csv, line 5' in said and said.splitlines()[-1].startswith('The lists are in ')


def test_prepare__odd_lines_of_other_formats(tmp_path):
    files, annotations = write_release('ucf101', tmp_path / 'ucf')
    write(annotations, {'trainlist01.txt': 'YoYo/v_YoYo_g01_c01.avi 1\nv_YoYo_g02_c01.avi 2\nYoYo/v_YoYo_g03_c01.avi 2\n'})
    written = prepare('ucf101', files, annotations, tmp_path / 'ucf/out')
    assert written['train_1.txt'] == ['YoYo/v_YoYo_g03_c01.avi 1']
    assert [line.partition(':')[2] for line in written['problems.txt']] == [
        ' trainlist01.txt, line 1: YoYo/v_YoYo_g01_c01.avi 1', ' trainlist01.txt, line 2: v_YoYo_g02_c01.avi 2']
    files, annotations = write_release('hmdb51', tmp_path / 'hmdb')
    write(annotations, {'sword_test_split1.txt': 'a&b #0.avi 3\na&b #1.avi 1\n\n'})
    assert prepare('hmdb51', files, annotations, tmp_path / 'hmdb/out')['problems.txt'] == [
        'odd line: sword_test_split1.txt, line 1: a&b #0.avi 3']
    files, annotations = write_release('diving48', tmp_path / 'diving')
    write(annotations, {'Diving48_V2_train.json': [dict(vid_name='a_00000', label=0), dict(vid_name='-b_00012', label=48), 7]})
    assert prepare('diving48', files, annotations, tmp_path / 'diving/out')['problems.txt'] == [
        'odd line: Diving48_V2_train.json, line 3: 7', "train: unknown class '48': -b_00012"]


def test_prepare__paths_of_no_encoding_keep_their_bytes(tmp_path):
    files, annotations = write_release('howto100m', tmp_path)
    folder = files / os.fsdecode('Küche é'.encode('latin-1'))
    folder.mkdir()
    (files / 'def.mp4').rename(folder / 'def.mp4')
    TOOL.main(['howto100m', str(files), str(annotations), '--out', str(tmp_path / 'out')])
    opened = VideoList(tmp_path / 'out/train.txt', [lambda results: results], data_root=tmp_path / 'out/videos')
    assert len(opened) == 2 and all(os.path.isfile(opened[i]['filename']) for i in range(2))


def test_prepare__a_name_of_no_encoding_can_be_printed(tmp_path, capsysbinary):
    files, annotations = write_release('ucf101', tmp_path)
    write(annotations, {'testlist01.txt': 'YoYo/v_Kür.avi\nKür\n'.encode('latin-1')})
    TOOL.main(['ucf101', str(files), str(annotations), '--out', str(tmp_path / 'out')])
    said = capsysbinary.readouterr().out
    assert br'such as YoYo/v_K\udcfcr; all in missing.txt' in said and br'testlist01.txt, line 2: K\udcfcr' in said
    assert (tmp_path / 'out/missing.txt').read_bytes() == 'test_1 YoYo/v_Kür\n'.encode('latin-1')


def test_prepare__a_path_that_a_list_cannot_hold_is_left_out(tmp_path):
    files, annotations = write_release('howto100m', tmp_path)
    (files / '0').rename(files / ' 0')
    written = prepare('howto100m', files, annotations, tmp_path / 'out')
    assert written['train.txt'] == ['def.mp4']
    assert written['problems.txt'] == ["train: a list cannot hold this path, rename it: ' 0/-abc_1.webm'"]


def test_prepare__a_complete_set_has_nothing_to_remark(tmp_path, capsys, monkeypatch):
    counts = {f'{part}_{split}': count for split in (1, 2, 3) for part, count in (('train', 2), ('test', 1))}
    monkeypatch.setitem(TOOL.PUBLISHED, 'ucf101', TOOL.Published(2, {'release': counts}))
    files, annotations = write_release('ucf101', tmp_path)
    (files / 'Archery/v_Archery_g09_c01.avi').unlink()
    prepare('ucf101', files, annotations, tmp_path / 'out')
    assert capsys.readouterr().out.splitlines()[-2].startswith('└')  # between the table and the last line
    (files / 'YoYo/v_YoYo_g09_c01.avi').unlink()
    monkeypatch.setitem(TOOL.PUBLISHED, 'ucf101', TOOL.Published(3, {'release': dict(counts, train_1=3)}))
    prepare('ucf101', files, annotations, tmp_path / 'out')
    said = capsys.readouterr().out
    assert 'train_1: the annotations name 2, the release 3' in said and 'name 2 classes, the release 3' in said
    assert 'test_2: 1 missing (100.0%), such as YoYo/v_YoYo_g09_c01; all in missing.txt' in said


def test_prepare__again_replaces_what_was_written(tmp_path):
    files, annotations = write_release('kinetics400', tmp_path)
    first = prepare('kinetics400', files, annotations, tmp_path / 'out')
    assert first['missing.txt'] and prepare('kinetics400', files, annotations, tmp_path / 'out') == first
    (files / 'gone_000007_000017.mp4').touch()
    again = prepare('kinetics400', files, annotations, tmp_path / 'out')
    assert not again['missing.txt'] and len(again['train.txt']) == 3 and not list((tmp_path / 'out').glob('*.tmp'))


def spoil(name: str, tmp_path: Path) -> list[str]:
    """A command that cannot work, and why."""
    files, annotations = write_release('diving48' if name == 'version 1' else 'ssv2', tmp_path)
    known = 'ssv2'
    if name == 'version 1':
        known = 'diving48'
        (annotations / 'Diving48_V2_train.json').rename(annotations / 'Diving48_train.json')
    elif name == 'no videos':
        (files / 'a.txt').touch()
        for file in files.glob('*.webm'):
            file.unlink()
    elif name == 'other videos':
        for file in files.glob('*.webm'):
            file.rename(file.with_stem(f'video_{file.stem}'))
    elif name == 'json':
        write(annotations, {'train.json': '[{"id": "1"'})
    elif name == 'numbers':
        write(annotations, {'labels.json': {'Pushing something': '1', 'Pulling something': '2'}})
    elif name == 'link':
        (tmp_path / 'out/videos').mkdir(parents=True)
    elif name == 'columns':
        known, annotations = 'howto100m', write(tmp_path / 'csv', {'HowTo100M_v1.csv': 'id,rank\nabc,1\n'})
    elif name == 'no splits':
        known = 'hmdb51'
    return [known, str(files), str(annotations), '--out', str(tmp_path / 'out')]


@pytest.mark.parametrize(('what', 'message'), [
    ('version 1', 'lacks Diving48_V2_train.json .there: Diving48_V2_test.json, Diving48_train.json'),
    ('no videos', 'holds no file that ends with'), ('other videos', 'none is below .* Expected such as 1, found video_'),
    ('json', 'train.json is not a JSON file'), ('numbers', 'expected the numbers 0 to 1, once each'),
    ('link', 'out/videos is there and is not'), ('columns', "lacks video_id: .'id', 'rank'."),
    ('no splits', 'expected the folder testTrainMulti_7030_splits')])
def test_prepare__what_cannot_work_is_explained_and_writes_nothing(tmp_path, what, message):
    arguments = spoil(what, tmp_path)
    with pytest.raises(SystemExit, match=message):
        TOOL.main(arguments)
    assert not list((tmp_path / 'out').glob('*.txt'))
