"""A trainer that writes checkpoints to a volume and goes on from the last one, and a model that reads them."""

import json
import os
import random

import berth

app = berth.App("trainer")
checkpoints = berth.Volume.from_name("checkpoints")
mounted = {"/checkpoints": checkpoints}


@app.function(cpu=0.2, memory=128, scaledown_window=5, volumes=mounted)
def train(name: str, epochs: int = 20) -> dict:
    """Fits `y = 3x + 1` out of noisy points, `epochs` more than it was trained for before."""
    path = os.path.join(checkpoints.path, name + ".json")
    model = {"epoch": 0, "slope": 0.0, "offset": 0.0}
    checkpoints.reload()
    if os.path.exists(path):
        with open(path) as file:
            model = json.load(file)
        print("going on from epoch", model["epoch"])
    points = random.Random(7)
    for _ in range(epochs):
        for _ in range(100):
            x = points.uniform(-1, 1)
            error = model["slope"] * x + model["offset"] - (3 * x + 1 + points.gauss(0, 0.05))
            model["slope"] -= 0.1 * error * x
            model["offset"] -= 0.1 * error
        model["epoch"] += 1
        with open(path + ".part", "w") as file:
            json.dump(model, file)
        os.replace(path + ".part", path)  # Whole at any moment, also in that of a commit in the background.
    checkpoints.commit()
    return model


@app.function(cpu=0.2, memory=128, scaledown_window=5, volumes=mounted)
def predict(name: str, x: float) -> float:
    checkpoints.reload()
    with open(os.path.join(checkpoints.path, name + ".json")) as file:
        model = json.load(file)
    return round(model["slope"] * x + model["offset"], 2)
