package snowflaketest

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Verdict is how a read may end, if it is honest.
type Verdict int

// The verdicts.
const (
	// Open: all rows exactly, or an error.
	Open Verdict = iota
	// Whole: all rows exactly, since what goes wrong goes by. A reader that
	// downloads a chunk up to three times gets them.
	Whole
	// Lost: an error, since some rows cannot be had.
	Lost
)

// Shape tells a scenario what the results are like that it is drawn for.
type Shape struct {
	Chunks  int  // how many there are
	Batches int  // that each chunk has, and the rows that come with the answer: at least 2
	Gzip    bool // Config.GzipChunks
	// Concerns reports whether a query's answer is to be touched. Chunks are in
	// any case.
	Concerns func(Query) bool
}

// Scenario is what goes wrong with a result on its way.
type Scenario struct {
	Faults  Faults
	Verdict Verdict
	// Alters tells that rows may come with other values before the damage shows:
	// gzip tells it at a chunk's end.
	Alters bool
	tale   []string
}

// String tells it to people.
func (s *Scenario) String() string {
	if len(s.tale) == 0 {
		return "nothing goes wrong"
	}
	return strings.Join(s.tale, "; ")
}

// NewScenario draws a scenario: from a seed always the same. Left out is what
// nobody can notice: values that change within a record batch, where no gzip is
// around them.
func NewScenario(seed uint64, shape Shape) *Scenario {
	d := &draw{rand.New(rand.NewPCG(seed, 0)), shape}
	s := &Scenario{Verdict: Whole}
	switch n := d.IntN(100); {
	case n < 5: // nothing
	case n < 15:
		d.inline(s)
	case n < 22:
		lost := d.IntN(shape.Chunks)
		s.add(Lost, "chunk %d is not listed", lost)
		s.Faults.Unlisted = func(q Query, index int) bool { return index == lost && shape.Concerns(q) }
	case n < 27:
		more := int64(1 + d.IntN(3))
		if d.IntN(2) == 0 {
			more = -more
		}
		s.add(Lost, "%+d rows are declared", more)
		s.Faults.DeclaredRows = func(q Query, rows int64) int64 {
			if shape.Concerns(q) {
				return rows + more
			}
			return rows
		}
	default:
		d.chunks(s)
	}
	return s
}

func (s *Scenario) add(verdict Verdict, format string, args ...any) {
	s.tale = append(s.tale, fmt.Sprintf(format, args...))
	switch {
	case verdict == Lost:
		s.Verdict = Lost
	case verdict == Open && s.Verdict == Whole:
		s.Verdict = Open
	}
}

// draw is a scenario in the making.
type draw struct {
	*rand.Rand
	shape Shape
}

// inline harms the answer itself. It is so as often as it is asked for.
func (d *draw) inline(s *Scenario) {
	fault := d.fault(false)
	verdict := Lost
	if fault.Do == Truncate && fault.At == ChunkEnd {
		verdict = Open
	}
	s.add(verdict, "the answer: %s", fault)
	s.Faults.Inline = func(q Query) ChunkFault {
		if d.shape.Concerns(q) {
			return fault
		}
		return ChunkFault{}
	}
}

// chunks harms one chunk or several, once, twice or always.
func (d *draw) chunks(s *Scenario) {
	type trouble struct {
		ChunkFault
		times int
	}
	troubles := map[int]trouble{}
	for _, index := range d.Perm(d.shape.Chunks)[:1+d.IntN(min(3, d.shape.Chunks))] {
		const always = 1 << 30
		t := trouble{d.fault(d.shape.Gzip), []int{1, 2, always}[d.IntN(3)]}
		troubles[index] = t
		alters := t.Do == Corrupt && d.shape.Gzip
		s.Alters = s.Alters || alters
		verdict := Whole
		switch {
		case t.times < always && alters:
			verdict = Open // when it shows, rows may be delivered
		case t.times < always:
		case t.At == ChunkEnd && t.Do != Lose && !alters:
			verdict = Open // all rows come, and no proof that this is the end
		default:
			verdict = Lost
		}
		often := fmt.Sprintf("%d times", t.times)
		if t.times == always {
			often = "always"
		}
		s.add(verdict, "chunk %d: %s, %s", index, t.ChunkFault, often)
	}
	s.Faults.Chunk = func(_ string, index, attempt int) ChunkFault {
		if t, ok := troubles[index]; ok && attempt < t.times {
			return t.ChunkFault
		}
		return ChunkFault{}
	}
}

// fault draws one that harms: behind the last batch there is nothing to harm
// but the end.
func (d *draw) fault(gzip bool) ChunkFault {
	f := ChunkFault{Do: Stall + ChunkAction(d.IntN(int(Lose-Stall)+1)), At: ChunkPlace(d.IntN(int(ChunkEnd) + 1))}
	switch f.At {
	case MidBatch:
		f.Batch = d.IntN(d.shape.Batches)
	case BatchBoundary:
		f.Batch = d.IntN(d.shape.Batches - 1)
	}
	if f.Do == Corrupt && f.At == MidBatch && !gzip {
		f.At, f.Batch = BatchBoundary, 0
	}
	return f
}

func (f ChunkFault) String() string {
	text := fmt.Sprintf("%s %s", f.Do, f.At)
	if f.At == MidBatch || f.At == BatchBoundary {
		text += fmt.Sprintf(" %d", f.Batch)
	}
	return text
}
