"""A function that yields: its caller reads each word as it comes, as from a language model."""

WORDS = "once upon a time there was a small machine that told stories word by word".split()


def tell(count=len(WORDS)):
    try:
        for index in range(count):
            yield WORDS[index % len(WORDS)]
    finally:
        print("told")  # Also when the caller goes away.
