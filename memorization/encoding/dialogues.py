"""Made-up doctor-patient dialogues, each with its own names, numbers and details, some of them repeated.

They let every stage run with real memorization where no data set is at hand. Sentences come in a random order out of
some fifty frames with slots every few words, so that two dialogues hardly share 50 characters by chance.
"""

from memorization.encoding.frames import Words, listed, planted

SLOTS = {
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
}  # fmt: skip
SLOTS = {name: listed(words) for name, words in SLOTS.items()}
RANGES = {"age": (19, 88), "n": (2, 29), "dose": (11, 990), "room": (101, 999), "hour": (8, 18), "minute": (10, 59)}

GREETING = """Doctor {last}, I am {first} from {town}|{first} here, {job}, aged {age}|This is {first} {last} of {town}|
    {first} {last} writing, a {job}|I am {first}, {age}, a {job}"""
PATIENT = """A {feel} in my {body}|{when} my {body} hurts|{n} days of a {feel}|It is worse {when}|{began} in {town}|
    {n} weeks ago {began}|{who} blames {cause}|{who} gave me {drug}|{who} had {cause}|I took {drug} {often}|
    {drug} did little {when}|I fear {cause}"""
DOCTOR = """{cause} seems likely|Not {cause} but {cause}|{when} it is {cause}|A {job} had {cause}|
    Your {body} tells of {cause}|Take {drug} {often}|{often} take {n} {drug}|Swap {drug} for {drug}|Stop {drug} for {n} days|
    {n} drops of {drug} {when}|Have the {test} in {town}|{first} {last} does the {test}|Room {room} for the {test}|
    The {test} is at {hour}:{minute}|Bring {bring} and {bring}|Pack {bring}|{first} wants {bring}|Find {bring} at {place}|
    Ask {first} near {place}|{do} and {do}|Never {do} {when}|{do} {often}|No {avoid} {when}|No {avoid} for that {body}|
    Less {avoid}, fewer {avoid}|If {warn}, call {room}|Once {warn}, see {last}|When {warn}, take {drug}|
    {last} of {town} knows {cause}|{drug} cures {cause}|See {last} near {place}|As a {job}, {do}"""
GREETING, PATIENT, DOCTOR = map(listed, (GREETING, PATIENT, DOCTOR))


def make_dialogues(seed=5, single=160, fourfold=48, sixteenfold=16):
    """A list of {"instruction", "input", "output"}, shuffled: `single` dialogues once, others 4 and 16 times."""
    return planted(_dialogue, seed, single, fourfold, sixteenfold)


def _dialogue(rng):
    words = Words(rng, SLOTS, RANGES)
    return {
        "instruction": "Answer the patient.",
        "input": words.speak([rng.choice(GREETING), *rng.sample(PATIENT, 4)]),
        "output": words.speak(rng.sample(DOCTOR, 11)),
    }
