"""What docs/evaluation.md promises: its commands, and the names in them."""
import re
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from page_commands import ROOT, load_tool, run_page  # noqa: E402

PAGE = (ROOT / 'docs/evaluation.md').read_text()


@pytest.fixture(scope='module')
def commands(tmp_path_factory):
    return run_page(PAGE, tmp_path_factory.mktemp('page'), ())


def test_evaluation_page__tools_take_the_words(commands):
    parsed = [load_tool(tool).parse_args(arguments) for _, tool, arguments in commands if tool != 'tools/mmaction_tool.py']
    assert len(parsed) == 5
    for args in parsed:
        assert Config.fromfile(ROOT / args.config).model.type == 'ssvideo.ClipClassifier'


def test_evaluation_page__mmaction2_has_the_tools(commands):
    tool = load_tool('tools/mmaction_tool.py')
    started = [tool.parse_args(arguments) for _, name, arguments in commands if name == 'tools/mmaction_tool.py']
    assert [args.name for args in started] == ['test', 'eval_metric', 'confusion_matrix', 'report_accuracy', 'get_flops']
    for args in started:
        text = tool.tool_of(args.name).read_text()
        for word in (word for word in args.words if word.startswith('--')):
            assert f"'{word}'" in text, f'{args.name} has no {word}'


def test_evaluation_page__the_example_of_an_allowance_is_the_recipes(commands):
    example, = re.findall(r'^```python\n(.*?)^```', PAGE, re.M | re.S)
    allowed = [config.default_hooks.strict_load.allow_missing for config in (
        Config.fromstring(example, '.py'), Config.fromfile(ROOT / 'configs/bevt_swin_b.py'))]
    assert allowed[0] == allowed[1]


def test_evaluation_page__names_files_that_exist():
    for path in set(re.findall(r'\b(?:configs|tools|docs)/[\w/]+\.(?:py|sh|md)\b', PAGE)):
        assert (ROOT / path).exists(), path
