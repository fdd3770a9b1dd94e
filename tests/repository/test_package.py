"""The wheel carries the package, its configs, tools and plugins."""
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ('setup.py', 'ssvideo_pytest.py', 'pyproject.toml', 'README.md', 'LICENSE', 'requirements', 'ssvideo', 'configs',
         'tools', 'plugins')


def test_wheel__holds_configs_and_tools(tmp_path):
    source = tmp_path / 'source'
    source.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / part, source)
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation',
                    '--wheel-dir', str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob('*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ('configs', 'tools', 'plugins'):
        shipped = {f'ssvideo/share/{path.relative_to(source)}' for path in (source / folder).rglob('*')
                   if path.suffix in {'.py', '.sh', '.md'}}
        assert shipped and not shipped - names
    modules = {str(path.relative_to(source)) for path in (source / 'ssvideo').rglob('*.py')}
    assert not modules - names
