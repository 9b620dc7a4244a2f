package selftest

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // the script's zone is needed on machines without zones, too
)

// event is a row of the table EVENTS. The wall clock is that of New York.
type event struct {
	id   int64
	wall string
	key  string
}

// events are known moments: half an hour after and before midnight, at both changes of
// the clocks, at the end of a month, and from a Sunday to a Monday.
var events = []event{
	{1, "2026-02-28 23:30:00", "a"}, // Saturday
	{2, "2026-03-01 00:30:00", "b"},
	{3, "2026-03-01 23:30:00", "b"},
	{4, "2026-03-02 00:30:00", "a"},
	{5, "2026-03-07 23:30:00", "a"},
	{6, "2026-03-08 00:30:00", "b"}, // one and a half hours before the change to summer time
	{7, "2026-03-08 23:30:00", "a"},
	{8, "2026-03-09 00:30:00", "c"},
	{9, "2026-10-31 23:30:00", "a"},
	{10, "2026-11-01 00:30:00", "b"}, // before the change to winter time
	{11, "2026-11-01 23:30:00", "a"},
	{12, "2026-11-02 00:30:00", "c"},
}

// twiceLabelled is the key of EVENTS that the table LABELS has twice.
const twiceLabelled = "b"

// Rows of the table FROZEN when it is materialized, and afterwards.
const (
	frozenRows  = 3
	changedRows = 4
)

// Counts of rows of the input table: the published ones, and those that only the draft has.
const (
	publishedRows = 2
	draftRows     = 3
)

// firstDay is the day of the first two rows of the table DAYS: 00:30 and 23:30 of each
// day until the end of 2035.
var firstDay = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// dayCount is the number of days of the table DAYS.
var dayCount = int(time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC).Sub(firstDay).Hours() / 24)

// wallOfDay is the wall clock of a row of DAYS: rows 0 and 1 are of the first day.
func wallOfDay(id int64) time.Time {
	wall := firstDay.AddDate(0, 0, int(id/2)).Add(30 * time.Minute)
	if id%2 == 1 {
		wall = wall.Add(23 * time.Hour)
	}
	return wall
}

// wallClock is the wall clock of an event, as a time in UTC.
func (e event) wallClock() time.Time { return parse(time.DateTime, e.wall) }

// instant is when the wall clock of New York shows the event's time.
func (e event) instant() time.Time {
	w := e.wallClock()
	return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), 0, newYork)
}

var newYork = location(Zone)

// location loads a zone, which this package has built in.
func location(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return zone
}

// parse parses a constant of this package.
func parse(layout, text string) time.Time {
	t, err := time.Parse(layout, text)
	if err != nil {
		panic(err)
	}
	return t
}

// tables returns the statements that make the tables, for Snowflake.
func tables() string {
	var s strings.Builder
	s.WriteString(`alter session set timezone = '` + Zone + `';
create database if not exists SIGMASOURCE_SELFTEST;
create or replace schema SIGMASOURCE_SELFTEST.SELFTEST;
use schema SIGMASOURCE_SELFTEST.SELFTEST;

create table EVENTS (ID number(9, 0), KEY varchar, DATE_ONLY date, ZONELESS timestamp_ntz, LOCAL_ZONE timestamp_ltz, ZONED timestamp_tz);
insert into EVENTS values
`)
	tokyo := location("Asia/Tokyo")
	for i, e := range events {
		end := ","
		if i == len(events)-1 {
			end = ";"
		}
		fmt.Fprintf(&s, "  (%d, '%s', '%s', '%s', '%s', '%s'::timestamp_tz)%s\n", e.id, e.key, e.wallClock().Format(time.DateOnly), e.wall,
			e.instant().Format("2006-01-02 15:04:05-07:00"), e.instant().In(tokyo).Format("2006-01-02 15:04:05-07:00"), end)
	}
	fmt.Fprintf(&s, `
create table DAYS as
  select ID, ZONELESS::date as DATE_ONLY, ZONELESS, ZONELESS::timestamp_ltz as LOCAL_ZONE
  from (select N as ID, dateadd(minute, iff(mod(N, 2) = 0, 30, 1410), dateadd(day, floor(N / 2), '%s'::timestamp_ntz)) as ZONELESS
    from (select row_number() over (order by seq4()) - 1 as N from table(generator(rowcount => %d))));

create table LABELS (KEY varchar, LABEL varchar);
insert into LABELS values ('a', 'one'), ('b', 'two'), ('b', 'three'), ('c', 'four');

create table FROZEN (ID number(9, 0));
insert into FROZEN values (1), (2), (3);
`, firstDay.Format(time.DateOnly), 2*dayCount)
	return s.String()
}
