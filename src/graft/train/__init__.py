"""Training: which parts are frozen, the loop, and the staged fine-tuning built from them."""
