"""Every command of docs/bevt.md is one that tools and configs take, and the checkpoints that it names are written before."""
import copy
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import ssvideo.models  # noqa: F401
from ssvideo.engine.auto_accumulation import keep_global_batch
from ssvideo.registry import MODELS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from page_commands import ROOT, load_tool, run_page  # noqa: E402

WORDS = ('PRETRAIN_SET', 'BEVT_IMAGES', 'WORLD_SIZE')
PAGE = (ROOT / 'docs/bevt.md').read_text()
OPTIONAL = ('checkpoint_activations', 'keep_products', 'min_block')  # left out by the configs; building the model checks them


@pytest.fixture(scope='module')
def commands(tmp_path_factory):
    return run_page(PAGE, tmp_path_factory.mktemp('page'), WORDS)


def of_tool(commands, name: str) -> list[tuple[dict, object]]:
    """Words of the environment and parsed arguments of each command of a tool."""
    parse = load_tool(f'tools/{name}.py').parse_args
    return [(words, parse(arguments)) for words, tool, arguments in commands if tool == f'tools/{name}.py']


@cache
def plain_config(path: str, words: tuple[tuple[str, str], ...]) -> Config:
    with pytest.MonkeyPatch.context() as patch:
        for word in WORDS:
            patch.delenv(word, raising=False)
        for word, value in words:
            patch.setenv(word, value)
        return Config.fromfile(ROOT / path)


def configured(words: dict, args) -> Config:
    """The config with the options of a command, each of which must change something that the config says."""
    plain = plain_config(args.config, tuple(sorted(words.items())))
    replaced = tuple(key.removesuffix('_delete_') for key in args.cfg_options if key.endswith('_delete_'))
    for key in args.cfg_options:
        *outer, last = key.split('.')
        node = plain
        for name in outer:
            node = node[name]
        assert last in (*node, *OPTIONAL, '_delete_') or replaced and key.startswith(replaced), f'{key} changes nothing'
    config = copy.deepcopy(plain)
    config.merge_from_dict(args.cfg_options)
    return config


@cache
def check_model(text: str) -> None:
    """Build a model; many commands share one."""
    model = Config.fromstring(text, '.py').model
    if 'objectives' in model:
        model.objectives.mvm.vocab_size = 8192
        model.tokenizer = None  # its file is not here
    with torch.device('meta'):
        MODELS.build(model)


def test_page__training_commands_are_taken_by_tool_and_configs(commands):
    trainings = of_tool(commands, 'train')
    assert len(trainings) > 50
    for words, args in trainings:
        config = configured(words, args)
        if 'tokenizers' not in args.config:
            check_model(Config(dict(model=config.model)).pretty_text)


def test_page__each_number_of_processes_can_make_the_batch(commands, monkeypatch):
    numbers = set(re.findall(r'dist_train\.sh "?(configs/[\w/$.]+?)"? (\d+)', PAGE))
    assert len(numbers) > 6
    for path, processes in numbers:
        config = copy.deepcopy(plain_config(path.replace('$set', 'ssv2'), ()))
        if 'tokenizers' not in path:
            monkeypatch.setenv('WORLD_SIZE', processes)
            config.launcher = 'pytorch'
            assert keep_global_batch(config)


def test_page__checkpoints_are_those_that_earlier_commands_write(commands):
    train, test, convert = (load_tool(f'tools/{name}.py') for name in ('train', 'test', 'convert_checkpoint'))
    written = {'encoder.pkl', 'swin_base_bevt.pth', 'swin_base_patch4_window7_224.pth', 'moby_swin_base.pth', None}  # published
    written.add('checkpoints/vit_base_self_supervised.safetensors')
    for words, tool, arguments in commands:
        if tool == 'tools/train.py':
            args = train.parse_args(arguments)
            config = configured(words, args)
            folder = args.work_dir or f'work_dirs/{Path(args.config).stem}'
            if 'tokenizers' in args.config:
                written.add(f'{folder}/tokenizer.safetensors')
                continue
            needed = [config.load_from, config.model.get('tokenizer', {}).get('checkpoint'),
                      (config.model.backbone.get('init_cfg') or {}).get('checkpoint')]
            assert set(needed) <= written, (args.config, needed)
            written.add(f'{folder}/epoch_{config.max_epochs}.pth')
        elif tool == 'tools/test.py':
            args = test.parse_args(arguments)
            assert args.checkpoint in written
            config = configured(words, args)
            assert args.temporal == 'normal' or config.test_dataloader
        else:
            assert tool == 'tools/convert_checkpoint.py'
            args = convert.parse_args(arguments)
            written.add(arguments[-1])
            assert arguments[1] in written and args


def test_page__rows_are_those_of_the_tables(commands):
    """Each figure of Tables 1, 6, 7 and 8 stands beside the row's command."""
    for row, figures in {
            'finetune image_sup': '66.3  84.0  80.6', 'finetune image_cl': '67.1  85.5  80.9',
            'finetune bevt_i': '69.2  81.2  80.5', 'finetune bevt_v': '67.1  83.7  76.2',
            'finetune bevt_v_howto100m': '64.2  82.3  75.1',
            'finetune bevt': '70.6  86.7  80.6', 'finetune bevt_v_init': '70.0  85.2  79.6',
            'finetune bevt_no_init': '67.9  85.1  78.5', 'finetune bevt_frames': '70.3  86.6  80.5',
            'finetune bevt_peco': '71.4  87.2  81.1', 'masks tube': '63.3  71.6', 'masks random_3d': '59.1  67.4'}.items():
        assert re.search(rf'^{row} .*# {figures}$|^{row} +# {figures}$', PAGE, re.M), row
    maskers = {args.work_dir.rsplit('/', 1)[1]: configured(words, args).model.maskers.video
               for words, args in of_tool(commands, 'train') if (args.work_dir or '').startswith('work_dirs/bevt_masks')}
    assert {masker.type.removeprefix('ssvideo.') for masker in maskers.values()} == {
        'TubeMasker', 'Random3DMasker', 'FrameDiffMasker', 'RandomFrameMasker'}
    assert all(masker.temporal_stride == 2 for masker in maskers.values()) and len(maskers) == 10
    assert [maskers[name].mask_ratio for name in ('tube_40', 'tube', 'tube_60', 'tube_70')] == [0.4, 0.5, 0.6, 0.7]
    assert [tuple(maskers[name].tube_length) for name in ('tube_short', 'tube_long', 'tube_whole')] == [
        (0.25, 0.75), (0.75, 1.0), (1.0, 1.0)]


def test_page__names_files_that_exist():
    for path in set(re.findall(r'\b(?:configs|tools|docs)/[\w/]+\.(?:py|sh|md)\b', PAGE)):
        assert (ROOT / path).exists(), path
