"""The zoo: what can be named as a candidate, its network in ordered blocks, its weights and its preprocessing."""
