"""A WSGI app: what is posted is kept while its container lives, and shown to whoever comes."""

from urllib.parse import parse_qs


def make_app():
    entries = []

    def app(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            form = parse_qs(environ["wsgi.input"].read().decode())
            entries.append(form.get("entry", [""])[0])
            start_response("303 See Other", [("Location", environ["SCRIPT_NAME"] + "/")])
            return []
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return ["{}. {}\n".format(number, entry).encode() for number, entry in enumerate(entries, 1)]

    return app
