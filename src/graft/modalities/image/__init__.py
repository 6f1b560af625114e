"""Images: decoding, colour, statistics."""
