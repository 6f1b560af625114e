"""Search over hyper-parameters: what may vary, the trials (Optuna), and whether anything beats the settings at hand."""
