# The token store of config_vimpac.py: configs/tokenizers/tokens_vimpac_128.py with FSQ's ids.
#     tools/dist_extract_tokens.sh plugins/fsq_tokenizer/config_tokens.py 8 --out data/howto100m/tokens_fsq_128
_base_ = ['../../configs/tokenizers/tokens_vimpac_128.py']
custom_imports = dict(imports=['ssvideo', 'plugins.fsq_tokenizer'])

tokenizer = dict(type='ssvideo.FsqTokenizer', checkpoint='work_dirs/fsq/tokenizer.safetensors')
