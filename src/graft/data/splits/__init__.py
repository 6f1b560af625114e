"""Train, test and folds: seeded, stratified, grouped."""
