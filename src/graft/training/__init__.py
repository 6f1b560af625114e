"""Fine-tuning: strategies, loop, checkpoints, precision."""
