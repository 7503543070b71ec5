"""The page of a report, in a real Chromium: what it shows is what the rows say, and it asks for nothing."""

import json
import re
import shutil
import time

import msgspec
import numpy as np
import pytest

from memorization.detection.detections import Candidate, CopiedRun, Labels, OwnSuffix, Passage
from memorization.detection.kinds import DETECTIONS
from memorization.extraction.engine import TokenScores
from memorization.extraction.scores import scores
from memorization.results.cases import CaseIndex, read_cases
from memorization.results.cases import choose as choose_cases
from memorization.results.page import report_page, sentence
from memorization.results.result import Result
from memorization.results.summarize import measure
from memorization.results.summary import Rate
from memorization.store.manifests import read_manifest
from support.command_line import run_script
from support.detection_rows import detection, facts, item, write_detections

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium and ChromeDriver on this machine")
FLAGS = "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
FLAGS += " disable-component-update disable-sync window-size=1400,1000"
MANY = 10_000
AWKWARD = [
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\"> & &amp; ${style}",
    "line\u2028separator\u2029 and \u202eright to left\u202c, nul \x00, tab \t",
    "astral \U0001f600\U0001f680 before the run",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def opened(browser, path, fragment=""):
    """Load a page anew; what it logged before is forgotten."""
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(f"{path.as_uri()}{fragment}")
    end = time.monotonic() + 60
    while not browser.execute_script("return performance.getEntriesByName('ready').length"):
        assert time.monotonic() < end, browser.get_log("browser")
        time.sleep(0.05)


def choose(browser, **values):
    """Set filters by name, the others as they are when the page is opened; return the count that the page tells."""
    browser.execute_script(
        "const form = document.getElementById('filters'); form.reset();"
        "for (const [name, value] of Object.entries(arguments[0])) document.getElementById('f-' + name).value = value;"
        "form.dispatchEvent(new Event('input'));",
        values,
    )
    return int(re.match(r"[\d,]+", browser.execute_script("return count.textContent"))[0].replace(",", ""))


def ids(browser):
    """The ids of the cases that are drawn, in order."""
    return [
        int(id.split("-")[2])
        for id in browser.execute_script("return [...list.querySelectorAll('article')].map(a => a.id)")
    ]


def planted(id, generation, suffix, run, sample_text=None, holders=1, sample=None, **fields):
    """A detection whose generation holds `run`, as its own sample or another one does."""
    own = sample is None
    prefix = f"prefix {id} "
    start, whole = generation.index(run), prefix + suffix if own else sample_text
    first = whole.index(run)
    copied = CopiedRun(
        length=len(run),
        generation_span=(start, start + len(run)),
        holders=holders,
        members=holders,
        sample=id if own else sample,
        cluster=id if own else sample,
        sample_span=(first, first + len(run)),
    )
    fields = {"prefix": prefix, "text": generation, "suffix": suffix} | fields
    return msgspec.structs.replace(detection(id, **fields), copied=[copied], longest_common_run=copied)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """(rows, the report's directory) of cases of every kind, with awkward texts."""
    directory, run = tmp_path_factory.mktemp("few"), "a run of words that is copied, over fifty characters long"
    rows = []
    for i, text in enumerate(AWKWARD):
        rows.append(planted(i, f"{text} {run} end", f"{text} {run} otherwise", run, duplicates=1 + 3 * (i % 2)))
    record = "the record of one other person, who lives in a small town"
    other = planted(10, f"x {record} y", f"so {record} it is", record, exact_match=True, matched_tokens=5)
    rows.append(other)
    stranger = planted(
        1001, f"says {record} too", "nothing", record, other.generation.prefix + other.generation.suffix, 1, 10
    )
    rows.append(msgspec.structs.replace(stranger, personal=[item("email", (5, 15), "own")]))
    lost = planted(1002, f"says {record} too", "nothing", record, record, 3, 77)
    rows.append(lost)
    passages = [Passage(33, "paraphrase", (0, 7), (4, 9), 0.9)]
    aligned = detection(1003, text="aligned with a candidate", candidates=[Candidate(33, 1.0, "the other text")])
    own = OwnSuffix("idea", None, [Passage(1003, "idea", (0, 7), (0, 4), None)])
    labels = Labels("paraphrase", "paraphrase", "paraphrase", passages)
    rows.append(msgspec.structs.replace(aligned, labels=labels, own=own))
    rows.append(detection(1004, prefix="nothing <b>here</b> "))
    result = write_detections(directory / "result", rows, training={})
    assert run_script("report.py", result, "--output", directory / "report") == 0
    return rows, directory / "report"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """(rows, the report's directory) of 10,000 cases of made-up text, of which a third copy a run of their own."""
    directory, draw = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    vocabulary = ["".join(draw.choice(letters, draw.integers(2, 10))) for _ in range(5000)]
    rows = []
    for i in range(MANY):
        words = draw.zipf(1.3, 240) % len(vocabulary)
        text = [vocabulary[word] for word in words]
        suffix, generation = " ".join(text[40:140]), " ".join(text[140:])
        id = i if i < 900 else 1000 + i
        made = {"prefix": " ".join(text[:40]) + " ", "duplicates": 1 + i % 3 if i < 900 else 1}
        if i % 3:
            rows.append(detection(id, suffix=suffix, text=generation, **made))
            continue
        run = " ".join(text[50 : 60 + i % 40])
        generation = f"{generation[:90]} {run} {generation[90:]}"
        rows.append(msgspec.structs.replace(planted(id, generation, suffix, run, duplicates=made["duplicates"])))
    result = write_detections(directory / "result", rows, training={})
    assert run_script("report.py", result, "--output", directory / "report") == 0
    return rows, directory / "report"


def test_the_sentence_on_top():
    def rate(count, n, low, high):
        return Rate(n=n, count=count, rate=count / n if n else None, interval=(low, high))

    members, held_out = rate(12, 270, 0.0255, 0.0761), rate(0, 90, 0.0, 0.0409)
    assert sentence("exact_match", members, held_out) == (
        "Of 270 members 12, 4.4 % (2.5 to 7.6), come back word for word; of 90 held-out texts none, 0 to 4.1 %."
    )
    members, held_out = rate(0, 1270, 0.0, 0.003), rate(0, 0, 0.0, 1.0)
    assert sentence("exact_match", members, held_out) == (
        "Of 1,270 members none, 0 to 0.3 %, come back word for word; there are no held-out texts."
    )
    assert "come back in part, in words that only they hold" in sentence("own", members, held_out)
    one = sentence("own", rate(1, 10, 0.0, 0.4), held_out)
    assert one.startswith("Of 10 members 1, 10.0 % (0.0 to 40.0), comes back in part")


def test_the_file_is_the_same_each_time_and_without_a_text_in_the_open(few, tmp_path):
    rows, report = few
    again = tmp_path / "again"
    assert run_script("report.py", report.parent / "result", "--output", again) == 0
    assert (again / "report.html").read_bytes() == (report / "report.html").read_bytes()
    content = (report / "report.html").read_text()
    assert "document.title=" not in content and "\u2028" not in content and "one other person" not in content
    assert not re.search(r"(src|href)=.?https?:", content)


@pytest.mark.slow
def test_the_file_of_ten_thousand_cases_is_small(many):
    assert (many[1] / "report.html").stat().st_size < 10_000_000


@needs_browser
@pytest.mark.slow
def test_ten_thousand_cases_load_soon_and_scroll(many, browser):
    rows, report = many
    times = []
    for _ in range(3):
        opened(browser, report / "report.html")
        times.append(browser.execute_script("return performance.getEntriesByName('ready')[0].startTime"))
    assert min(times) < 3000, times
    assert browser.execute_script("return count.textContent") == "10,000 of 10,000 cases"
    assert 25 <= len(ids(browser)) <= 200  # drawn are the first, which make the list one for a screen reader
    for share in (0.3, 0.9, 1):
        browser.execute_script(
            "scrollTo({top: list.offsetTop + arguments[0] * list.offsetHeight - 500, behavior: 'instant'})", share
        )
        time.sleep(0.5)
        drawn = ids(browser)
        assert 25 < len(drawn) <= 325  # and those near the view
    place = browser.execute_script("return +list.querySelector('article:last-of-type').ariaPosInSet || 0")
    assert place and browser.execute_script("return +[...list.querySelectorAll('article')].at(-1).ariaPosInSet") == MANY
    assert not browser.get_log("browser")


@needs_browser
@pytest.mark.slow
def test_every_part_of_the_page_is_a_click_away(many, browser):
    opened(browser, many[1] / "report.html")
    parts = browser.execute_script("return [...document.querySelectorAll('nav a')].map(each => each.hash)")
    assert [part[1:] for part in parts] == browser.execute_script(
        "return [...document.querySelectorAll('main > section')].map(each => each.id)"
    )
    for part in parts:
        browser.execute_script("document.querySelector(`nav a[href='${arguments[0]}']`).click()", part)
        time.sleep(0.3)
        top = browser.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect().top", part)
        assert 0 <= top < 100, part
    assert parts[-1] == "#cases"  # so that nobody has to scroll past them


@needs_browser
@pytest.mark.slow
def test_filters_and_search_give_the_right_rows(many, few, browser):
    rows, report = many
    opened(browser, report / "report.html")
    word = rows[4].generation.text.split()[50]

    def texts(row):
        return f"{row.generation.prefix}\n{row.generation.suffix}\n{row.generation.text}".lower()

    for chosen, holds in [
        ({"member": "1"}, lambda row: row.generation.member),
        ({"member": "0", "whose": "0"}, lambda row: not row.generation.member and row.copied),
        ({"copies": "3"}, lambda row: row.generation.duplicates == 3),
        ({"whose": "-", "member": "1"}, lambda row: row.generation.member and not row.copied),
        ({"text": word.upper()}, lambda row: word in texts(row)),
        ({"text": "no such words"}, lambda row: False),
    ]:
        assert choose(browser, **chosen) == sum(bool(holds(row)) for row in rows), chosen
    choose(browser, member="1", sort="longest")
    browser.execute_script("scrollTo({top: list.offsetTop, behavior: 'instant'})")
    time.sleep(0.3)
    longest = sorted(
        (r for r in rows if r.generation.member),
        key=lambda r: (-max((c.length for c in r.copied), default=0), r.generation.id),
    )
    drawn = ids(browser)
    assert drawn == [row.generation.id for row in longest][: len(drawn)] and len(drawn) >= 25
    rows, report = few
    opened(browser, report / "report.html")
    for chosen, expected in [({"whose": "1"}, [1001]), ({"whose": "2"}, [1002]), ({"personal": "email"}, [1001]),
                          ({"label": "paraphrase"}, [1003]), ({"text": "1004"}, [1004])]:  # fmt: skip
        assert choose(browser, **chosen) == len(expected)
        browser.execute_script("scrollTo({top: list.offsetTop, behavior: 'instant'})")
        time.sleep(0.3)
        assert ids(browser) == expected


@needs_browser
def test_a_chat_is_shown_whole_with_the_turn_that_was_asked_for(tmp_path, browser):
    asked = [
        "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>\n<|im_start|>user\nWhen?<|im_end|>\n",
    ]
    first = detection(5, prefix=asked[0], suffix="A stranger, I think.", text="Nobody.")
    prefix = f"{asked[0]}A stranger, I think.{asked[1]}"
    second = detection(5, turn=1, prefix=prefix, suffix="At nine.", text="At ten.")
    result = write_detections(tmp_path / "result", [first, second, detection(1000)], training={})
    assert run_script("report.py", result, "--output", tmp_path / "report") == 0
    opened(browser, tmp_path / "report" / "report.html", "#case-1-5/1-0")
    assert browser.execute_script("return document.activeElement.id") == "case-1-5/1-0"

    def of(case, what):
        return browser.execute_script(
            "const side = document.getElementById(arguments[0]).querySelectorAll('.sides > div')[1];"
            "return [...side.querySelectorAll(arguments[1])].map(each => each.textContent)",
            case,
            what,
        )

    assert [of("case-1-5-0", f".{part}") for part in ("prompt", "rest", "later")] == [
        [asked[0]],
        ["A stranger, I think."],
        [f"{asked[1]}At nine."],
    ]
    assert (of("case-1-5/1-0", ".prompt"), of("case-1-5/1-0", ".rest")) == ([prefix], ["At nine."])
    assert {*of("case-1-5/1-0", ".control")} == {"<|im_start|>", "<|im_end|>"}
    titles = browser.execute_script("return [...document.querySelectorAll('#list h3')].map(each => each.textContent)")
    assert sorted(titles) == ["Sample 1000", "Sample 5, turn 1", "Sample 5, turn 2"]


@needs_browser
def test_records_and_the_tokens_that_fine_tuning_changed(tmp_path, browser):
    """A member of four tokens, of which the first is an emoji, beside 19 held-out samples that fine-tuning forgot."""

    def rows(member, held_out):
        lengths = np.array([1, 3, 4, 5])
        given = [(1, member), *((id, held_out) for id in range(1000, 1019))]
        texts = {"prefix": "before ", "suffix": "\U0001f600 is a smile"}
        of_tokens = {id: TokenScores(np.float32(log_probs), np.zeros(4, bool)) for id, log_probs in given}
        return [detection(id, scores=scores(one, "text", lengths), **texts) for id, one in of_tokens.items()]

    tuned, base = rows([-1, -1, -5, -2], [-3] * 4), rows([-1.5, -2, -3, -9], [-2] * 4)
    directory, index = write_detections(tmp_path / "result", tuned), CaseIndex()
    manifest = read_manifest(directory / "detections.jsonl", DETECTIONS)
    measured = measure(index.watch(tuned), facts(base="base"), base)
    result = Result("name", "label", "here", measured.summary, tuned, manifest, *measured[1:], index, base)
    (chosen,) = choose_cases([index], 100)
    page = tmp_path / "page.html"
    page.write_text(report_page([result], [read_cases(tuned, index, chosen, base)], [chosen], [], []), "utf-8")
    opened(browser, page)
    assert choose(browser, sort="p") == 20 and ids(browser)[0] == 1
    head = "return document.querySelector('#case-1-1-0 header').textContent"
    assert "record: recognizable (p 0.050)" in browser.execute_script(head)
    assert choose(browser, **{"class": "2"}) == 1 and choose(browser, **{"class": "3"}) == 19
    marks = "return [...document.querySelectorAll('#case-1-1-0 .up1, #case-1-1-0 .down2, #case-1-1-0 .up3')]"
    marks += ".map(each => [each.className, each.textContent])"
    assert browser.execute_script(marks) == []
    browser.execute_script("document.getElementById('f-map').click()")
    choose(browser)  # resets the box
    assert browser.execute_script(marks) == []
    browser.execute_script("document.getElementById('f-map').click()")
    assert browser.execute_script(marks) == [["up1", " is"], ["down2", " a s"], ["up3", "mile"]]
    assert not browser.get_log("browser")


@needs_browser
def test_what_is_marked_are_the_spans_of_the_rows_and_all_text_is_text(few, browser):
    rows, report = few
    opened(browser, report / "report.html")
    choose(browser, sort="id")
    browser.execute_script("scrollTo({top: list.offsetTop, behavior: 'instant'})")
    time.sleep(0.5)

    def of(id, what):
        """Of the generation and of the text beside it, the joined text of what a selector finds."""
        return browser.execute_script(
            "return [...document.getElementById(arguments[0]).querySelectorAll('.sides > div')].map("
            "side => [...side.querySelectorAll(arguments[1])].map(each => each.textContent).join(''))",
            f"case-1-{id}-0",
            what,
        )

    for row in rows:
        shown = of(row.generation.id, ".rest")[0], of(row.generation.id, ".prompt")[0]
        assert shown == (row.generation.text, row.generation.prefix)
    for row in rows[: len(AWKWARD) + 1]:
        (run,) = row.copied
        start, end = run.generation_span
        marks = of(row.generation.id, "mark")
        assert marks == [row.generation.text[start:end]] * 2
    assert of(1001, "mark") == [rows[-4].generation.text[slice(*rows[-4].copied[0].generation_span)]] * 2
    assert of(1001, ".personal") == [rows[-4].generation.text[5:15], ""]
    assert of(1001, "h4")[1] == "sample 10" and of(1001, ".rest")[1] == rows[-5].generation.suffix
    assert "not in this result" in of(1002, "p")[1]
    assert of(1003, ".passage") == ["aligned", "word"]
    browser.execute_script("document.querySelector('#case-1-1003-0 .views button:last-child').click()")
    assert of(1003, ".passage") == ["aligned", "the other text"[4:9]]
    assert browser.title == "What the model repeats"
    assert not browser.execute_script("return document.querySelectorAll('main img:not([src^=data]), list b').length")
    assert not browser.get_log("browser")


@needs_browser
def test_a_run_has_the_same_length_wherever_it_is_told(browser, tmp_path):
    """Wide characters count as two, near-duplicates that hold it as one sample."""
    run = "这个句子有二十个汉字在里面而且没有标点符号"
    row = planted(1, f"x {run}", f"y {run}", run, holders=2)
    wide = msgspec.structs.replace(row.copied[0], length=2 * len(run))
    row = msgspec.structs.replace(row, copied=[wide], longest_common_run=wide)
    result = write_detections(tmp_path / "result", [row], training={})
    assert run_script("report.py", result, "--output", tmp_path / "report") == 0
    opened(browser, tmp_path / "report" / "report.html")
    card = browser.execute_script("return document.querySelector('article').textContent")
    assert f"longest run {2 * len(run)} characters" in card
    assert f"run 1: {2 * len(run)} characters, held by several (2 samples, near-duplicates counted once" in card


@needs_browser
def test_the_page_asks_for_nothing_and_may_not(few, browser):
    opened(browser, few[1] / "report.html")
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in asked if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith("data:")] == [(few[1] / "report.html").as_uri()]
    refused = browser.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), error => done(String(error)))"
    )
    assert refused != "sent"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1'; document.body.append(s)"
    )
    assert browser.title == "What the model repeats"


@needs_browser
@pytest.mark.slow
def test_links_and_keys_lead_to_cases(many, browser):
    from selenium.webdriver.common.keys import Keys

    rows, report = many
    opened(browser, report / "report.html", "#case-1-9000-0")
    focused = "return document.activeElement.id"
    assert browser.execute_script(focused) == "case-1-9000-0"
    order = sorted(rows, key=lambda row: (-max((c.length for c in row.copied), default=0), row.generation.id))
    place = [row.generation.id for row in order].index(9000)
    for key, step in (("j", 1), ("n", 2), ("k", 1), ("p", 0), ("p", -1)):
        browser.switch_to.active_element.send_keys(key)
        assert browser.execute_script(focused) == f"case-1-{order[place + step].generation.id}-0"
    browser.switch_to.active_element.send_keys("/")
    assert browser.execute_script(focused) == "f-text"
    browser.switch_to.active_element.send_keys("jn")
    assert browser.execute_script("return document.getElementById('f-text').value") == "jn"
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert browser.execute_script("return document.activeElement.tagName") in ("ARTICLE", "BODY")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_width(scheme, few, browser):
    """WCAG 2.1, 1.4.3: every text has a contrast of 4.5 with what lies behind it; and nothing is wider than a phone."""
    emulate = browser.execute_cdp_cmd
    emulate("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    emulate("Emulation.setDeviceMetricsOverride", phone)
    opened(browser, few[1] / "report.html", "#case-1-0-0")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    pairs = browser.execute_script("""
      const found = new Set();
      for (const each of document.querySelectorAll('body *')) {
        const said = [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (!said || !each.offsetParent) continue;
        let behind = each;
        while (behind && getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
        found.add(getComputedStyle(each).color + '|' + getComputedStyle(behind ?? document.body).backgroundColor);
      }
      const probe = document.createElement('mark'); document.body.append(probe);
      for (let n = 0; n < 6; n++) {
        probe.className = `run c${n}`;
        found.add(getComputedStyle(probe).color + '|' + getComputedStyle(probe).backgroundColor);
      }
      return [...found];""")
    emulate("Emulation.clearDeviceMetricsOverride", {})
    emulate("Emulation.setEmulatedMedia", {"features": []})

    def luminance(colour):
        channels = [int(x) / 255 for x in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    assert len(pairs) >= 8
    for pair in pairs:
        low, high = sorted(map(luminance, pair.split("|")))
        assert (high + 0.05) / (low + 0.05) >= 4.5, pair
