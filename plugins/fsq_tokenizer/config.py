# FSQ with 15,360 ids for squares of 8 x 8 pixels, as DALL-E's tokenizer has them. arXiv:2309.15505.
#     tools/dist_train.sh plugins/fsq_tokenizer/config.py 8
# Levels are the paper's. Its auto-encoders are VQ-GAN's at strides 8 and 16, with an adversarial loss, which ours is without;
# stride, data and schedule are those of configs/tokenizers/peco.py where nothing is said, and never run at full scale.
_base_ = ['../../configs/tokenizers/peco.py']
custom_imports = dict(imports=['ssvideo', 'plugins.fsq_tokenizer'])

work_dir = 'work_dirs/fsq'  # config_tokens.py reads the tokenizer there
model = dict(
    _delete_=True, type='ssvideo.FsqVAE',
    levels=[8, 8, 8, 6, 5],  # Table 1, for 2^14 codes
    widths=(128, 128, 256, 512), num_blocks=2, attention=True,  # VQ-GAN; four stages make the stride of 8
    perceptual=dict(_base_.model.perceptual), perceptual_weight=1.0,
    pixel_distance='l1')
