def measure(word):
    """The length of a word; what is no word is an error."""
    if not word.isalpha():
        raise ValueError(f"{word!r} is no word")
    return len(word)
