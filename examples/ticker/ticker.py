"""Functions that are called by themselves: every two seconds, and on weekday mornings in Rome."""

import datetime

import berth

app = berth.App("ticker")


@app.function(cpu=0.2, memory=128, schedule=berth.Period(seconds=2))
def tick():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


@app.function(cpu=0.2, memory=128, schedule=berth.Cron("30 8 * * 1-5", timezone="Europe/Rome"))
def standup():
    print("Good morning")
