"""What the commands print, read strictly."""

import json


def strict(text):
    """JSON without the NaN and infinities that Python's parser would let pass."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)
