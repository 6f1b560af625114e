"""What a sample is: how its bytes are read, described, compared and shown. Images are the first modality."""
