"""Files and functions stay short enough to be read."""
import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [path for part in ('ssvideo', 'tools', 'plugins', 'configs', 'tests') for path in (ROOT / part).rglob('*.py')]


def test_layout__no_file_is_over_400_lines():
    assert not [str(path) for path in SOURCES if path.read_text().count('\n') > 400]


def test_layout__no_function_is_over_50_lines():
    long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body and node.end_lineno - body[0].lineno + 1 > 50:
                    long.append(f'{path}:{node.name}')
    assert not long


def test_layout__public_classes_have_docstrings():
    bare = [f'{path}:{node.name}' for path in (ROOT / 'ssvideo').rglob('*.py') for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ClassDef) and not node.name.startswith('_') and not ast.get_docstring(node)]
    assert not bare
