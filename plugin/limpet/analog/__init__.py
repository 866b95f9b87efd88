"""Analog matrix products: converters, noise and tiles around x @ W, in functions that stay as they are."""
