"""Parts of the stage `finetune`: its inputs, the controls from scratch, the pairs in folds, live curves."""
