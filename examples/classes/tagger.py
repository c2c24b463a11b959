"""A class: what is slow to load is loaded once per container, before the first call."""


class Tagger:
    language: str = "english"  # A parameter, with its default.

    def __enter__(self):
        print("loading the words of", self.language)
        self.stop_words = {"english": {"the", "a", "of", "and"}, "german": {"der", "die", "das", "und"}}[self.language]
        self.calls = 0

    def tags(self, text):
        self.calls += 1
        return sorted(set(text.lower().split()) - self.stop_words)

    def count(self, text):
        self.calls += 1
        return len(text.split())

    def __exit__(self, *_):
        print("answered", self.calls, "calls")
