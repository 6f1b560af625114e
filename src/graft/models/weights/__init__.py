"""Pretrained weights: bundled, published or the user's own; never unpickled."""
