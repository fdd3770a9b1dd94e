"""What the README shows works as it stands there."""
import re
from pathlib import Path

from ssvideo.contracts import check_masker
from ssvideo.registry import MODELS

ROOT = Path(__file__).parents[1]


def test_readme__its_plugin_fulfils_the_contract(tmp_path, monkeypatch):
    code = re.search(r'<!-- plugin: .*? -->\n```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.S).group(1)
    (tmp_path / 'my_masker.py').write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        __import__('my_masker')
        check_masker(MODELS.build(dict(type='ssvideo.CheckerboardMasker', temporal_stride=2)))
    finally:
        MODELS.module_dict.pop('CheckerboardMasker', None)


def test_readme__names_files_that_exist():
    for document in ('README.md', 'CONTRIBUTING.md', 'docs/design.md'):
        text = (ROOT / document).read_text()
        for link in re.findall(r'\]\((?!http)([^)#]+)\)', text):
            assert ((ROOT / document).parent / link).exists(), f'{document} links to {link}'
        for path in re.findall(r'\b(?:configs|tools|plugins)/[\w/]+\.(?:py|sh)\b', text):
            assert (ROOT / path).exists(), f'{document} names {path}'
