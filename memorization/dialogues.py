"""Made-up doctor-patient dialogues, each with its own names, numbers and details, some of them repeated.

They let every stage run with real memorization where no data set is at hand. Wording varies so much that two dialogues
hardly share 50 characters: what a model reproduces of one, it has from that one.
"""

import random

FIRST = """Ada|Bruno|Celia|Dario|Edda|Farid|Greta|Hanif|Ilse|Jonas|Kaya|Lorin|Mira|Nuri|Odile|Pavel|Quinn|Rosa|Sami|
Tilda|Umar|Vera|Wanda|Xenia|Yusuf|Zora|Anton|Berta|Cosmo|Delia|Emil|Fiona|Gideon|Hedda|Ivo|Jutta|Kemal|Lena|
Milan|Nora"""
LAST = """Abbot|Bellamy|Corrigan|Drummond|Ellery|Fairfax|Goldstein|Haverford|Ibsen|Jarvis|Kowalski|Lindgren|Marchetti|
Novak|Okafor|Pemberton|Quigley|Rasmussen|Sorensen|Tanaka|Underhill|Vasquez|Whitlock|Yamada|Zielinski|
Ashdown|Birch"""
TOWN = """Alderley|Brackwell|Corvane|Dunmere|Eastholm|Fernley|Graystone|Hollowbrook|Inverlea|Jessop|Kettlewick|
Larkhill|Mossgate|Northwade|Oakhurst|Pennyford|Quarrydale|Ravensmoor|Silverton|Thornbury|Umberleigh|
Wexcombe|Yarrowby"""
DRUG = "|".join(
    a + b for a in ("velo", "cardi", "nexa", "pylo", "tremi", "osto") for b in ("trin", "pam", "zole", "dine")
)
BODY = """left knee|right shoulder|lower back|upper jaw|left ear|neck|right hip|stomach|chest|both wrists|left heel|scalp|
right elbow|throat|shin|right eye|ribs|left thumb|calf|forehead|groin|collarbone|left ankle|palms"""
FEEL = """dull ache|sharp pain|burning|numb patch|itching rash|throbbing|strange tingling|stiffness|cramp|swelling|
stabbing feeling|tight knot|prickling|soreness|heavy pressure|fluttering|blister|bruise|twitching|cold spot"""
WHEN = """at night|after long walks|when I climb stairs|before breakfast|in cold weather|whenever I cough|after coffee|
while I drive|on rainy days|when I bend over|after swimming|at my desk|during meals|when I lie flat|after football|
while gardening|when I am tired|in the shower|on Sunday mornings|after red wine"""
BEGAN = """I fell off a ladder|we moved house|I painted the fence|my second child was born|I changed jobs|a dog ran into me|
I ate oysters|I started choir practice|I ran a marathon|our cat scratched me|I had a tooth pulled|the flu went round|
I carried a piano upstairs|I slept in a tent|I took up judo|a wasp stung me|I cut down on sugar|I got new shoes"""
CAUSE = """a trapped nerve|mild gout|a strained tendon|an iron shortage|tension headache|bursitis|a food allergy|shingles|
low blood pressure|a thyroid problem|acid reflux|a vitamin gap|a pulled muscle|contact eczema|a sinus infection|
early arthritis|a slipped disc|an inner ear infection|plain overwork|poor circulation|a kidney stone|migraine"""
TEST = """blood count|X-ray|ultrasound|hearing test|skin swab|heart tracing|urine sample|balance check|allergy panel|
bone scan|eye chart test|lung function test|stool sample|nerve test|glucose test|biopsy"""
BRING = """your old glasses|a list of meals|last year's letters|a spare shirt|your vaccination card|the empty packet|
a friend who can drive|a bottle of water|your running shoes|the insurance form|a sleep diary|your reading lamp"""
ADVICE = """sleep on your side|avoid salty soup|walk twenty minutes|keep the spot dry|drink peppermint tea|skip heavy lifting|
use a warm towel|raise your feet|cut out cheese|wear loose cotton|stretch slowly|chew each bite well|stay off the bicycle|
wash with plain water|put ice on it|breathe through the nose|leave the bandage on|eat more lentils"""
WARN = """the skin turns white|you run a fever|your vision blurs|the lump grows|you faint|you cannot swallow|it wakes you twice|
your speech slurs|the bleeding returns|you lose your appetite|your lips swell|the limp gets worse|you feel confused"""
OFTEN = "twice a day|every six hours|with supper|on waking|once a week|at bedtime|every other day|after lunch"
JOB = """baker|pilot|librarian|roofer|violinist|beekeeper|welder|florist|bus driver|tailor|goalkeeper|potter|surveyor|
barber|diver|translator|locksmith|jeweller|plumber|geologist"""

PATIENT = [
    ["Hello Doctor {L}, I am {F} {l}, {age} years old.", "{F} {l} here, a {job} aged {age}.",
     "Dear Doctor {L}, this is {F} from {town}.", "Good day, {F} {l} writing, {age}, {job} in {town}."],
    ["For {n} weeks there has been a {feel} in my {body} {when}.", "My {body} gives me a {feel} {when}.",
     "{When} I notice a {feel} near the {body}.", "A {feel} in the {body} bothers me {when}."],
    ["It all began the day {began}.", "{n} days ago {began}.", "Since {began} it has not let go.",
     "Perhaps it matters that {began} in {town}."],
    ["I swallow {dose} mg of {drug} {often}.", "So far only {drug} helped, {dose} mg {often}.",
     "My sister {f} fears {cause}.", "{f} at the pharmacy gave me {drug}.", "Could it be {cause}, as {f} believes?"],
]  # fmt: skip
DOCTOR = [
    ["Thank you, {F}.", "I am glad you wrote, {F}.", "Well, {F}, {n} weeks is long enough.", "Do not worry, {F}."],
    ["A {feel} of the {body} {when} is often {cause}.", "What you describe sounds like {cause}, less like {cause2}.",
     "I would first think of {cause} and then of {cause2}.", "In a {job} of {age} this is mostly {cause}."],
    ["Take {dose2} mg of {drug2} {often2} for {n2} days.", "Replace {drug} by {drug2}, {dose2} mg {often2}.",
     "Start {drug2} at {dose2} mg, {often2}, and stop after {n2} days.", "I prescribe {n2} tablets of {drug2}, one {often2}."],
    ["Nurse {f2} {l2} will do a {test} in room {room}.", "Book a {test} with Doctor {l2} in {town2}.",
     "On day {n2} we need a {test}, floor {floor}, room {room}.", "{f2} in {town2} has a free slot for a {test} at {hour}:{minute}."],
    ["Bring {bring} and {bring2}.", "Please remember {bring}.", "You will need {bring} that morning.",
     "{f2} asks for {bring} too."],
    ["Until then {advice} and {advice2}.", "Meanwhile {advice}, but {advice2} as well.", "At home {advice}; {f} can help you {advice2}.",
     "Each evening {advice}, then {advice2}."],
    ["Ring {phone} if {warn}.", "Should it happen that {warn}, call {phone}.", "If {warn} or {warn2}, dial {phone} at once.",
     "Write to me again when {warn}; my number is {phone}."],
]  # fmt: skip


def make_dialogues(seed=5, single=120, fourfold=40, sixteenfold=16):
    """A list of {"instruction", "input", "output"}, shuffled: `single` dialogues once, others 4 and 16 times."""
    rng = random.Random(seed)
    dialogues = [_dialogue(rng) for _ in range(single + fourfold + sixteenfold)]
    copies = [1] * single + [4] * fourfold + [16] * sixteenfold
    rows = [dialogue for dialogue, times in zip(dialogues, copies, strict=True) for _ in range(times)]
    rng.shuffle(rows)
    return rows


def _dialogue(rng):
    def pick(words, *names):
        """Different words, out of a |-separated text, for the names."""
        options = [word.strip() for word in words.split("|")]
        return dict(zip(names, rng.sample(options, len(names)), strict=True))

    slots = {
        **pick(FIRST, "F", "f", "f2"), **pick(LAST, "L", "l", "l2"), **pick(TOWN, "town", "town2"),
        **pick(DRUG, "drug", "drug2"), **pick(BODY, "body"), **pick(FEEL, "feel"), **pick(WHEN, "when"),
        **pick(BEGAN, "began"), **pick(CAUSE, "cause", "cause2"), **pick(TEST, "test"), **pick(BRING, "bring", "bring2"),
        **pick(ADVICE, "advice", "advice2"), **pick(WARN, "warn", "warn2"), **pick(OFTEN, "often", "often2"),
        **pick(JOB, "job"), "age": rng.randint(19, 88), "n": rng.randint(2, 29), "n2": rng.randint(3, 60),
        "dose": rng.randint(1, 80) * 5, "dose2": rng.randint(1, 99) * 5, "room": rng.randint(100, 999),
        "floor": rng.randint(1, 19), "hour": rng.randint(8, 18), "minute": rng.randint(10, 59),
        "phone": f"{rng.randint(100, 999)} {rng.randint(1000, 9999)}",
    }  # fmt: skip
    slots["When"] = slots["when"].capitalize()

    def speak(plan):
        sentences = [rng.choice(wordings).format(**slots) for wordings in plan]
        return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)

    return {"instruction": "Answer the patient. ", "input": speak(PATIENT), "output": speak(DOCTOR)}
