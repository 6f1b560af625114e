"""The steps of dvc.yaml, one thin module each: files in, one room called, files out."""
