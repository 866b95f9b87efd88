"""Limpet: device mismatch for JAX training loops.

Networks for analog and mixed-signal chips are trained under the mismatch of the hardware they will run on, frozen
onto virtual chips, and measured on hundreds of them. See the README for the three lines that do it.

Public names stand in `__init__.pyi` and are loaded when they are first used, so `import limpet` is silent, takes
milliseconds and imports no JAX.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
