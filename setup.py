"""Packaging of ssvideo; configs, tools and plugins travel inside the wheel."""
import re
from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup

ROOT = Path(__file__).parent
SHIPPED = ('configs', 'tools', 'plugins')


def requirements(name: str) -> list[str]:
    """The requirement lines of ``requirements/<name>.txt``."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in (raw.split('#')[0].strip() for raw in lines) if line and not line.startswith('-')]


def version() -> str:
    """The version, read without importing the package."""
    return re.search(r"__version__ = '([^']+)'", (ROOT / 'ssvideo' / 'version.py').read_text()).group(1)


def shipped_packages() -> dict[str, str]:
    """``ssvideo.share.<folder>`` for each folder that is not Python of the package itself."""
    packages = {}
    for folder in SHIPPED:
        found = [folder, *(f'{folder}.{name}' for name in find_namespace_packages(folder))]
        packages.update({f'ssvideo.share.{name}': name.replace('.', '/') for name in found if '__pycache__' not in name})
    return packages


shared = shipped_packages()
setup(
    name='ssvideo',
    version=version(),
    description='Pluggable self-supervised video pre-training: VIMPAC, BEVT and your own method as config files',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11,<3.14',
    packages=[*find_packages(include=['ssvideo', 'ssvideo.*']), *shared],
    package_dir=shared,
    py_modules=['ssvideo_pytest'],
    package_data={'ssvideo.visualization.run_page': ['*.jinja'], **{name: ['*.py', '*.sh', '*.md', '*.txt'] for name in shared}},
    install_requires=requirements('runtime'),
    entry_points={'pytest11': ['ssvideo_pytest = ssvideo_pytest']},  # --component of ssvideo.contracts
    extras_require={'tests': requirements('tests'), 'optional': requirements('optional')},
    zip_safe=False,
)
