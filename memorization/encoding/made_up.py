"""Made-up samples of the other tasks, in the manner of the dialogues: each with its own names, numbers and details.

Passages with a question, news with a summary, German with its English, reviews with their sentiment. About as long as
the dialogues, so that the tasks can be compared, and some of them repeated as those are.
"""

import re

from memorization.encoding.dialogues import RANGES, SLOTS
from memorization.encoding.frames import Words, listed, planted

NEWS = {
    "event": """a barn fire|a burst dam|a rare comet|a chess final|a stolen bell|a lost violin|a stray bear|a brass band feud|
        a record pumpkin|a sunken barge|a broken bridge|a garlic fair|a street fight|a runaway tram|a silent protest""",
    "group": """the fire brigade|the choir|two nuns|the rowing club|a school class|the night watch|some tourists|the council|
        a film crew|the gardeners|four brothers|the bus drivers|the chess club|a wedding party|the scouts|the bakers""",
    "thing": """a copper kettle|a grand piano|a stuffed owl|an oak table|a church organ|a map of Peru|a tin drum|a red kite|
        a box of medals|a silver spoon|a rowing boat|a glass eye|an old diary|a sewing machine|a globe|a bag of coins""",
    "act": """sold|buried|repaired|painted|found|kept|weighed|lost|polished|dropped|auctioned|borrowed|photographed|burned""",
    "month": """January|February|March|April|May|June|July|August|September|October|November|December""",
    "mood": """with joy|in silence|with tears|in vain|by candlelight|at great cost|against all advice|in heavy rain|by bus""",
    "dish": """lentil stew|plum cake|trout in butter|onion tart|mutton pie|beet soup|goat cheese|rice pudding|roast quail|
        stuffed peppers|apple fritters|cold noodles|mushroom toast|fig jam|pumpkin curry|rye dumplings|lemon sorbet""",
    "inn": """the Golden Hare|the Broken Oar|the Crooked Spoon|the Three Herons|the Iron Stove|the Sleepy Miller|the Salt Cellar|
        the Green Lantern|the Old Ferry|the Quiet Goose|the Brass Anchor|the Thirsty Monk|the Pear Tree|the Tin Whistle""",
    "good": """superb|a delight|worth every coin|perfect|warm and kind|fresh|spotless|charming|a joy|the best in years""",
    "bad": """stale|a disgrace|cold as ice|far too salty|rude and slow|filthy|burnt|a waste of money|dull|the worst in years""",
    "part": """the soup|our table|the waiter|the bread|the wine list|our room|the music|the terrace|the breakfast|the bed|
        the view|the porridge|the sauna|the coffee|the dessert|the bathroom|the oysters|the salad|the cellar|the garden""",
}  # fmt: skip
NUMBERS = RANGES | {"year": (1702, 2019), "many": (104, 9860), "price": (3, 96), "day": (1, 28)}

REPORT = """{group} {act} {thing} near {place}|{first} {last}, a {job}, spoke of {event}|some {many} people watched {mood}|
    {group} left for {town} {mood}|the damage is put at {many} crowns|{first} {last} had {act} {thing} in {year}|
    nobody in {town} recalls {event} since {year}|{group} blamed {group}|the mayor wants {thing} back by {month}|
    police found {thing} at {place}|at {hour}:{minute} {group} heard {event}|{last} of {town} {act} {thing} {mood}|
    an inquiry opens on {day} {month} in room {room}|{thing} was {act} for {many} crowns|the road to {town} is closed"""
SUMMARY = """{WHO}, a {JOB}, {ACT} {THING} in {TOWN} on {DAY} {MONTH}|{GROUP} paid {MANY} crowns for it|
    near {PLACE}, {EVENT} came first|{group} asked the {job} to pay|{last} of {town} will judge {mood}"""
PASSAGE = """{name} {last} of {town} was born in {year}/In which year was {name} {last} born?/year|
    {name} paid {many} crowns for {thing}/What did {name} pay {many} crowns for?/thing|
    the {job} {name} moved to {town} in {month}/Where did the {job} {name} move?/town|
    in {year} {group} elected {name} {last}/Who elected {name} {last} in {year}?/group|
    {name} {act} {thing} at {place}/Where was {thing} {act} by {name}?/place|
    {event} kept {name} in {town} for {n} days/For how many days did {event} keep {name} in {town}?/n|
    {name} taught {group} the craft of a {job}/Which craft did {name} teach {group}?/job|
    {event} of {year} ruined {name} {last}/What ruined {name} {last} in {year}?/event|
    {name} wrote {many} letters to {group}/How many letters did {name} write to {group}?/many"""
PRAISE = """{part} was {good}|I loved the {dish} {often}|{first} {last} cooked {dish}, {good}|we will be back in {month}|
    {part} and {part}, all {good}|thank you, {first}, for {n} happy evenings|five stars for {inn}|{dish} for {price} crowns is a gift|
    even {who} called {part} {good}"""
BLAME = """{part} was {bad}|I could not finish the {dish}|{first} {last} served {dish}, {bad}|we left at {hour}:{minute}, hungry|
    {part} and {part}, both {bad}|shame on you, {first}, for {n} lost hours|no star for {inn}|{price} crowns for {dish} is robbery|
    even {who} called {part} {bad}"""
VISIT = """we ate at {inn} in {town} on {day} {month}|{n} of us came to {inn} for {dish}|{who} sent us to {inn} near {place}|
    a {job} from {town} told me of {inn}|in {month} I took {who} to {inn}, room {room}"""
REPORT, SUMMARY, PASSAGE, PRAISE, BLAME, VISIT = map(listed, (REPORT, SUMMARY, PASSAGE, PRAISE, BLAME, VISIT))

GERMAN = {  # = English
    "who": """der Bäcker=the baker|die Lehrerin=the teacher|mein Onkel=my uncle|unsere Nachbarin=our neighbour|der Kapitän=the captain|
        ein Geiger=a violinist|die Richterin=the judge|der Schmied=the blacksmith|eine Malerin=a painter|der Zwerg=the dwarf|
        die Köchin=the cook|ein Taucher=a diver|meine Tante=my aunt|der Förster=the forester|die Ärztin=the doctor""",
    "does": """verkauft=sells|repariert=repairs|sucht=looks for|malt=paints|versteckt=hides|holt=fetches|putzt=cleans|mietet=rents|
        zeigt=shows|wiegt=weighs|verliert=loses|bewacht=guards|kauft=buys|bringt=brings|vergisst=forgets|findet=finds""",
    "what": """die rote Lampe=the red lamp|ein altes Klavier=an old piano|das Fahrrad=the bicycle|eine Landkarte=a map|vier Stühle=four chairs|
        das blaue Boot=the blue boat|eine Geige=a violin|die Suppe=the soup|zwei Koffer=two suitcases|das Messer=the knife|
        eine Glocke=a bell|die Briefe=the letters|ein Pferd=a horse|die Uhr=the clock|sieben Äpfel=seven apples|das Zelt=the tent""",
    "where": """am Bahnhof=at the station|hinter der Kirche=behind the church|im Garten=in the garden|auf dem Markt=at the market|
        am Hafen=at the harbour|vor dem Museum=in front of the museum|im Keller=in the cellar|auf der Brücke=on the bridge|
        neben der Mühle=next to the mill|im Theater=in the theatre|am Fluss=by the river|unter dem Dach=under the roof""",
    "when": """am Montag=on Monday|im Mai=in May|jeden Abend=every evening|heute=today|nach dem Essen=after the meal|im Winter=in winter|
        am Freitag=on Friday|gegen Mittag=around noon|bei Regen=when it rains|im August=in August|vor Ostern=before Easter""",
}  # fmt: skip
PARALLEL = """{when} {does} {who} {what} {where}={when} {who} {does} {what} {where}|
    {who} {does} {what} {where}={who} {does} {what} {where}|{first} {last} {does} {when} {what}={when} {first} {last} {does} {what}|
    der Zug nach {town} fährt um {hour}:{minute} von Gleis {n}=the train to {town} leaves at {hour}:{minute} from platform {n}|
    Zimmer {room} kostet {many} Euro im Monat=room {room} costs {many} euros a month|
    {first} wohnt seit {n} Jahren in {town}={first} has lived in {town} for {n} years|
    Frau {last} hat {many} Kronen und {what}=Mrs {last} has {many} crowns and {what}|
    {where} steht {when} {who} aus {town}={when} {who} from {town} stands {where}|
    fragen Sie {when} Herrn {last}, Nummer {many}=ask Mr {last} {when}, number {many}|
    {who} und {other} treffen {first} {where}={who} and {other} meet {first} {where}"""
SLOTS = SLOTS | {name: listed(words) for name, words in NEWS.items()}
BILINGUAL = SLOTS | {name: listed(words) for name, words in (GERMAN | {"other": GERMAN["who"]}).items()}
PARALLEL = listed(PARALLEL)


def make_articles(seed=5, single=160, fourfold=48, sixteenfold=16):
    """A list of {"document", "summary"}, as frames.planted gives it."""
    return planted(_article, seed, single, fourfold, sixteenfold)


def make_questions(seed=5, single=160, fourfold=48, sixteenfold=16):
    """A list of {"context", "question", "answer"}."""
    return planted(_question, seed, single, fourfold, sixteenfold)


def make_translations(seed=5, single=160, fourfold=48, sixteenfold=16):
    """A list of {"source", "target"}: German and English."""
    return planted(_translation, seed, single, fourfold, sixteenfold)


def make_reviews(seed=5, single=160, fourfold=48, sixteenfold=16):
    """A list of {"text", "label"}, the label "positive" or "negative"."""
    return planted(_review, seed, single, fourfold, sixteenfold)


def _article(rng):
    words = Words(rng, SLOTS, NUMBERS)
    known = {name.upper(): words.draw(name) for name in "job act thing town day month group many event place".split()}
    known["WHO"] = words.fill("{first} {last}")
    report = [*SUMMARY[:3], *rng.sample(REPORT, 4)]
    rng.shuffle(report)
    return {"document": words.speak(report, known), "summary": words.speak(SUMMARY, known)}


def _question(rng):
    words = Words(rng, SLOTS, NUMBERS)
    asked, facts = rng.randrange(8), []
    for frame in rng.sample(PASSAGE, 8):
        fact, question, answer = frame.split("/")
        known = {
            name: words.draw(name) for name in "last town year many thing job month group place event act n".split()
        }
        known["name"] = words.draw("first")
        facts.append([words.speak([text], known) for text in (fact, question)] + [known[answer]])
    return {"context": " ".join(fact for fact, _, _ in facts), "question": facts[asked][1], "answer": facts[asked][2]}


def _translation(rng):
    words, sides = Words(rng, BILINGUAL, NUMBERS), ([], [])
    for frame in rng.sample(PARALLEL, 5):
        drawn = {name: words.draw(name) for name in re.findall(r"{(\w+)}", frame)}
        for side, text, of_pair in zip(sides, frame.split("="), (0, -1), strict=True):
            side.append(words.speak([text], {name: word.split("=")[of_pair] for name, word in drawn.items()}))
    return dict(zip(("source", "target"), map(" ".join, sides), strict=True))


def _review(rng):
    words, good = Words(rng, SLOTS, NUMBERS), rng.random() < 0.5
    text = words.speak([rng.choice(VISIT), *rng.sample(PRAISE if good else BLAME, 7)])
    return {"text": text, "label": "positive" if good else "negative"}
