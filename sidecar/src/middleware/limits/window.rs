//! Kong's windows: aligned to the calendar in UTC, and how long they last by name.

use std::time::{SystemTime, UNIX_EPOCH};

/// How many periods there are.
pub(crate) const PERIODS: usize = 6;

const DAY: u64 = 86_400;

/// How long a window lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Period {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Year,
}

impl Period {
    /// From the shortest to the longest.
    pub(crate) const ALL: [Period; PERIODS] =
        [Period::Second, Period::Minute, Period::Hour, Period::Day, Period::Month, Period::Year];

    /// Its field in a configuration.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Period::Second => "second",
            Period::Minute => "minute",
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Month => "month",
            Period::Year => "year",
        }
    }

    /// Its length by name: a month has 30 days and a year 365, as in Kong.
    pub(crate) fn seconds(self) -> u64 {
        match self {
            Period::Second => 1,
            Period::Minute => 60,
            Period::Hour => 3_600,
            Period::Day => DAY,
            Period::Month => 30 * DAY,
            Period::Year => 365 * DAY,
        }
    }

    /// The number of the window that a moment lies in, and the second in which it began.
    pub(crate) fn window(self, now: Moment) -> Window {
        let (number, start) = match self {
            Period::Second | Period::Minute | Period::Hour | Period::Day => {
                let number = now.second / self.seconds();
                (number, number * self.seconds())
            }
            Period::Month => {
                let date = Date::of(now.second / DAY);
                (date.year * 12 + date.month, (now.second / DAY - date.day) * DAY)
            }
            Period::Year => {
                let date = Date::of(now.second / DAY);
                (date.year, (now.second / DAY - date.day_of_year) * DAY)
            }
        };
        // Thousandths of a period of N seconds are N milliseconds each.
        let gone = ((now.second - start) * 1_000 + now.milli) / self.seconds();
        Window { number, start, share: u16::try_from(1_000 - gone.min(1_000)).unwrap_or(0) }
    }

    /// The second in which the window before began.
    pub(crate) fn start_before(self, window: &Window) -> u64 {
        self.window(Moment { second: window.start.saturating_sub(1), milli: 0 }).start
    }

    /// Whole seconds until the window is over by its length; a month's last day has 1, as in Kong.
    pub(crate) fn reset(self, window: Window, now: Moment) -> u64 {
        self.seconds().saturating_sub(now.second.saturating_sub(window.start)).max(1)
    }
}

/// A window of some period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Counts up by one from window to window.
    pub(crate) number: u64,
    /// The second since 1970 in which it began.
    pub(crate) start: u64,
    /// Thousandths of its period that are still to come: so much of the window before lies within a period from now.
    pub(crate) share: u16,
}

/// A moment by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since 1970.
    pub(crate) second: u64,
    /// Of the next second.
    pub(crate) milli: u64,
}

#[cfg(test)]
thread_local! {
    /// What this thread's tests call now.
    pub(crate) static NOW: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

impl Moment {
    /// What the wall clock says.
    pub(crate) fn now() -> Moment {
        #[cfg(test)]
        if let Some(second) = NOW.get() {
            return Moment { second, milli: 0 };
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { second: since.as_secs(), milli: u64::from(since.subsec_millis()) }
    }

    /// The windows of every period that it lies in.
    pub(crate) fn windows(self) -> [Window; PERIODS] {
        Period::ALL.map(|period| period.window(self))
    }
}

/// A day of the Gregorian calendar, all counted from 0 but the year.
struct Date {
    year: u64,
    month: u64,
    day: u64,
    day_of_year: u64,
}

impl Date {
    /// By the number of days since 1970-01-01. Years are counted from March inside, so that the day that some have
    /// more comes last.
    fn of(days: u64) -> Date {
        let days = days + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let from_march = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * from_march + 2) / 153;
        let day = from_march - (153 * march_month + 2) / 5;
        let (month, year) = match march_month {
            0..10 => (march_month + 2, era * 400 + year_of_era),
            _ => (march_month - 10, era * 400 + year_of_era + 1),
        };
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let day_of_year = match march_month {
            0..10 => from_march + 59 + u64::from(leap),
            _ => from_march - 306,
        };
        Date { year, month, day, day_of_year }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::{Timestamp, tz::TimeZone};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn windows_are_those_of_the_calendar(second in 0u64..8_000_000_000) {
            let zoned = Timestamp::from_second(second as i64).unwrap().to_zoned(TimeZone::UTC);
            let date = zoned.date();
            let day = |d: jiff::civil::Date| d.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second() as u64;
            let now = Moment { second, milli: 0 };
            let starts = now.windows().map(|w| w.start);
            prop_assert_eq!(starts, [
                second,
                second - second % 60,
                second - second % 3_600,
                day(date),
                day(date.first_of_month()),
                day(date.first_of_year()),
            ]);
            let year = date.year() as u64;
            let numbers = now.windows().map(|w| w.number);
            prop_assert_eq!(numbers[4..].to_vec(), vec![year * 12 + date.month() as u64 - 1, year]);
        }
    }

    #[test]
    fn resets_count_months_of_30_days() {
        let at = |text: &str| Moment { second: text.parse::<Timestamp>().unwrap().as_second() as u64, milli: 500 };
        let reset = |period: Period, now: Moment| period.reset(period.window(now), now);
        assert_eq!(reset(Period::Minute, at("2026-01-31T00:00:59Z")), 1);
        assert_eq!(reset(Period::Month, at("2026-01-31T00:00:01Z")), 1);
        assert_eq!(reset(Period::Month, at("2026-02-01T00:00:00Z")), 2_592_000);
        assert_eq!(reset(Period::Year, at("2024-12-31T12:00:00Z")), 1);
        assert_eq!(reset(Period::Day, at("2026-02-01T23:59:00Z")), 60);
        let share = |period: Period, text: &str| period.window(at(text)).share;
        assert_eq!(
            [share(Period::Second, "2026-01-31T00:00:00Z"), share(Period::Minute, "2026-01-31T00:00:30Z")],
            [500, 492]
        );
        assert_eq!(share(Period::Month, "2026-01-31T12:00:00Z"), 0);
        let march = Period::Month.window(at("2024-03-09T00:00:00Z"));
        assert_eq!(Period::Month.start_before(&march), at("2024-02-01T00:00:00Z").second);
    }
}
