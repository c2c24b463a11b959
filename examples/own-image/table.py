"""Functions on images of their own: packages of Debian and PyPI, files that were copied in."""

import os
import pathlib
import subprocess


def table():
    from tabulate import tabulate

    words = sorted(path.name for path in pathlib.Path(os.environ["WORDS"]).iterdir())
    title = subprocess.run(["figlet", "-v"], capture_output=True, text=True, check=True).stdout.split()[0]
    return {"figlet": title, "table": tabulate([[word] for word in words], tablefmt="plain")}


def where():
    return pathlib.Path("/etc/greeting").read_text().strip()
