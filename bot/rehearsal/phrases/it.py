"""Italian chatter."""

EVERYDAY = (
    "oggi {piatto} con {persona}, {parere}",
    "{persona} ha preparato {piatto}: {parere}",
    "dove si mangia un buon piatto di {piatto} a {paese}?",
    "il mio {animale} {guaio} e fa pure l'offeso",
    "{squadra} gioca {giorno}, dico {risultato}",
    "da {giorno} ascolto solo {gruppo}",
    "puntata {numero} di {serie}, {parere}",
    "riunione {giorno} alle {numero}, mi serve {bibita}",
    "{meteo} a {paese}, perfetto per {bibita}",
    "{persona} compie {numero}0 anni {giorno}, festa con {piatto}",
    "sono {umore}, {bibita} e a letto",
    "cerco casa a {paese} con {animale} al seguito, {numero} stanze",
    "sconti del {numero}0% fino a {giorno} https://sconti.example/{numero}",
    "concerto di {gruppo} a {paese}, {persona} ha i biglietti",
    "buongiorno da {paese}, {meteo} e {bibita}",
    "{risultato} e {squadra} gioca così, sono {umore}",
    "finito {serie} con {persona}, {parere}",
    "ho corso {numero} km a {paese} e ora sono {umore}",
)

LOADED = (
    "il nuovo pezzo di {gruppo} è una bomba, {parere}",
    "{squadra} ha distrutto tutti, {risultato}",
    "il mio {animale} è un uragano, {guaio}",
    "prova antincendio in ufficio {giorno}, {persona} è uscita con {bibita}",
    "valanga di mail {giorno}, sono {umore}",
    "muoio dal ridere con {persona}, {parere}",
    "il terremoto alla fine di {serie} era ridicolo, {parere}",
)

TAILS = ("", "", "", " 😂", " ahah", " 🙃", " ❤️", "!!", " #relax", " ☕", " vabbè")

WORDS = {
    "piatto": ("lasagne", "risotto", "parmigiana", "pasta al forno", "polenta", "gnocchi", "minestrone", "focaccia"),
    "bibita": ("un caffè", "una spremuta", "un chinotto", "una tisana", "un tè freddo", "uno spritz"),
    "persona": ("mia sorella", "la nonna", "Giulia", "il vicino", "mio cugino", "la capa", "Matteo", "zia Pina"),
    "parere": ("che meraviglia", "mai più", "niente male", "lo consiglio", "ho dei dubbi", "mi sono commossa"),
    "paese": ("Montefiore Basso", "Rocca Serena", "Borgo Lieto", "Acquachiara", "San Tolomeo", "Pietradolce"),
    "animale": ("gatto", "cane", "coniglio", "pappagallo", "criceto"),
    "guaio": ("ha mangiato un calzino", "ha rovesciato la pianta", "dorme nel lavandino", "ha nascosto le chiavi"),
    "squadra": ("la Roccaserena", "il Borgo Calcio", "la Virtus Tolomeo", "l'Acquachiara", "il Montefiore"),
    "risultato": ("2-1", "3-0", "1-1", "4-2", "0-0"),
    "giorno": ("lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"),
    "gruppo": ("Gli Ombrelli", "Bassa Marea", "Signora Radar", "Caffè Lento", "I Cugini"),
    "serie": ("I vicini di sopra", "Mezzanotte meno dieci", "Pianeta Raviolo", "L'ultimo tram", "La fornaia"),
    "umore": ("stanca", "felice", "di cattivo umore", "al settimo cielo", "a pezzi", "carico"),
    "numero": ("3", "4", "5", "6", "7", "8", "9"),
    "meteo": ("sole", "pioggerella", "nebbia", "cielo sereno", "venticello", "aria fresca"),
}
