"""What a training is computed on and in: devices, processes, precision, memory format."""
