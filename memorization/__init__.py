"""Measuring what a fine-tuned language model has memorized of its training data."""

__version__ = "0.2.0"
