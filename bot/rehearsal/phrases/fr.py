"""French chatter."""

EVERYDAY = (
    "ce midi c'est {plat} avec {personne}, {avis}",
    "{personne} a ramené {boisson} au bureau, {avis}",
    "qui connaît un bon resto pour {plat} à {ville} ?",
    "mon {animal} a {betise}, je suis {humeur}",
    "{equipe} joue {jour}, je parie sur {score}",
    "j'écoute {groupe} en boucle depuis {jour}",
    "épisode {chiffre} de {serie} : {avis}",
    "réunion {jour} à {chiffre} h, déjà {humeur}",
    "{temps} à {ville}, on sort quand même avec {personne}",
    "besoin de {boisson} et de silence, je suis {humeur}",
    "{personne} a eu {chiffre}0 ans aujourd'hui, gâteau et {boisson}",
    "vide-grenier {jour} à {ville}, j'ai trouvé {chiffre} vinyles de {groupe}",
    "le train pour {ville} était à l'heure, {avis}",
    "je cuisine {plat} pour {chiffre}, souhaitez-moi bonne chance",
    "cherche colocataire à {ville}, {animal} accepté, dispo {jour}",
    "-{chiffre}0 % sur les plantes jusqu'à {jour} https://promo.example/{chiffre}",
    "concert de {groupe} à {ville} {jour}, qui veut venir avec {personne} ?",
    "{score} pour {equipe}, {personne} ne parle plus à personne",
    "mon {animal} regarde {serie} avec moi, il est {humeur}",
    "bonjour de {ville}, {temps} et {boisson}",
    "pourquoi {plat} c'est toujours meilleur chez {personne}",
)

LOADED = (
    "le nouveau {groupe} c'est de la bombe, {avis}",
    "{equipe} a explosé tout le monde, {score}",
    "mon {animal} est une tornade, il a {betise}",
    "exercice incendie au bureau {jour}, {personne} est sortie avec {boisson}",
    "je suis mort de rire, {personne} a {betise}",
    "raz-de-marée de mails {jour}, je suis {humeur}",
    "c'est la guerre pour le dernier {plat} avec {personne}",
    "il y a {chiffre}0 ans la grande crue à {ville}, belle expo à la mairie",
    "la fin de {serie} m'a tué, {avis}",
)

TAILS = ("", "", "", " 😂", " mdr", " 🙃", " ❤️", " !!", " #weekend", " ☕", " ptdr", " voilà")

WORDS = {
    "plat": (
        "quiche",
        "raclette",
        "couscous",
        "ratatouille",
        "croque-monsieur",
        "gratin",
        "pot-au-feu",
        "tarte aux poireaux",
    ),
    "boisson": ("un café", "du cidre", "une tisane", "un chocolat chaud", "du thé glacé", "un sirop de menthe"),
    "personne": ("ma sœur", "mon coloc", "Mamie", "Élodie", "mon voisin", "ma cheffe", "Bastien", "mon cousin"),
    "avis": ("je recommande", "plus jamais", "franchement pas mal", "j'ai adoré", "bof bof", "je suis sous le charme"),
    "ville": ("Montclair-sur-Orge", "Val-Joli", "Port-Béni", "Les Ormeaux", "Roquebelle", "Sainte-Flore"),
    "animal": ("chat", "chien", "lapin", "perroquet", "furet", "poney"),
    "betise": ("mangé une chaussette", "renversé le ficus", "ouvert le frigo", "caché mes clés", "dormi dans l'évier"),
    "equipe": ("l'AS Roquebelle", "le Stade Ormois", "l'Olympique de Val-Joli", "le FC Béni", "l'Étoile de Flore"),
    "score": ("2-1", "3-0", "1-1", "4-2", "0-0"),
    "jour": ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    "groupe": ("Les Parapluies", "Douce Marée", "Madame Radar", "Café Crème Club", "Les Tontons"),
    "serie": ("Les Voisins du dessus", "Minuit moins dix", "La Boulangère", "Le Bureau des rêves", "Planète Camembert"),
    "humeur": ("crevée", "ravi", "de mauvaise humeur", "sur un nuage", "au bout de ma vie", "motivée"),
    "chiffre": ("3", "4", "5", "6", "7", "8", "9"),
    "temps": ("grand soleil", "petite pluie", "ciel gris", "brise légère", "brume", "temps doux"),
}
