# BEVT, joint stage, with PeCo's tokens in the place of DALL-E's. Published: SSv2 71.4, Diving48 87.2, Kinetics-400 81.1 %.
# arXiv:2112.01529, Sec. 4.3, Tables 3 to 5. The paper trains the tokenizer on ImageNet-1K, and does not say which tokens the
# image stage had; ours has PeCo's, too, because the classifier goes on from it:
#     tools/dist_train.sh configs/tokenizers/peco.py 8
#     tools/dist_train.sh configs/bevt_image_swin_b.py 16 --work-dir work_dirs/bevt_image_swin_b_peco --cfg-options \
#         model.tokenizer.type=ssvideo.PecoTokenizer model.tokenizer.checkpoint=work_dirs/peco/tokenizer.safetensors
#     tools/dist_train.sh configs/bevt_swin_b_peco.py 32
_base_ = ['bevt_swin_b.py']

load_from = 'work_dirs/bevt_image_swin_b_peco/epoch_800.pth'
model = dict(tokenizer=dict(type='ssvideo.PecoTokenizer', checkpoint='work_dirs/peco/tokenizer.safetensors'))
