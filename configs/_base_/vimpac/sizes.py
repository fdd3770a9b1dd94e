# The sizes of VIMPAC's transformer. arXiv:2106.11250, Tables 2 and 10; parameters are those of embedding, positions and layers
# at 5 x 16 x 16 tokens.
# Table 13 has other layouts. An option cannot name them (its commas make lists), and a default here cannot hold a |
LAYOUT = '{{$VIMPAC_LAYOUT:default}}'
TRANSFORMER = dict(
    type='ssvideo.DividedTransformer', vocab_size=8192, dropout=0.1,  # DALL-E's vocabulary; Table 11
    layout='T,H|W' if LAYOUT == 'default' else LAYOUT)

# None: attention as wide as the model, an MLP four times as wide
SMALL = dict(TRANSFORMER, embed_dims=512, num_layers=6, num_heads=8, attention_dims=None, mlp_dims=None)  # 29.4 M
BASE = dict(TRANSFORMER, embed_dims=768, num_layers=12, num_heads=12, attention_dims=None, mlp_dims=None)  # 119.7 M
LARGE = dict(  # Large-Half, 210.1 M
    TRANSFORMER, embed_dims=1024, num_layers=24, num_heads=16, attention_dims=512, mlp_dims=2048)
