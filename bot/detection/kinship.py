"""Which categories may be one happening, and which reach over a region rather than a town."""

_GROUPS = (
    frozenset({"terror_attack", "shooting", "explosion", "armed_conflict"}),
    frozenset({"terror_attack", "shooting", "unrest"}),
    frozenset({"armed_conflict", "unrest", "politics"}),
    frozenset({"explosion", "fire", "hazmat_pollution", "structural_collapse", "transport_accident"}),
    frozenset({"fire", "wildfire"}),
    frozenset({"unrest", "fire"}),
    frozenset({"earthquake", "volcano", "landslide", "structural_collapse"}),
    frozenset({"flood", "storm", "landslide"}),
    frozenset({"storm", "structural_collapse", "transport_accident"}),
    frozenset({"meteor", "explosion"}),
    frozenset({"hazmat_pollution", "public_health"}),
    frozenset({"markets", "politics", "cyber"}),
)
WIDE = frozenset(
    """
    earthquake volcano storm flood wildfire meteor armed_conflict public_health cyber markets politics
    """.split()  # noqa: SIM905
)


_RELATED = frozenset((one, other) for group in _GROUPS for one in group for other in group)


def related(one: str, other: str) -> bool:
    """A happening that some call ``one`` and others ``other``: bomb, blast and gas explosion."""
    return one == other or (one, other) in _RELATED
