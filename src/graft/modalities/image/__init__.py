"""Images: decoding, statistics, perceptual hash, preview and their checks."""
