# The store of config_small_vimpac.py: the quickstart's videos as ids of the tokenizer that config_small.py trains.
#     QUICKSTART=work_dirs/quickstart python tools/extract_tokens.py plugins/fsq_tokenizer/config_small_tokens.py \
#         --out work_dirs/quickstart/tokens_fsq
_base_ = ['../../configs/quickstart/tokens.py']
custom_imports = dict(imports=['ssvideo', 'plugins.fsq_tokenizer'])

tokenizer = dict(_delete_=True, type='ssvideo.FsqTokenizer', checkpoint=f'{_base_.ROOT}/fsq/tokenizer.safetensors')
