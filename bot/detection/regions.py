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
    "kerala": ("Kerala", "IN", "13"), "tamil nadu": ("Tamil Nadu", "IN", "25"),
    "karnataka": ("Karnataka", "IN", "19"), "maharashtra": ("Maharashtra", "IN", "16"),
    "gujarat": ("Gujarat", "IN", "09"), "rajasthan": ("Rajasthan", "IN", "24"),
    "uttar pradesh": ("Uttar Pradesh", "IN", "36"), "uttarakhand": ("Uttarakhand", "IN", "39"),
    "bihar": ("Bihar", "IN", "34"), "west bengal": ("West Bengal", "IN", "28"), "odisha": ("Odisha", "IN", "21"),
    "orissa": ("Odisha", "IN", "21"), "assam": ("Assam", "IN", "03"),
    "andhra pradesh": ("Andhra Pradesh", "IN", "02"), "telangana": ("Telangana", "IN", "40"),
    "madhya pradesh": ("Madhya Pradesh", "IN", "35"), "chhattisgarh": ("Chhattisgarh", "IN", "37"),
    "jharkhand": ("Jharkhand", "IN", "38"), "himachal pradesh": ("Himachal Pradesh", "IN", "11"),
    "haryana": ("Haryana", "IN", "10"), "manipur": ("Manipur", "IN", "17"), "lombardy": ("Lombardy", "IT", "09"),
    "lombardia": ("Lombardy", "IT", "09"), "emilia romagna": ("Emilia-Romagna", "IT", "05"),
    "tuscany": ("Tuscany", "IT", "16"), "toscana": ("Tuscany", "IT", "16"),
    "sicily": ("Sicily", "IT", "15"), "sicilia": ("Sicily", "IT", "15"), "sardinia": ("Sardinia", "IT", "14"),
    "sardegna": ("Sardinia", "IT", "14"), "campania": ("Campania", "IT", "04"), "lazio": ("Lazio", "IT", "07"),
    "piedmont": ("Piedmont", "IT", "12"), "piemonte": ("Piedmont", "IT", "12"), "veneto": ("Veneto", "IT", "20"),
    "liguria": ("Liguria", "IT", "08"), "calabria": ("Calabria", "IT", "03"), "abruzzo": ("Abruzzo", "IT", "01"),
    "umbria": ("Umbria", "IT", "18"), "apulia": ("Apulia", "IT", "13"),
    "puglia": ("Apulia", "IT", "13"), "catalonia": ("Catalonia", "ES", "56"), "catalunya": ("Catalonia", "ES", "56"),
    "cataluna": ("Catalonia", "ES", "56"), "andalusia": ("Andalusia", "ES", "51"),
    "andalucia": ("Andalusia", "ES", "51"), "galicia": ("Galicia", "ES", "58"),
    "basque country": ("Basque Country", "ES", "59"), "pais vasco": ("Basque Country", "ES", "59"),
    "euskadi": ("Basque Country", "ES", "59"), "asturias": ("Asturias", "ES", "34"),
    "brittany": ("Brittany", "FR", "53"), "bretagne": ("Brittany", "FR", "53"), "normandy": ("Normandy", "FR", "28"),
    "normandie": ("Normandy", "FR", "28"), "corsica": ("Corsica", "FR", "94"), "corse": ("Corsica", "FR", "94"),
    "provence": ("Provence", "FR", "93"), "occitanie": ("Occitanie", "FR", "76"), "bavaria": ("Bavaria", "DE", "02"),
    "bayern": ("Bavaria", "DE", "02"), "saxony": ("Saxony", "DE", "13"), "sachsen": ("Saxony", "DE", "13"),
    "hesse": ("Hesse", "DE", "05"), "hessen": ("Hesse", "DE", "05"), "lower saxony": ("Lower Saxony", "DE", "06"),
    "niedersachsen": ("Lower Saxony", "DE", "06"), "thuringia": ("Thuringia", "DE", "15"),
    "thuringen": ("Thuringia", "DE", "15"), "baden wurttemberg": ("Baden-Württemberg", "DE", "01"),
    "north rhine westphalia": ("North Rhine-Westphalia", "DE", "07"),
    "nordrhein westfalen": ("North Rhine-Westphalia", "DE", "07"),
    "rhineland palatinate": ("Rhineland-Palatinate", "DE", "08"),
    "rheinland pfalz": ("Rhineland-Palatinate", "DE", "08"), "bahia": ("Bahia", "BR", "05"),
    "minas gerais": ("Minas Gerais", "BR", "15"), "rio grande do sul": ("Rio Grande do Sul", "BR", "23"),
    "santa catarina": ("Santa Catarina", "BR", "26"), "parana": ("Paraná", "BR", "18"),
    "pernambuco": ("Pernambuco", "BR", "30"), "amazonas": ("Amazonas", "BR", "04"),
    "ceara": ("Ceará", "BR", "06"), "chiapas": ("Chiapas", "MX", "05"), "michoacan": ("Michoacán", "MX", "16"),
    "jalisco": ("Jalisco", "MX", "14"), "sinaloa": ("Sinaloa", "MX", "25"), "sonora": ("Sonora", "MX", "26"),
    "nuevo leon": ("Nuevo León", "MX", "19"), "tamaulipas": ("Tamaulipas", "MX", "28"),
    "quintana roo": ("Quintana Roo", "MX", "23"), "yucatan": ("Yucatán", "MX", "31"),
    "baja california": ("Baja California", "MX", "02"), "morelos": ("Morelos", "MX", "17"),
    "hokkaido": ("Hokkaido", "JP", "12"),
    "okinawa": ("Okinawa", "JP", "47"), "sichuan": ("Sichuan", "CN", "32"), "hubei": ("Hubei", "CN", "12"),
    "yunnan": ("Yunnan", "CN", "29"), "guangdong": ("Guangdong", "CN", "30"), "henan": ("Henan", "CN", "09"),
    "hunan": ("Hunan", "CN", "11"), "zhejiang": ("Zhejiang", "CN", "02"), "fujian": ("Fujian", "CN", "07"),
    "xinjiang": ("Xinjiang", "CN", "13"), "tibet": ("Tibet", "CN", "14"), "bali": ("Bali", "ID", "02"),
    "aceh": ("Aceh", "ID", "01"), "west java": ("West Java", "ID", "30"),
    "central java": ("Central Java", "ID", "07"), "east java": ("East Java", "ID", "08"),
    "sindh": ("Sindh", "PK", "05"), "balochistan": ("Balochistan", "PK", "02"),
    "khyber pakhtunkhwa": ("Khyber Pakhtunkhwa", "PK", "03"), "gauteng": ("Gauteng", "ZA", "06"),
    "western cape": ("Western Cape", "ZA", "11"), "kwazulu natal": ("KwaZulu-Natal", "ZA", "02"),
    "eastern cape": ("Eastern Cape", "ZA", "05"), "chechnya": ("Chechnya", "RU", "12"),
    "dagestan": ("Dagestan", "RU", "17"), "borno": ("Borno", "NG", "27"), "attica": ("Attica", "GR", "ESYE31"),
    "crete": ("Crete", "GR", "ESYE43"), "hatay": ("Hatay", "TR", "31"),
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
