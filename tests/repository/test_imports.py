"""Imports run one way, and the core knows no plugin."""
import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / 'ssvideo'
# a file may import from its own row and the rows above it
ROWS = [
    ('version', 'structures', 'registry', 'utils'),
    ('models.layers',),
    ('models.tokenizers', 'models.maskers', 'models.backbones', 'models.decoders', 'models.objectives'),
    ('models.preprocessor', 'models.pretrainer', 'models.classifier'),
    ('models', 'datasets', 'visualization'),
    ('apis', 'contracts', 'evaluation', 'utils.convert_vimpac', 'utils.convert_bevt'),
    ('engine',),
    ('',)]


def imported_by(path: Path) -> set[str]:
    """Modules that a file imports anywhere, absolute."""
    package = ['ssvideo', *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            module = '.'.join([*base, *([node.module] if node.module else [])])
            found.add(module)
            found.update(f'{module}.{alias.name}' for alias in node.names
                         if (ROOT / Path(*module.split('.')) / f'{alias.name}.py').exists()
                         or (ROOT / Path(*module.split('.')) / alias.name / '__init__.py').exists())
    return found


def row_of(module: str) -> int:
    name = module.removeprefix('ssvideo').removeprefix('.')
    best = max((prefix for row in ROWS for prefix in row if name == prefix or name.startswith(f'{prefix}.')), key=len, default='')
    return next(i for i, row in enumerate(ROWS) if best in row)


def test_imports__run_one_way():
    for path in PACKAGE.rglob('*.py'):
        module = '.'.join(['ssvideo', *path.relative_to(PACKAGE).with_suffix('').parts]).removesuffix('.__init__')
        for imported in imported_by(path):
            if imported.startswith('ssvideo.'):
                assert row_of(imported) <= row_of(module), f'{module} must not import {imported}'


def test_imports__the_core_imports_no_plugin():
    for path in [*PACKAGE.rglob('*.py'), *(ROOT / 'tools').rglob('*.py')]:
        assert not any(name.split('.')[0] == 'plugins' for name in imported_by_any(path)), f'{path} imports a plugin'


def imported_by_any(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names} \
        | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


def test_imports__ssvideo_is_light_and_mends_the_wheel():
    code = ('import sys, ssvideo; assert not any(m in sys.modules for m in ("torchvision", "timm", "cv2", "mmaction")), "heavy"; '
            'import mmaction.models; from mmaction.registry import MODELS; print(len(MODELS.module_dict))')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, cwd='/', check=True)
    assert int(done.stdout) > 70
