"""Small tables that the gazetteer's package lacks: other names of countries, regions, and towns that are also
words."""

# folded name → ISO 3166-1 alpha-2
COUNTRY_ALIASES = {
    "usa": "US", "us": "US", "u s": "US", "u s a": "US", "united states of america": "US", "america": "US",
    "estados unidos": "US", "ee uu": "US", "eeuu": "US", "etats unis": "US", "vereinigte staaten": "US",
    "stati uniti": "US",
    "uk": "GB", "u k": "GB", "great britain": "GB", "britain": "GB", "reino unido": "GB", "royaume uni": "GB",
    "grossbritannien": "GB", "uae": "AE", "emirates": "AE", "drc": "CD", "dr congo": "CD", "ivory coast": "CI",
    "cote d ivoire": "CI", "czech republic": "CZ", "holland": "NL", "burma": "MM", "south korea": "KR",
    "north korea": "KP",
    "korea": "KR", "macedonia": "MK", "palestine": "PS", "gaza strip": "PS", "turkiye": "TR", "vatican city": "VA",
    "espana": "ES", "espagne": "ES", "spanien": "ES", "spagna": "ES", "espanha": "ES",
    "deutschland": "DE", "allemagne": "DE", "alemania": "DE", "alemanha": "DE", "germania": "DE",
    "france": "FR", "francia": "FR", "frankreich": "FR", "franca": "FR", "italia": "IT", "italie": "IT",
    "italien": "IT",
    "brasil": "BR", "bresil": "BR", "brasilien": "BR", "brasile": "BR", "mexiko": "MX", "messico": "MX",
    "mexique": "MX",
    "japon": "JP", "japao": "JP", "giappone": "JP", "turquia": "TR", "turquie": "TR", "turkei": "TR", "turchia": "TR",
    "grecia": "GR", "grece": "GR", "griechenland": "GR", "chili": "CL", "chile": "CL", "perou": "PE",
    "argentine": "AR",
    "suisse": "CH", "schweiz": "CH", "svizzera": "CH", "suiza": "CH", "osterreich": "AT", "autriche": "AT",
    "belgique": "BE", "belgien": "BE", "belgica": "BE", "pays bas": "NL", "niederlande": "NL", "paises bajos": "NL",
    "ucrania": "UA", "ukraine": "UA", "rusia": "RU", "russie": "RU", "russland": "RU", "irlanda": "IE",
    "irlande": "IE",
    "irland": "IE", "marruecos": "MA", "maroc": "MA", "marokko": "MA", "haiti": "HT", "polska": "PL", "polen": "PL",
}  # fmt: skip

# folded name → (shown name, country, admin1 code in geonames)
REGIONS = {
    "england": ("England", "GB", "ENG"), "scotland": ("Scotland", "GB", "SCT"), "wales": ("Wales", "GB", "WLS"),
    "cymru": ("Wales", "GB", "WLS"), "northern ireland": ("Northern Ireland", "GB", "NIR"),
    "alberta": ("Alberta", "CA", "01"), "british columbia": ("British Columbia", "CA", "02"),
    "manitoba": ("Manitoba", "CA", "03"), "new brunswick": ("New Brunswick", "CA", "04"),
    "newfoundland": ("Newfoundland and Labrador", "CA", "05"), "nova scotia": ("Nova Scotia", "CA", "07"),
    "ontario": ("Ontario", "CA", "08"), "quebec": ("Quebec", "CA", "10"), "saskatchewan": ("Saskatchewan", "CA",
    "11"),
    "new south wales": ("New South Wales", "AU", "02"), "nsw": ("New South Wales", "AU", "02"),
    "queensland": ("Queensland", "AU", "04"), "south australia": ("South Australia", "AU", "05"),
    "tasmania": ("Tasmania", "AU", "06"), "western australia": ("Western Australia", "AU", "08"),
    "victoria australia": ("Victoria", "AU", "07"),
    "calif": ("California", "US", "CA"), "tenn": ("Tennessee", "US", "TN"), "okla": ("Oklahoma", "US", "OK"),
    "colo": ("Colorado", "US", "CO"), "ariz": ("Arizona", "US", "AZ"), "new york state": ("New York", "US", "NY"),
    "washington state": ("Washington", "US", "WA"),
}  # fmt: skip

# These names of states mean a city or a country when they stand alone.
NOT_ALONE = frozenset({"new york", "washington", "georgia"})

# Towns whose names are words or people's names: never a place without a country or state beside them.
AMBIGUOUS = frozenset(
    """
    alice anna asia august aurora bath beverly best bend big boa central clinton columbia concord corona date david
    deal diamond douglas dover elgin enterprise eugene fort franklin garden george grace grand gary hope hull
    independence
    jackson jefferson kent lawrence lead liberty lima lincoln live long lucas madison male man mary mercedes meridian
    mission mobile moscow murray nancy nice normal ocean of orange over park paradise pearl phoenix polo process
    progress providence racine reading rome rugby salt san santa sale sandy santo saint spring split stone sun
    surprise
    temple tours tower trinity troy union university van victoria victory war warren west wells windsor york young
    union city east north south
    """.split()  # noqa: SIM905
)

# A name that ends with one of these is a street or a building within a place, hardly a town.
FEATURES = frozenset(
    """
    street st road rd avenue ave lane highway hwy route bridge mall airport station school hospital university
    harbour harbor dock docks pier quay square church tower building stadium center centre hotel county interstate
    tunnel terminal plant works factory refinery elementary college supervalue condado junction crossing strasse platz
    """.split()  # noqa: SIM905
)

# The same where the kind stands first: rue de la Gare, calle Hidalgo.
FEATURES_FIRST = frozenset(
    """
    calle avenida plaza rue place quartier boulevard rua praca via piazza highway route interstate hospital
    """.split()  # noqa: SIM905
)
