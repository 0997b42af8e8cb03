package view

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// count words a number of things: "1 offer", "1,000 offers".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return number(n) + " " + thing + "s"
}

// number writes n with a comma between thousands.
func number(n int) string {
	s := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	var parts []string
	for len(s) > 3 {
		parts = append([]string{s[len(s)-3:]}, parts...)
		s = s[:len(s)-3]
	}
	return sign + strings.Join(append([]string{s}, parts...), ",")
}

// took words how long something lasted: "0.8 s", "42 s", "3 min 5 s".
func took(d time.Duration) string {
	switch {
	case d < 0:
		return "0.0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// rough words a length of time by its largest unit: "3 minutes".
func rough(d time.Duration) string {
	switch {
	case d < time.Minute:
		return count(int(d/time.Second), "second")
	case d < time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/(24*time.Hour)), "day")
}

// ago words a moment as seen from the present: "3 minutes ago". Beyond thirty
// days, and where the present is not known, it gives the moment itself. The
// zero moment has no words.
func (s Style) ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := s.Now.Sub(t)
	switch {
	case s.Now.IsZero(), d > 30*24*time.Hour, d < -30*24*time.Hour:
		return "at " + stamp(t)
	case d < -time.Second:
		return "in " + rough(-d)
	case d < time.Second:
		return "just now"
	}
	return rough(d) + " ago"
}

// since words how long something has lasted, for a table: "3 h".
func (s Style) since(t time.Time) string {
	if t.IsZero() || s.Now.IsZero() {
		return ""
	}
	d := max(s.Now.Sub(t), 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// clock is a moment that is near: the time of day, with the date when it is
// another day.
func (s Style) clock(t time.Time) string {
	t = t.In(s.Now.Location())
	if !s.Now.IsZero() && t.Format(time.DateOnly) == s.Now.Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return s.date(t)
}

// date is a moment for a table, where the present is: its time zone is that of
// Now.
func (s Style) date(t time.Time) string {
	return t.In(s.Now.Location()).Format("2006-01-02 15:04")
}

// stamp is a moment that holds anywhere.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
