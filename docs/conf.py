"""Sphinx: ``python -m sphinx -W --keep-going -b html docs build/docs``."""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'docs' / 'extensions')]

from ssvideo.version import __version__  # noqa: E402

project = 'ssvideo'
copyright = 'the authors of ssvideo, Apache-2.0'
release = version = __version__
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'registered_components', 'repository_files',
              'plugin_pages', 'other_pages']
exclude_patterns = ['extensions']
html_theme = 'furo'
html_title = f'ssvideo {__version__}'
html_copy_source = False
pygments_style = 'default'
highlight_language = 'none'  # of blocks that do not say theirs

myst_heading_anchors = 4
myst_linkify_fuzzy_links = False

# the reference is built from docstrings with torch and mmengine alone
autodoc_mock_imports = ['av', 'cv2', 'decord', 'lmdb', 'matplotlib', 'mmaction', 'mmcv', 'scipy', 'timm', 'torchcodec',
                        'torchvision', 'vector_quantize_pytorch']
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
add_module_names = False
python_display_short_literal_types = True
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [('Source', 'notes_style')]
