"""What Limpet knows of Rockpool, under Rockpool's own names; needs no Rockpool to be imported.

`frozen_mismatch_prototype`, `dynamic_mismatch_prototype` and `mismatch_generator` are drop-ins for the functions of
`rockpool.devices.dynapse` and `rockpool.transform.mismatch`. To build a network, Rockpool itself is needed:
`python -m pip install 'limpet[rockpool]'`.
"""

from .leaves.rockpool import attributes as attributes
from .leaves.rockpool import dynamic_mismatch_prototype as dynamic_mismatch_prototype
from .leaves.rockpool import dynapse_limits as dynapse_limits
from .leaves.rockpool import frozen_mismatch_prototype as frozen_mismatch_prototype
from .leaves.rockpool import imported as imported
from .leaves.rockpool import is_module as is_module
from .leaves.rockpool import mismatch_generator as mismatch_generator
from .leaves.rockpool import nominal_attributes as nominal_attributes
from .leaves.rockpool import quietly as quietly
