"""The taxonomy is the contract's, and says what each category is."""

import subprocess
import sys

from classifiers import api, taxonomy

CONTRACT = (
    "terror_attack, shooting, armed_conflict, unrest, explosion, fire, wildfire, earthquake, volcano, landslide, "
    "flood, storm, meteor, transport_accident, structural_collapse, hazmat_pollution, public_health, "
    "cyber, markets, politics"
)
CAP_CATEGORIES = {
    "Geo", "Met", "Safety", "Security", "Rescue", "Fire", "Health", "Env", "Transport", "Infra", "CBRNE", "Other",
}  # fmt: skip


def test_categories_are_the_contracts_in_its_order():
    assert ", ".join(api.CATEGORIES) == CONTRACT


def test_every_category_says_what_it_is_and_is_not():
    for category in taxonomy.TAXONOMY:
        assert category.definition.endswith(".")
        assert category.is_not.endswith(".")
        assert category.cap in CAP_CATEGORIES
        assert category.iptc is None or category.iptc.startswith("medtop:")


def test_api_imports_nothing_beyond_the_standard_library_and_numpy():
    code = (
        "import sys; import classifiers.api; "
        "print([name for name in ('torch', 'transformers', 'onnxruntime', 'sklearn', 'bot') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
