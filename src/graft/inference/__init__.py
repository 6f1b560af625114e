"""Trained models on disk and their predictions: artifact, predictor, engines, ONNX export."""
