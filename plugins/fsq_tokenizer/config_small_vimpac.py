# The quickstart's VIMPAC on FSQ's tokens, in three minutes on one core.
#     QUICKSTART=work_dirs/quickstart python tools/train.py plugins/fsq_tokenizer/config_small_vimpac.py
_base_ = ['../../configs/quickstart/vimpac.py']
custom_imports = dict(imports=['ssvideo', 'plugins.fsq_tokenizer'])

work_dir = f'{_base_.ROOT}/fsq_vimpac'

model = dict(backbone=dict(vocab_size=5 * 4 * 3))  # the levels of config_small.py
train_dataloader = dict(video=dict(dataset=dict(store=f'{_base_.ROOT}/tokens_fsq')))
custom_hooks = [
    *_base_.custom_hooks[:-1],  # without the pictures that DALL-E's tokenizer decodes
    dict(type='ssvideo.PicturesHook', tokenizer=dict(
        type='ssvideo.FsqTokenizer', checkpoint=f'{_base_.ROOT}/fsq/tokenizer.safetensors'))]
