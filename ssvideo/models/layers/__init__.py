"""Pieces that backbones, tokenizers and decoders are made of."""
