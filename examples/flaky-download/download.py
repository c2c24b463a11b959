"""Downloads from a mirror that is busy at first: what fails is tried again, after a longer wait each time."""

tries = {}


class MirrorBusy(Exception):
    pass


def download(name, busy=2):
    tries[name] = tries.get(name, 0) + 1
    if tries[name] <= busy:
        print(f"{name}: try {tries[name]}, the mirror is busy")
        raise MirrorBusy(f"no connection for {name}")
    print(f"{name}: try {tries[name]}, there it is")
    return {"name": name, "tries": tries[name]}
