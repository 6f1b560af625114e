"""What runs the packaged model: its export to ONNX, the proof that it answers the same, the engines, and their choice.

Evaluation takes the road of :mod:`graft.predict`, which is torch's. The service takes the fastest engine that was shown
to answer the same, and needs neither torch nor timm where that is ONNX Runtime.
"""
