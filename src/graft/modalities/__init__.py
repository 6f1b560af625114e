"""What a sample is: decoding, statistics, fingerprints, preview."""
