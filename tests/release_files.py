"""Tiny data sets in the official formats of their annotations: ``write_release(name, folder)``."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

Folders = tuple[Path, Path | None]  # of the files, and of the annotations


def touch(folder: Path, names: Iterable[str]) -> Path:
    """Make empty files; preparing opens none of them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def write(folder: Path, files: dict[str, str | bytes | list | dict]) -> Path:
    """Write files: text and bytes as they are, all else as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def write_kinetics(folder: Path) -> Folders:
    """Videos in class folders with blanks, and flat; ids that begin with - and _; line ends of Windows in one file."""
    header = 'label,youtube_id,time_start,time_end,split,is_cc'
    train = [header, 'tai chi,-wasn1P0xyk,10,20,train,0', 'abseiling,_xXy0-9,5,15,train,1', '"dancing, slowly",gone,7,17,train,0']
    val = [header.rpartition(',')[0], 'tai chi,abc,0,10,val']
    videos = touch(folder / 'videos', ['tai chi/-wasn1P0xyk_000010_000020.mp4', 'abseiling/_xXy0-9_000005_000015.mkv',
                                       'abc_000000_000010.MP4', 'other_000000_000010.mp4', 'notes.txt'])
    return videos, write(folder / 'labels', {'train.csv': '\ufeff' + '\r\n'.join(train) + '\r\n', 'val.csv': '\n'.join(val)})


def write_ssv2(folder: Path, prefix: str = '') -> Folders:
    """Labels that are not in alphabetical order."""
    labels = {'Pushing something': '1', "Pretending to throw something, but doesn't": '0'}

    def video(number: str, template: str) -> dict:
        return dict(id=number, label='pushing a cup', template=template, placeholders=['a cup'])

    first, second = 'Pushing [something]', "Pretending to throw [something], but doesn't"
    return touch(folder / 'videos', ['1.webm', '2.webm', '30.webm']), write(folder / 'labels', {
        f'{prefix}labels.json': labels, f'{prefix}train.json': [video('1', first), video('2', second), video('4', second)],
        f'{prefix}validation.json': [video('30', first)], f'{prefix}test.json': [dict(id='5')]})


def write_diving48(folder: Path) -> Folders:
    """Two classes; the files lie in rgb/."""
    def video(name: str, label: int) -> dict:
        return dict(vid_name=name, label=label, start_frame=0, end_frame=9)

    videos = touch(folder / 'videos', [f'rgb/{name}.mp4' for name in ('a_00000', '-b_00012', 'c_00001')])
    return videos, write(folder / 'labels', {
        'Diving48_V2_train.json': [video('a_00000', 1), video('-b_00012', 0)],
        'Diving48_V2_test.json': [video('c_00001', 1), video('d_00001', 0)],
        'Diving48_vocab.json': [['Back', '15som', '05Twis', 'FREE'], ['Back', '15som', '15Twis', 'FREE']]})


def write_ucf101(folder: Path) -> Folders:
    """Three splits; line ends of Windows, and none at the end of the file."""
    files = {'classInd.txt': '1 Archery\r\n2 YoYo\r\n'}
    for split in (1, 2, 3):
        files[f'trainlist0{split}.txt'] = f'YoYo/v_YoYo_g0{split}_c01.avi 2\r\nArchery/v_Archery_g0{split}_c01.avi 1'
        files[f'testlist0{split}.txt'] = 'YoYo/v_YoYo_g09_c01.avi\r\n'
    videos = [f'{name}/v_{name}_g0{group}_c01.avi' for name in ('Archery', 'YoYo') for group in (1, 2, 3, 9)]
    return touch(folder / 'videos', videos), write(folder / 'labels', files)


def write_hmdb51(folder: Path) -> Folders:
    """Two classes with odd characters in file names, and one name in both."""
    files = {}
    for split in (1, 2, 3):
        kinds = [1, 2, 0]
        kinds = kinds[split:] + kinds[:split]
        files[f'sword_test_split{split}.txt'] = ''.join(f'a&b #{n}.avi {kind} \r\n' for n, kind in enumerate(kinds))
        files[f'sword_exercise_test_split{split}.txt'] = ''.join(f'c_{n}.avi {kind}\n' for n, kind in enumerate(kinds)) + \
            f'a&b #0.avi {2 if split == 1 else 0}\n'
    videos = [*(f'sword/a&b #{n}.avi' for n in range(3)), *(f'sword_exercise/c_{n}.avi' for n in range(3)),
              'sword_exercise/a&b #0.avi']
    return touch(folder / 'videos', videos), write(folder / 'labels', files)


def write_howto100m(folder: Path) -> Folders:
    """A category with a comma."""
    rows = ['video_id,category_1,category_2,rank,task_id', '-abc_1,"Food, and Entertaining",Recipes,1,7', 'def,Health,,2,8',
            'gone,Health,,3,8']
    return touch(folder / 'videos', ['0/-abc_1.webm', 'def.mp4']), write(folder / 'labels', {'HowTo100M_v1.csv': '\n'.join(rows)})


def write_imagenet(folder: Path) -> Folders:
    """Kaggle's copy: val is flat, its labels are in a file of their own."""
    files = touch(folder / 'images', ['train/n02/n02_7.JPEG', 'train/n02/n02_10.JPEG', 'train/n01/n01_3.JPEG',
                                      'val/ILSVRC2012_val_00000001.JPEG', 'val/ILSVRC2012_val_00000002.JPEG', 'test/x_1.JPEG'])
    return files, write(folder / 'labels', {
        'LOC_synset_mapping.txt': 'n01 tench, Tinca tinca\nn02 goldfish\n',
        'LOC_val_solution.csv': 'ImageId,PredictionString\nILSVRC2012_val_00000002,n01 85 1 499 272 \n'
                                'ILSVRC2012_val_00000001,n02 1 2 3 4 n02 5 6 7 8 \nILSVRC2012_val_00000003,n02 1 2 3 4\n'})


WRITERS: dict[str, Callable[[Path], Folders]] = dict(
    kinetics400=write_kinetics, kinetics600=write_kinetics, kinetics700=write_kinetics, ssv2=write_ssv2,
    diving48=write_diving48, ucf101=write_ucf101, hmdb51=write_hmdb51, howto100m=write_howto100m, imagenet=write_imagenet)


def write_release(name: str, folder: Path) -> Folders:
    """Write a tiny data set.

    Args:
        name: as ``tools/data/prepare.py`` calls the set.
        folder: an empty one.

    Returns:
        The folder of its files, and that of its annotations.
    """
    return WRITERS[name](folder)
