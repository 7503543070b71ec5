"""Texts that tokenizers find hard."""

from hypothesis import strategies as st

HARD = "hello  world\n\n日本語 emoji 👩‍👩‍👧 🇩🇪 x  y\t z <|endoftext|> naïve e\u0301 שלום  "


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd▁")
