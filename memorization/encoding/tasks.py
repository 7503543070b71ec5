"""How a task's columns become the text that a model is fine-tuned on (Zeng et al. 2024, appendix)."""

SEPARATOR = "\n ---------- \n"


def dialogue_text(instruction, input, output):
    """The text of one doctor-patient exchange."""
    return instruction + input + SEPARATOR + output
