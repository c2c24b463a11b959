import csv
from pathlib import Path

DATA = Path(__file__).parent / "data" / "seattle-weather.csv"


def summarize_year(year):
    """Days, total rain (mm), and the hottest and wettest day of one year."""
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
        "hottest": extreme("temp_max"),
        "wettest": extreme("precipitation"),
    }


def combine(summaries):
    """One summary out of several."""

    def extreme(name):
        return max((summary[name] for summary in summaries), key=lambda day: day["value"])

    return {
        "years": sorted(year for summary in summaries for year in summary["years"]),
        "days": sum(summary["days"] for summary in summaries),
        "rain_mm": round(sum(summary["rain_mm"] for summary in summaries), 1),
        "hottest": extreme("hottest"),
        "wettest": extreme("wettest"),
    }
