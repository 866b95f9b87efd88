"""Files that a user names: the path that a name stands for, and files that are written as a whole. Imports no JAX.

Examples:
    >>> import tempfile
    >>> from limpet import files
    >>> path = files.path_of(tempfile.mkdtemp()) / "notes.txt"
    >>> files.write_text(path, "0.9")
    >>> path.read_text()
    '0.9'
"""

from ._files import expanded as expanded
from ._files import path_of as path_of
from ._files import whole_file as whole_file
from ._files import write_text as write_text
