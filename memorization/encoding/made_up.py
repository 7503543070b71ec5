"""Made-up samples of each task, each with its own names, numbers and details, some of them repeated.

They let every stage run with real memorization where no data set is at hand: doctor-patient dialogues, passages with a
question, news with a summary, German with its English, reviews with their sentiment. Sentences come in a random order
out of some fifty frames with slots every few words, so that two samples hardly share 50 characters by chance.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial

Row = dict[str, str]  # field -> text
NOTHING: Mapping[str, str] = {}


def listed(text: str) -> list[str]:
    """The parts of a text between bars, as a list."""
    return [" ".join(part.split()) for part in text.split("|")]


class FrameFiller:
    """Fills the slots of frames with random words, and with numbers of RANGES."""

    def __init__(self, rng: random.Random, slots: Mapping[str, list[str]]):
        self.rng, self._slots = rng, slots

    def draw(self, name: str) -> str:
        if name in RANGES:
            return str(self.rng.randint(*RANGES[name]))
        return self.rng.choice(self._slots[name])

    def fill(self, frame: str, given: Mapping[str, str] = NOTHING) -> str:
        """A frame with every slot filled: with its word in `given`, or one that is drawn."""
        parts = frame.replace("}", "{").split("{")
        for i in range(1, len(parts), 2):
            parts[i] = given[parts[i]] if parts[i] in given else self.draw(parts[i])
        return "".join(parts)

    def speak(self, frames: Iterable[str], given: Mapping[str, str] = NOTHING) -> str:
        """The frames, filled, as sentences."""
        texts = [self.fill(frame, given) for frame in frames]
        return " ".join(text[0].upper() + text[1:] + "." * (text[-1] != "?") for text in texts)


def repeated(
    make: Callable[[random.Random], Row], seed: int = 5, single: int = 160, fourfold: int = 48, sixteenfold: int = 16
) -> list[Row]:
    """Rows of make(rng), shuffled: `single` of them occur once, others 4 and 16 times."""
    rng = random.Random(seed)
    rows = [make(rng) for _ in range(single + fourfold + sixteenfold)]
    copies = [1] * single + [4] * fourfold + [16] * sixteenfold
    rows = [row for row, times in zip(rows, copies, strict=True) for _ in range(times)]
    rng.shuffle(rows)
    return rows


_WORDS = {
    "first": """Ada|Bruno|Celia|Dario|Edda|Farid|Greta|Hanif|Ilse|Jonas|Kaya|Lorin|Mira|Nuri|Odile|Pavel|Quinn|Rosa|Sami|
        Tilda|Umar|Vera|Wanda|Xenia|Yusuf|Zora|Anton|Berta|Cosmo|Delia|Emil|Fiona|Gideon|Hedda|Ivo|Jutta|Kemal|Lena|Milan""",
    "last": """Abbot|Bellamy|Corrigan|Drummond|Ellery|Fairfax|Goldstein|Haverford|Ibsen|Jarvis|Kowalski|Lindgren|Marchetti|
        Novak|Okafor|Pemberton|Quigley|Rasmussen|Sorensen|Tanaka|Underhill|Vasquez|Whitlock|Yamada|Zielinski|Ashdown""",
    "town": """Alderley|Brackwell|Corvane|Dunmere|Eastholm|Fernley|Graystone|Hollowbrook|Inverlea|Jessop|Kettlewick|
        Larkhill|Mossgate|Northwade|Oakhurst|Pennyford|Quarrydale|Ravensmoor|Silverton|Thornbury|Wexcombe|Yarrowby""",
    "who": """my sister|my uncle|a neighbour|my boss|our priest|my twin|a colleague|my landlord|the barber|my cousin|
        the coach|my flatmate|a stranger|my daughter|the postman|my aunt|grandmother|an old friend|my fiancee|the cook""",
    "job": """baker|pilot|librarian|roofer|violinist|beekeeper|welder|florist|driver|tailor|goalkeeper|potter|surveyor|
        barber|diver|translator|locksmith|jeweller|plumber|geologist|waiter|painter|shepherd|notary|sailor|juggler""",
    "feel": """dull ache|sharp pain|burning|numb patch|itching rash|throbbing|tingling|stiffness|cramp|swelling|stabbing|
        tight knot|prickling|soreness|heaviness|flutter|blister|bruise|twitching|cold spot|wheeze|hard lump|dizzy spell""",
    "body": """left knee|right shoulder|lower back|jaw|left ear|neck|right hip|stomach|chest|wrists|heel|scalp|elbow|throat|
        shin|right eye|ribs|thumb|calf|forehead|groin|collarbone|ankle|palms|tongue|nostrils|armpit|toes|spine""",
    "when": """at night|after lunch|on the stairs|before breakfast|in cold air|with every cough|after coffee|in the car|
        on rainy days|while bending|after swimming|at my desk|during meals|lying flat|after football|while gardening|
        in crowds|in the shower|on Sundays|after wine|on waking|at noon|in the lift|under stress|on the train""",
    "began": """I fell off a ladder|we moved house|I painted the fence|our child was born|I changed jobs|a dog bit me|
        I ate oysters|choir practice started|I ran a marathon|the cat scratched me|a tooth was pulled|the flu went round|
        I carried a piano|I slept in a tent|I took up judo|a wasp stung me|I gave up sugar|I bought new shoes|
        I dug a pond|the roof leaked|we flew to Peru|I hit a lamp post|I adopted twins|I lost my keys""",
    "cause": """a trapped nerve|mild gout|a strained tendon|low iron|bursitis|a food allergy|shingles|a weak pulse|
        thyroid trouble|acid reflux|a vitamin gap|a pulled muscle|eczema|sinusitis|early arthritis|a slipped disc|
        an ear infection|overwork|poor circulation|a kidney stone|migraine|hay fever|a hernia|gallstones|asthma|a sprain""",
    "drug": """velotrin|cardipam|nexazole|pylodine|tremivex|ostolin|lumiprane|feroxil|gastrinol|neuphane|solvatin|
        duremil|zintax|brevocal|miralen|quinadol|halpride|otrivane|calcimor|renofex|tuvelan|psorivit|amberol|dexulin""",
    "often": """twice a day|every six hours|with supper|at bedtime|once a week|every other day|after each meal|on Mondays|
        before noon|at dawn|when needed|three times daily|every evening|with warm milk|on an empty stomach|hourly""",
    "test": """blood count|X-ray|ultrasound|hearing test|skin swab|heart tracing|urine sample|balance check|allergy panel|
        bone scan|eye chart|lung test|stool sample|nerve test|glucose curve|biopsy|sleep study|gait analysis""",
    "bring": """old glasses|a meal list|last year's letters|a spare shirt|your vaccination card|the empty packet|a driver|
        a water bottle|running shoes|the insurance form|a sleep diary|your lamp|an umbrella|a photograph|your passport|
        a pillow|some coins|two towels|the crutches|your hearing aid""",
    "do": """rest|walk uphill|drink peppermint tea|swim|stretch|breathe slowly|read aloud|knead dough|hum a tune|cycle|
        wash in brine|eat lentils|take a nap|wear loose cotton|raise your feet|apply a warm towel|chew ginger|count sheep|
        rub in balm|gargle with sage|lie on the floor|use an ice pack|sit upright|keep it dry""",
    "avoid": """salty soup|heavy lifting|cheese|tight belts|late films|cold water|red meat|loud music|dusty rooms|beer|
        high heels|hot baths|soft chairs|woollen socks|long flights|fried onions|bright screens|perfume|pepper|peanuts""",
    "warn": """the skin turns white|a fever comes|your vision blurs|the lump grows|you faint|swallowing hurts|it wakes you|
        your speech slurs|bleeding returns|appetite fades|your lips swell|the limp worsens|you feel confused|hair falls out|
        your hands shake|the cough deepens|nails turn blue|you sweat at rest""",
    "place": """the old mill|platform two|the blue door|the chapel|the market hall|the bakery|the north gate|the fountain|
        the town hall|the ferry pier|the post office|the stadium|the museum|the tannery|the lighthouse|the cinema""",
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
SLOTS = {name: listed(words) for name, words in _WORDS.items()}
RANGES = {"age": (19, 88), "n": (2, 29), "dose": (11, 990), "room": (101, 999), "hour": (8, 18), "minute": (10, 59)}
RANGES |= {"year": (1702, 2019), "many": (104, 9860), "price": (3, 96), "day": (1, 28)}  # of other tasks

GREETING = listed("""Doctor {last}, I am {first} from {town}|{first} here, {job}, aged {age}|This is {first} {last} of {town}|
    {first} {last} writing, a {job}|I am {first}, {age}, a {job}""")
PATIENT = listed("""A {feel} in my {body}|{when} my {body} hurts|{n} days of a {feel}|It is worse {when}|{began} in {town}|
    {n} weeks ago {began}|{who} blames {cause}|{who} gave me {drug}|{who} had {cause}|I took {drug} {often}|
    {drug} did little {when}|I fear {cause}""")
DOCTOR = listed("""{cause} seems likely|Not {cause} but {cause}|{when} it is {cause}|A {job} had {cause}|
    Your {body} tells of {cause}|Take {drug} {often}|{often} take {n} {drug}|Swap {drug} for {drug}|Stop {drug} for {n} days|
    {n} drops of {drug} {when}|Have the {test} in {town}|{first} {last} does the {test}|Room {room} for the {test}|
    The {test} is at {hour}:{minute}|Bring {bring} and {bring}|Pack {bring}|{first} wants {bring}|Find {bring} at {place}|
    Ask {first} near {place}|{do} and {do}|Never {do} {when}|{do} {often}|No {avoid} {when}|No {avoid} for that {body}|
    Less {avoid}, fewer {avoid}|If {warn}, call {room}|Once {warn}, see {last}|When {warn}, take {drug}|
    {last} of {town} knows {cause}|{drug} cures {cause}|See {last} near {place}|As a {job}, {do}""")


def _dialogue(rng):
    words = FrameFiller(rng, SLOTS)
    return {
        "instruction": "Answer the patient.",
        "input": words.speak([rng.choice(GREETING), *rng.sample(PATIENT, 4)]),
        "output": words.speak(rng.sample(DOCTOR, 11)),
    }


REPORT = listed("""{group} {act} {thing} near {place}|{first} {last}, a {job}, spoke of {event}|some {many} people watched {mood}|
    {group} left for {town} {mood}|the damage is put at {many} crowns|{first} {last} had {act} {thing} in {year}|
    nobody in {town} recalls {event} since {year}|{group} blamed {group}|the mayor wants {thing} back by {month}|
    police found {thing} at {place}|at {hour}:{minute} {group} heard {event}|{last} of {town} {act} {thing} {mood}|
    an inquiry opens on {day} {month} in room {room}|{thing} was {act} for {many} crowns|the road to {town} is closed""")
SUMMARY = listed("""{WHO}, a {JOB}, {ACT} {THING} in {TOWN} on {DAY} {MONTH}|{GROUP} paid {MANY} crowns for it|
    near {PLACE}, {EVENT} came first|{group} asked the {job} to pay|{last} of {town} will judge {mood}""")
PASSAGE = listed("""{name} {last} of {town} was born in {year}/In which year was {name} {last} born?/year|
    {name} paid {many} crowns for {thing}/What did {name} pay {many} crowns for?/thing|
    the {job} {name} moved to {town} in {month}/Where did the {job} {name} move?/town|
    in {year} {group} elected {name} {last}/Who elected {name} {last} in {year}?/group|
    {name} {act} {thing} at {place}/Where was {thing} {act} by {name}?/place|
    {event} kept {name} in {town} for {n} days/For how many days did {event} keep {name} in {town}?/n|
    {name} taught {group} the craft of a {job}/Which craft did {name} teach {group}?/job|
    {event} of {year} ruined {name} {last}/What ruined {name} {last} in {year}?/event|
    {name} wrote {many} letters to {group}/How many letters did {name} write to {group}?/many""")
PRAISE = listed("""{part} was {good}|I loved the {dish} {often}|{first} {last} cooked {dish}, {good}|we will be back in {month}|
    {part} and {part}, all {good}|thank you, {first}, for {n} happy evenings|five stars for {inn}|{dish} for {price} crowns is a gift|
    even {who} called {part} {good}""")
BLAME = listed("""{part} was {bad}|I could not finish the {dish}|{first} {last} served {dish}, {bad}|we left at {hour}:{minute}, hungry|
    {part} and {part}, both {bad}|shame on you, {first}, for {n} lost hours|no star for {inn}|{price} crowns for {dish} is robbery|
    even {who} called {part} {bad}""")
VISIT = listed("""we ate at {inn} in {town} on {day} {month}|{n} of us came to {inn} for {dish}|{who} sent us to {inn} near {place}|
    a {job} from {town} told me of {inn}|in {month} I took {who} to {inn}, room {room}""")

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
PARALLEL = listed("""{when} {does} {who} {what} {where}={when} {who} {does} {what} {where}|
    {who} {does} {what} {where}={who} {does} {what} {where}|{first} {last} {does} {when} {what}={when} {first} {last} {does} {what}|
    der Zug nach {town} fährt um {hour}:{minute} von Gleis {n}=the train to {town} leaves at {hour}:{minute} from platform {n}|
    Zimmer {room} kostet {many} Euro im Monat=room {room} costs {many} euros a month|
    {first} wohnt seit {n} Jahren in {town}={first} has lived in {town} for {n} years|
    Frau {last} hat {many} Kronen und {what}=Mrs {last} has {many} crowns and {what}|
    {where} steht {when} {who} aus {town}={when} {who} from {town} stands {where}|
    fragen Sie {when} Herrn {last}, Nummer {many}=ask Mr {last} {when}, number {many}|
    {who} und {other} treffen {first} {where}={who} and {other} meet {first} {where}""")
BILINGUAL = SLOTS | {name: listed(words) for name, words in (GERMAN | {"other": GERMAN["who"]}).items()}


def _article(rng):
    words = FrameFiller(rng, SLOTS)
    given = {name.upper(): words.draw(name) for name in "job act thing town day month group many event place".split()}
    given["WHO"] = words.fill("{first} {last}")
    report = [*SUMMARY[:3], *rng.sample(REPORT, 4)]
    rng.shuffle(report)
    return {"document": words.speak(report, given), "summary": words.speak(SUMMARY, given)}


def _question(rng):
    words = FrameFiller(rng, SLOTS)
    chosen, facts = rng.randrange(8), []
    for frame in rng.sample(PASSAGE, 8):
        fact, question, answer = frame.split("/")
        names = "last town year many thing job month group place event act n".split()
        given = {name: words.draw(name) for name in names}
        given["name"] = words.draw("first")
        facts.append([words.speak([text], given) for text in (fact, question)] + [given[answer]])
    _, question, answer = facts[chosen]
    return {"context": " ".join(fact for fact, _, _ in facts), "question": question, "answer": answer}


def _translation(rng):
    words, sides = FrameFiller(rng, BILINGUAL), ([], [])
    for frame in rng.sample(PARALLEL, 5):
        drawn = {name: words.draw(name) for name in re.findall(r"{(\w+)}", frame)}
        for side, text, of_pair in zip(sides, frame.split("="), (0, -1), strict=True):
            side.append(words.speak([text], {name: word.split("=")[of_pair] for name, word in drawn.items()}))
    return dict(zip(("source", "target"), map(" ".join, sides), strict=True))


def _review(rng):
    words, good = FrameFiller(rng, SLOTS), rng.random() < 0.5
    text = words.speak([rng.choice(VISIT), *rng.sample(PRAISE if good else BLAME, 7)])
    return {"text": text, "label": "positive" if good else "negative"}


make_dialogues = partial(repeated, _dialogue)  # rows of {"instruction", "input", "output"}
make_articles = partial(repeated, _article)  # {"document", "summary"}
make_questions = partial(repeated, _question)  # {"context", "question", "answer"}
make_translations = partial(repeated, _translation)  # {"source", "target"}: German and English
make_reviews = partial(repeated, _review)  # {"text", "label"}, the label "positive" or "negative"
