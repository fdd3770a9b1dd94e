# VIMPAC Small on FSQ's tokens: configs/vimpac_small.py with another vocabulary and store.
#     tools/dist_train.sh plugins/fsq_tokenizer/config_vimpac.py 8
_base_ = ['../../configs/vimpac_small.py']
custom_imports = dict(imports=['ssvideo', 'plugins.fsq_tokenizer'])

work_dir = 'work_dirs/vimpac_small_fsq'
TOKENS = f'data/{_base_.PRETRAIN_SET}/tokens_fsq_{_base_.SIZE}'  # config_tokens.py
model = dict(backbone=dict(vocab_size=8 * 8 * 8 * 6 * 5))  # the levels of config.py
train_dataloader = dict(video=dict(dataset=dict(store=TOKENS)))
