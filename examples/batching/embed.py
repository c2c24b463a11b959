"""Callers send one text each; the model sees up to sixteen at once."""


def embed(texts):
    print("a batch of", len(texts))
    return [vector(text) if text.strip() else ValueError("there is nothing to embed in an empty text") for text in texts]


def vector(text):
    """Stands for a model: how often each vowel is in the text."""
    return [text.lower().count(vowel) for vowel in "aeiou"]
