import csv
import random
from pathlib import Path

DATA = Path(__file__).parent / "data" / "seattle-weather.csv"

RESAMPLES = 4000


def summarize_year(year):
    """Days, total rain (mm) and how much of it is luck, and the hottest and wettest day of one year."""
    with DATA.open(newline="") as file:
        days = [row for row in csv.DictReader(file) if row["date"].startswith(f"{year}-")]
    if not days:
        raise ValueError(f"there is no weather of {year}: the data goes from 2012 to 2015")
    print(f"{year}: {len(days)} days")

    def extreme(column):
        day = max(days, key=lambda row: float(row[column]))
        return {"date": day["date"], "value": float(day[column])}

    return {
        "years": [int(year)],
        "days": len(days),
        "rain_mm": round(sum(float(row["precipitation"]) for row in days), 1),
        "rain_range_mm": {str(year): rain_range([float(row["precipitation"]) for row in days], int(year))},
        "hottest": extreme("temp_max"),
        "wettest": extreme("precipitation"),
    }


def rain_range(rain, seed):
    """The yearly totals between which 90% lie of years made of this one's days, drawn with replacement."""
    draw = random.Random(seed)
    totals = sorted(sum(draw.choices(rain, k=len(rain))) for _ in range(RESAMPLES))
    return [round(totals[RESAMPLES * 5 // 100], 1), round(totals[RESAMPLES * 95 // 100], 1)]


def combine(summaries):
    """One summary out of several."""

    def extreme(name):
        return max((summary[name] for summary in summaries), key=lambda day: day["value"])

    return {
        "years": sorted(year for summary in summaries for year in summary["years"]),
        "days": sum(summary["days"] for summary in summaries),
        "rain_mm": round(sum(summary["rain_mm"] for summary in summaries), 1),
        "rain_range_mm": {year: span for summary in summaries for year, span in summary["rain_range_mm"].items()},
        "hottest": extreme("hottest"),
        "wettest": extreme("wettest"),
    }
