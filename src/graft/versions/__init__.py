"""Which model is in use, and which were: promoted by figures, kept by DVC under a hash, published, and taken back."""
