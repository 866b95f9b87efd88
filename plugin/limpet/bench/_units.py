"""Units as benches write them: nA, pF, mV, uS."""

PREFIXES = {"f": -15, "p": -12, "n": -9, "u": -6, "µ": -6, "μ": -6, "m": -3, "": 0, "k": 3, "M": 6}
"""Powers of ten by prefix; of the two signs for micro, one is Latin and one is Greek."""
BASES = ("A", "F", "V", "S", "Ohm", "Ω", "Hz", "s")
UNITS = "A, F, V, S, Ohm, Hz and s, each with a prefix f, p, n, u, m, k or M, or with none"
"""What is understood, as messages say it."""


def unit_of(text: str) -> tuple[float, str] | None:
    """How many of its base unit a unit is, and that base unit; None where it is none that is known.

    A number without a unit, written as an empty text or as 1, is one of itself.

    Examples:
        >>> unit_of("nA"), unit_of("s"), unit_of(""), unit_of("apples")
        ((1e-09, 'A'), (1.0, 's'), (1.0, ''), None)
    """
    text = text.strip()
    if text in ("", "1"):
        return 1.0, ""
    for base in BASES:
        prefix = text.removesuffix(base)
        if prefix != text and prefix in PREFIXES:
            return float(f"1e{PREFIXES[prefix]}"), "Ohm" if base == "Ω" else base
    return None


def quantity(value: float, base: str) -> str:
    """A value in its base unit, written with the prefix that suits it.

    Examples:
        >>> quantity(2.5e-10, "A"), quantity(0.0, "A"), quantity(1234.0, "")
        ('250 pA', '0 A', '1234')
    """
    if not base:
        return f"{value:.4g}"
    names = {power: prefix for prefix, power in PREFIXES.items() if prefix not in ("µ", "μ")}
    fitting = [power for power in names if abs(value) >= float(f"1e{power}") * (1 - 1e-9)]
    power = max(fitting, default=min(names)) if value else 0
    return f"{value / float(f'1e{power}'):.4g} {names[power]}{base}"
