"""The command line of tools/convert_checkpoint.py for models."""
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))
from vimpac_weights import GOLDEN, authors_weights, convert  # noqa: E402

from ssvideo.apis import load_pretrained  # noqa: E402
from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.utils.model_file import read_model_file  # noqa: E402


def test_convert_vimpac__says_where_everything_comes_from(tmp_path, capsys):
    convert('vimpac', GOLDEN / 'vimpac_a_weights.safetensors', tmp_path / 'a.safetensors', '--layout', 'THW')
    printed = capsys.readouterr().out
    assert 'layout=T,H|W: from the source file (--layout THW is not used)' in printed
    assert 'num_heads=4: from the source file' in printed
    assert 'objectives: {"mlm"' in printed
    source = read_model_file(tmp_path / 'a.safetensors').source
    assert source['file'] == 'vimpac_a_weights.safetensors'
    assert source['notes'][1] == 'num_heads=4: from the source file'
    torch.save(dict(model=authors_weights()), tmp_path / 'classifier.pt')
    convert('vimpac', tmp_path / 'classifier.pt', tmp_path / 'b.safetensors', '--num-heads', '4')
    printed = capsys.readouterr().out
    assert 'layout=T,H|W: ASSUMED' in printed
    assert 'num_heads=4: from --num-heads' in printed


def test_convert_vimpac__safetensors_without_metadata(tmp_path):
    save_file(authors_weights((1, 1, 1)), tmp_path / 'a.safetensors')
    convert('vimpac', tmp_path / 'a.safetensors', tmp_path / 'out.safetensors', '--layout', 'T,H,W')
    assert read_model_file(tmp_path / 'out.safetensors').config['backbone']['layout'] == 'T,H,W'


@pytest.mark.parametrize(('words', 'message'), [
    (('missing.pt', 'out.safetensors'), 'there is no file'),
    (('ok.pt', 'out.pth'), 'ends in .safetensors'),
    (('ok.pt', 'out.safetensors', '--layout', 'T,H,W'), r'\[1, 1, 1\] branches'),
    (('ok.pt', 'out.safetensors', '--num-heads', '3'), 'num_heads=3 does not divide'),
    (('other.pt', 'out.safetensors'), 'not weights of VIMPAC'),
    (('cut.pt', 'out.safetensors'), 'expected')])
def test_convert_vimpac__errors_are_one_line_and_leave_no_file(tmp_path, words, message):
    torch.save(authors_weights(), tmp_path / 'ok.pt')
    torch.save(dict(a=torch.zeros(1)), tmp_path / 'other.pt')
    torch.save(authors_weights() | {'backbone.cls_param': torch.zeros(3)}, tmp_path / 'cut.pt')
    before = sorted(tmp_path.iterdir())
    source, out, *rest = words
    with pytest.raises(SystemExit, match=message) as error:
        convert('vimpac', tmp_path / source, tmp_path / out, *rest)
    assert '\n' not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


CONFIG = """
default_scope = 'mmaction'
model = dict(
    type='ssvideo.Pretrainer',
    backbone=dict(type='ssvideo.DividedTransformer', grid=(2, 2, 2), vocab_size=4, embed_dims=8, num_layers=1, num_heads=2,
                  init_cfg=dict(type='Pretrained', checkpoint='somewhere.pth')),
    maskers=dict(video=dict(type='ssvideo.BlockMasker')), objectives=dict(mlm=dict(type='ssvideo.MLM', streams=('video',))))
"""


def test_convert_trained__a_checkpoint_of_a_training(tmp_path):
    (tmp_path / 'recipe.py').write_text(CONFIG)
    trained = MODELS.build(dict(
        type='ssvideo.Pretrainer', backbone=dict(type='ssvideo.DividedTransformer', grid=(2, 2, 2), vocab_size=4, embed_dims=8,
                                                 num_layers=1, num_heads=2),
        maskers=dict(video=dict(type='ssvideo.BlockMasker')), objectives=dict(mlm=dict(type='ssvideo.MLM'))))
    torch.save(dict(meta=dict(epoch=1), state_dict=trained.state_dict(), optimizer=dict(state={})), tmp_path / 'epoch_1.pth')
    convert('checkpoint', tmp_path / 'recipe.py', tmp_path / 'epoch_1.pth', tmp_path / 'mine.safetensors')
    model = load_pretrained(tmp_path / 'mine.safetensors')
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in model.state_dict().items())
    assert model.objectives['mlm'].streams == ('video',)
    assert read_model_file(tmp_path / 'mine.safetensors').source['notes'] == ['config: recipe.py']


def test_convert_trained__another_config_is_refused(tmp_path):
    (tmp_path / 'recipe.py').write_text(CONFIG)
    (tmp_path / 'empty.py').write_text('optimizer = 1')
    torch.save(dict(state_dict={'backbone.cls_token': torch.zeros(8)}), tmp_path / 'x.pth')
    with pytest.raises(SystemExit, match='missing'):
        convert('checkpoint', tmp_path / 'recipe.py', tmp_path / 'x.pth', tmp_path / 'out.safetensors')
    with pytest.raises(SystemExit, match='empty.py has no model'):
        convert('checkpoint', tmp_path / 'empty.py', tmp_path / 'x.pth', tmp_path / 'out.safetensors')
    assert not (tmp_path / 'out.safetensors').exists()
