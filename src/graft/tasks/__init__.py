"""What is said of a sample: target, head, loss, metrics, response, parity of engines."""
