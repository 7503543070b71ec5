"""The parameters of the algorithm and their two published settings."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Parameters of text alignment; lengths in characters, gaps in sentences (Sanchez-Perez et al. 2015, table 1)."""

    th1: float = 0.30  # seeds: least cosine of two sentence vectors (th1, th2 and th3 strictly exceeded)
    th2: float = 0.33  # seeds: least Dice coefficient of their stem sets
    th3: float = 0.34  # a case: least cosine of its two fragments
    src_gap: int = 4  # most sentences between neighbours in a case
    susp_gap: int = 4
    min_sentlen: int = 3  # a sentence vector with fewer words joins the next one
    min_plaglen: int = 150  # least length of a case on each side
    verbatim_minlen: int = 256  # a common run of more characters is verbatim
    src_gap_summary: int = 24
    susp_gap_summary: int = 24
    summary_ratio: float = 3  # a summary's source is at least this many times as long


NEAR_COPY = 0.99  # of two overlapping cases of a higher quality the longer one stays
PROFILES = {"paper": Profile(min_plaglen=50, verbatim_minlen=50), "pan": Profile()}
