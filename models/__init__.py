"""The model the repository carries: coloured shapes drawn from a caption, and a CLIP that reads both.

Holds the drawn world, its captions, the training stages, the judge and the measurement. Knows nothing of
flows, workers or collections.
"""
