"""Choosing the candidate: probes on cached features, finalists fine-tuned in every fold, and the rule that decides."""
