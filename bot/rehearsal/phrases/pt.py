"""Portuguese chatter."""

EVERYDAY = (
    "hoje o almoço é {prato} com {pessoa}, {nota}",
    "{pessoa} fez {prato} e {nota}",
    "alguém sabe onde se come bom {prato} em {terra}?",
    "o meu {bicho} {asneira} e ainda fica amuado",
    "{clube} joga {dia}, aposto {resultado}",
    "não paro de ouvir {banda} desde {dia}",
    "episódio {numero} de {serie}: {nota}",
    "reunião {dia} às {numero}, preciso de {bebida}",
    "{tempo} em {terra}, bom para {bebida}",
    "{pessoa} faz {numero}0 anos {dia}, vai haver {prato}",
    "estou {humor}, só {bebida} me salva",
    "procuro quarto em {terra}, tenho um {bicho} e {numero} plantas",
    "promoção de {numero}0% até {dia} https://loja.example/{numero}",
    "concerto de {banda} em {terra}, {pessoa} já tem bilhete",
    "bom dia {terra}, {tempo} e {bebida}",
    "acabei {serie} com {pessoa}, {nota}",
    "{resultado} e {clube} a jogar assim, fico {humor}",
    "porque é que o {prato} da {terra} sabe sempre melhor",
    "fui correr {numero} km em {terra} e agora estou {humor}",
    "o {bicho} da vizinha também gosta de {banda}, {nota}",
)

LOADED = (
    "o novo disco de {banda} é uma bomba, {nota}",
    "{clube} arrasou, {resultado}, foi um massacre",
    "o meu {bicho} é um furacão, {asneira}",
    "simulacro de incêndio no trabalho {dia}, {pessoa} levou {bebida}",
    "morri a rir com {pessoa}, {nota}",
    "o trânsito em {terra} {dia} é um inferno, fiquei {humor}",
    "avalanche de mails {dia}, estou {humor}",
    "a erupção no fim de {serie} parecia de plástico, {nota}",
)

TAILS = ("", "", "", " 😂", " kkkk", " 🙃", " ❤️", "!!", " #sextou", " ☕", " enfim")

WORDS = {
    "prato": (
        "bacalhau",
        "arroz de pato",
        "feijoada",
        "caldo verde",
        "pão de queijo",
        "francesinha",
        "bolo de cenoura",
        "moqueca",
    ),
    "bebida": ("um café", "um galão", "mate gelado", "limonada", "um chá", "sumo de laranja", "guaraná"),
    "pessoa": ("a minha irmã", "o meu vizinho", "a avó", "o Tiago", "a Beatriz", "o meu primo", "a minha chefe"),
    "nota": ("adorei", "nunca mais", "nada mau", "recomendo", "tenho dúvidas", "chorei um bocadinho"),
    "terra": ("Vale Sereno", "Monte Alvo", "Praia do Sal", "Ribeira Funda", "Santa Luzinha", "Pedra Mansa"),
    "bicho": ("gato", "cão", "papagaio", "coelho", "hamster", "cágado"),
    "asneira": ("comeu uma meia", "partiu o vaso", "dorme no lavatório", "roubou uma linguiça", "escondeu o comando"),
    "clube": (
        "o Desportivo de Monte Alvo",
        "o União da Ribeira",
        "o Sporting da Praia",
        "o Atlético Sereno",
        "o Náutico Manso",
    ),
    "resultado": ("2-1", "3-0", "1-1", "4-2", "0-0"),
    "dia": ("segunda", "terça", "quarta", "quinta", "sexta", "sábado", "domingo"),
    "banda": ("Os Guarda-Chuvas", "Maré Mansa", "Dona Satélite", "Café Lento", "Primos do Norte"),
    "serie": ("A Casa do Lado", "Noite Clara", "Os do Quinto", "Planeta Pastel", "O Último Bonde"),
    "humor": ("cansada", "feliz", "nas nuvens", "sem paciência", "de rastos", "animado"),
    "numero": ("3", "4", "5", "6", "7", "8", "9"),
    "tempo": ("solzinho", "nevoeiro", "chuvinha", "céu limpo", "brisa", "fresquinho"),
}
